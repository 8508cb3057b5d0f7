#![no_std]
#![forbid(unsafe_code)]
//! Every decision of the nanokernel, pure and tested on the host.
//!
//! Every function takes facts and gives an answer: no hardware, no allocation, no panic on anything
//! that the GPOS, the firmware or a file wrote. Time and memory come in as parameters.

pub mod acpi;
pub mod boot;
pub mod cpuid;
pub mod devices;
pub mod fields;
pub mod injection;
pub mod interrupts;
pub mod mmio;
pub mod msr;
