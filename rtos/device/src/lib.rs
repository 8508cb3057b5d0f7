//! Devices for real-time tasks: typed registers, ports, and the PCI functions that tasks own.
//!
//! An application names a function or a pin as a task's interrupt source; the nanokernel takes it
//! away from the GPOS, aims its interrupt at the task's vector, and gives the application's `init`
//! one [`Devices`], from which drivers take what is theirs:
//!
//! | concept | file |
//! |---|---|
//! | what `init` is given, and what can be taken from it once | [`devices`] |
//! | a PCI function: identity, registers, ports | [`function`] |
//! | typed registers in memory, with their layout asserted | [`mmio`] |
//! | ports | [`ports`] |
//! | a driver: QEMU's teaching device | [`edu`] |
//! | a driver: the high-precision event timer | [`hpet`] |
//!
//! Configuration space is touched during `init` only ([`PciFunction`] borrows from [`Devices`] and
//! cannot be kept), so a task never shares the address port with the main loop. What can be kept
//! are registers ([`Mmio`], [`Port`]), each of which exists once.
//!
//! Trust: no IOMMU confines a function that masters the bus. Whoever writes its registers decides
//! where it reads and writes, so typed registers are handed out by an `unsafe` function whose caller
//! vouches for the driver; the drivers here do, and what they offer to applications is safe.
//! Decision 0020 has the reasons.
#![no_std]

pub mod devices;
pub mod edu;
pub mod function;
pub mod hpet;
pub mod mmio;
pub mod ports;

pub use devices::{Devices, NotOwned};
pub use function::PciFunction;
pub use mmio::Mmio;
pub use ports::{Port, Ports};

// Drivers need their names.
pub use darma_policy::devices::functions::Bdf;
pub use darma_policy::devices::task_function::BarError;
