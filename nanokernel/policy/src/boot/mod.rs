//! From the firmware's memory map and a RAM-disk image to a loaded GPOS: everything that is decided
//! before the GPOS runs, at the first boot and at every reload alike.
//!
//! The order of use: [`ramdisk`] finds the files, [`manifest`] checks them, [`config`] reads the
//! machine's settings, [`memory_plan`] divides the memory once; then for every (re)load [`bzimage`]
//! reads the kernel's header, [`load_plan`] finds a place for everything, and [`boot_params`],
//! [`page_tables`] and [`entry_gdt`] fill the pages that the kernel is entered with.

pub mod boot_params;
pub mod bzimage;
pub mod command_line;
pub mod config;
pub mod e820;
pub mod entry_gdt;
pub mod load_plan;
pub mod manifest;
pub mod memory_plan;
pub mod page_tables;
pub mod ramdisk;
pub mod ramoops;
pub mod span;
pub mod staging;
