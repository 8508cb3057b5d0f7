#![no_std]
#![forbid(unsafe_code)]
//! Layouts shared between the nanokernel, the GPOS side and the host tools: a pure leaf.

pub mod codes;
pub mod list;
pub mod memory;
pub mod report;
pub mod shared;
pub mod text;
pub mod units;
