#![deny(unsafe_code)]
//! The GPOS side, in user space: what an ordinary Linux process uses to see the nanokernel and to
//! be seen by it. Nothing here is needed for the RTOS's deadlines or for the detection of crashes;
//! a Linux that never runs it is preempted, captured and reloaded just the same.
//!
//! `function` finds the virtual PCI function, `hardware` maps it, `connection` offers what can be done
//! through it, `status_view` shows a snapshot; `window` reads fault records and dumps, which
//! `faults_view` shows and `dump` writes as ELF cores; `image` stages a new RAM-disk image; `crash`,
//! `exercise` and `load` are the demonstration's faults and workloads, `fpu` holds the machine to its
//! word about registers. Unsafe code is in `hardware` and `fpu::registers`.

pub mod connection;
pub mod crash;
pub mod dump;
pub mod error;
pub mod exercise;
pub mod faults_view;
pub mod fpu;
pub mod function;
pub mod hardware;
pub mod image;
pub mod load;
pub mod status_view;
pub mod window;

pub use connection::Connection;
pub use error::Error;
