#![no_std]
//! RTOS port to the local APIC. Unsafe lives here.
