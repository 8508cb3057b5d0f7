#![no_std]
#![forbid(unsafe_code)]
//! Pure reliability model: detection, fault records, guest introspection, dump format.
