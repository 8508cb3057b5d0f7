//! AMD SVM behind a neutral face: a virtual processor that can be set up, run, and asked why it
//! stopped.
//!
//! Nothing above this crate knows of a VMCB: [`vcpu::VirtualCpu`] and [`exit::Exit`] are what a
//! VT-x back end would offer too. Section numbers are of APM volume 2, revision 3.42.
#![cfg_attr(not(test), no_std)]

pub mod exit;
pub mod features;
pub mod nested_paging;
mod permission;
pub mod state;
pub mod vcpu;
mod vmcb;
