#![no_std]
#![forbid(unsafe_code)]
//! Pure reliability model: detection, fault records, guest introspection, dump format.
//!
//! A failed GPOS is examined from outside, without its help. Everything read from its memory is an
//! allegation by a system that has just lost its mind: every address is checked by the reader that
//! the edge supplies, every length is bounded here, every loop has a limit that no memory content
//! can raise, and what could not be read is reported as missing instead of guessed.
//!
//! | module | question |
//! |---|---|
//! | [`detect`] | has the GPOS failed, and how do we know? |
//! | [`recovery`] | reload it, or give up? |
//! | [`vmcoreinfo`] | which kernel is it, and where are its structures? |
//! | [`kernel_map`] | where in its memory is this kernel address? |
//! | [`linux`] | what is at this address, how is it, and who called whom? |
//! | [`printk`] | what did it say last? |
//! | [`fault_record`] | what is kept of the failure across restarts? |
//! | [`dump`] | how is its memory kept? |
//!
//! No allocation, no hardware. Concurrency: one user at a time, interrupts on, the GPOS stopped.

pub mod crc32c;
pub mod detect;
pub mod dump;
pub mod fault_record;
pub mod kernel_map;
pub mod linux;
pub mod memory;
pub mod printk;
pub mod recovery;
pub mod vmcoreinfo;

pub use memory::GuestPhysRead;
