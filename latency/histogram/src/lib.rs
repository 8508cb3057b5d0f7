#![no_std]
#![forbid(unsafe_code)]
//! Log-linear latency histogram with fixed memory.
