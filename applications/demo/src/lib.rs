//! Placeholder until the nanokernel links.
#![no_std]
