//! The devices that the GPOS sees: what of the real ones it may program, and the ones that are ours.
//!
//! - [`mod@enumerate`] and [`functions`]: what stands on the PCI buses at start-up;
//! - [`pci_config`]: the GPOS's view of configuration space, access by access;
//! - [`ecam`]: the same through memory;
//! - [`message`] and [`msix`]: interrupts by message, translated so that none reaches a vector,
//!   a processor or a delivery mode that is not the GPOS's;
//! - [`virtual_pci`]: our own functions, the panic notifier and the shared-memory device;
//! - [`claims`] and [`task_function`]: functions and pins that the real-time tasks own;
//! - [`resets`]: stopping the functions of a dead GPOS and resetting them for the next one;
//! - [`power`]: port writes that would reset or switch off the machine;
//! - [`ranges`]: the address arithmetic under them.
//!
//! Everything here decides and nothing touches hardware: an access gives an act, which the caller
//! performs. Everything the GPOS writes is an allegation. Concurrency: state of one vCPU, used by
//! its exit handling only, interrupts on. Specification: PCI Local Bus 3.0, chapter 6.

pub mod claims;
pub mod ecam;
pub mod enumerate;
mod function_view;
pub mod functions;
pub mod message;
pub mod msix;
pub mod pci_config;
pub mod power;
pub mod ranges;
pub mod resets;
pub mod task_function;
mod virtual_function;
pub mod virtual_pci;

#[cfg(test)]
mod tests;
