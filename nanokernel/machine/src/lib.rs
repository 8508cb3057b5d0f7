#![no_std]
//! The x86_64 machine: boot assembly, registers, ports, paging, APIC, time. Unsafe lives here.
