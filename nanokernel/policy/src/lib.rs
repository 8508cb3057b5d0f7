#![no_std]
#![forbid(unsafe_code)]
//! Every decision of the nanokernel, pure and tested on the host.
