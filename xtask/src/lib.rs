//! The project's one entry point, as a library: set-up, building, the emulated machine, and what it
//! says. The program `xtask` is a command line over it; tests that boot real kernels use it directly.
//!
//! Everything made or fetched lives under `target/darma/`. Layers, each using only those above it:
//!
//! 1. `paths`, `terminal`, `process`: this program's surroundings.
//! 2. `debian`, `toolchain`, `kernels`: what has to be there.
//! 3. `cpio`, `modules`, `initramfs`, `ramdisk`: archives, as functions of their content.
//! 4. `image`, `shim`, `fault_module`, `idle_guest`, `prepare`: what is built.
//! 5. `qemu`, `session`, `standalone`, `log_compare`: the machine, and a run of it.
//! 6. `quantity`, `table`, `account`, `figures`, `printout`: what a run reported, as functions of the
//!    reports; `live_view`: the same while it happens.
//! 7. `trial`: a scripted run of Linux under the nanokernel.
//! 8. `faults`: the fault campaign, on machines of its own.
//! 9. `programs`, `latency`, `latency_table`: the latency laboratory and its report on the terminal.
//! 10. `checks`, `demo`, `bench`, `thread_metric`, `run`, `console`: what commands do beyond that.

pub mod account;
pub mod bench;
pub mod checks;
pub mod console;
pub mod cpio;
pub mod debian;
pub mod demo;
pub mod drift;
pub mod dump;
pub mod fault_module;
pub mod faults;
pub mod figures;
pub mod idle_guest;
pub mod image;
pub mod initramfs;
pub mod kernels;
pub mod latency;
pub mod latency_table;
pub mod live_view;
pub mod log_compare;
pub mod modules;
pub mod paths;
pub mod prepare;
pub mod printout;
pub mod process;
pub mod programs;
pub mod qemu;
/// Durations and sizes as people read them.
pub use darma_latency::quantity;
pub mod ramdisk;
pub mod run;
pub mod session;
pub mod shim;
pub mod standalone;
pub mod start_code;
pub mod table;
pub mod terminal;
pub mod thread_metric;
pub mod toolchain;
pub mod trial;
