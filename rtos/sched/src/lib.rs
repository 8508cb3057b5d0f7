#![no_std]
#![forbid(unsafe_code)]
//! Pure scheduling decisions: priorities, ceilings, timer queue, accounting.
