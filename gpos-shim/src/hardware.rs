//! A mapped BAR, and the time-stamp counter: unsafe code, as is otherwise only `fpu/registers.rs`.
//!
//! Invariants of [`Bar`]: `base` is the page-aligned start of a live shared mapping of `bytes`
//! bytes, made in [`Bar::map`] and undone only in `drop`; nothing in this process holds a reference
//! into it, for the nanokernel changes it at any moment; so every access is volatile, aligned and
//! bounds-checked.
#![allow(unsafe_code)] // reason: mmap, volatile access and RDTSC have no safe form

use std::fs::OpenOptions;
use std::path::Path;
use std::ptr::NonNull;

use darma_abi::shared::RegionRead;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::Error;

/// One base address register's memory, mapped into this process.
#[derive(Debug)]
pub struct Bar {
    base: NonNull<u8>,
    bytes: usize,
}

impl Bar {
    /// Maps BAR `number` of the PCI function whose sysfs folder is `folder`.
    ///
    /// # Errors
    /// If it cannot be opened or mapped, or is smaller than `at_least` bytes.
    pub fn map(folder: &Path, number: u8, at_least: u64) -> Result<Self, Error> {
        let path = folder.join(format!("resource{number}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let size = file
            .metadata()
            .map_err(Error::file("examine", &path))?
            .len();
        let bytes = usize::try_from(size).unwrap_or(0);
        if size < at_least || bytes == 0 {
            return Err(Error::BarTooSmall {
                bar: number,
                bytes: size,
            });
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )
        }
        .map_err(|error| Error::file("map", &path)(error.into()))?;
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, bytes }),
            None => Err(Error::BarTooSmall {
                bar: number,
                bytes: 0,
            }),
        }
    }

    /// Stores `value` at `offset` in one access; does nothing outside the BAR or off alignment.
    pub fn store_u32(&self, offset: usize, value: u32) {
        if self.holds(offset, 4) && offset.is_multiple_of(4) {
            // SAFETY: inside the mapping and aligned, just checked; volatile, no reference.
            unsafe { self.base.add(offset).cast::<u32>().write_volatile(value) }
        }
    }

    /// Stores `bytes` from `offset` on, in any number of accesses; does nothing outside the BAR.
    pub fn store(&self, offset: usize, bytes: &[u8]) {
        if !self.holds(offset, bytes.len()) {
            return;
        }
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: offset + index < offset + bytes.len() <= the mapping, just checked; volatile.
            unsafe { self.base.add(offset + index).write_volatile(*byte) }
        }
    }

    fn holds(&self, offset: usize, bytes: usize) -> bool {
        offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.bytes)
    }
}

impl RegionRead for Bar {
    fn load_u32(&self, offset: usize) -> Option<u32> {
        if !self.holds(offset, 4) || !offset.is_multiple_of(4) {
            return None;
        }
        // SAFETY: inside the mapping and aligned, just checked; volatile, no reference.
        Some(unsafe { self.base.add(offset).cast::<u32>().read_volatile() })
    }

    fn load(&self, offset: usize, out: &mut [u8]) -> bool {
        if !self.holds(offset, out.len()) {
            return false;
        }
        // Eight bytes at a time where they are aligned: dumps are hundreds of megabytes.
        let head = offset.next_multiple_of(8).min(offset + out.len()) - offset;
        let (head, rest) = out.split_at_mut(head);
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut at = offset;
        let byte = |byte: &mut u8, at: usize| {
            // SAFETY: `at` runs from `offset` up to `offset + out.len()`, all inside; volatile.
            *byte = unsafe { self.base.add(at).read_volatile() };
        };
        for one in head {
            byte(one, at);
            at += 1;
        }
        for word in words {
            // SAFETY: as above, eight bytes at once, and aligned since the head's end; volatile.
            let value = unsafe { self.base.add(at).cast::<u64>().read_volatile() };
            *word = value.to_ne_bytes();
            at += 8;
        }
        for one in tail {
            byte(one, at);
            at += 1;
        }
        true
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`; no access can follow, `self` is gone.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// The processor's time-stamp counter, cycles: the one clock that Linux before and after a reset
/// and the nanokernel have in common.
pub fn time_stamp() -> u64 {
    // SAFETY: RDTSC is part of x86-64 and Linux leaves CR4.TSD clear unless a process asks for it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
