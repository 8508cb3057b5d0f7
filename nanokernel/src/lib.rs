#![no_std]
//! The nanokernel: reads facts, asks policy, applies the answer.
