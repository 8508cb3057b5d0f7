//! Scenarios: each boots real kernels on the emulated machine and asserts what a user would notice.
//!
//! Run by `cargo xtask test`, one by one with `--only NAME`, named by `--list`. Not `#[test]`s: they
//! need QEMU, Debian's kernels and minutes, and host tests stay a matter of seconds.
//!
//! 1. `laboratory`: what every scenario needs, prepared once: the image, kernels, user spaces.
//! 2. `experiment`, `idle_run`, `transcript`: one machine under Darma, with Linux or a guest of a few
//!    hundred bytes, and all that it said.
//! 3. `health`: what a log must not say. `golden`: what a scheduler must do, in which order.
//! 4. `scenarios`: the claims. `runner`: chooses, runs in parallel, counts.

pub mod backtrace;
pub mod experiment;
pub mod golden;
pub mod health;
pub mod idle_run;
pub mod laboratory;
pub mod runner;
pub mod scenarios;
pub mod transcript;
