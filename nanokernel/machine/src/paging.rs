//! The host's own page tables: identity, as far as the processor's large pages reach.
//!
//! The boot assembly maps the first 4 GiB, everything readable, writable and executable. Here the
//! map is extended and tightened: code is not writable, data is not executable, and the page below
//! each stack is not there, so an overflow stops the machine instead of damaging data. Once the
//! machine has started, the code that only the start needed is taken away as well.
//! APM2 5.3 for the tables, 5.6.1 for the no-execute bit.

use crate::stacks;
use core::cell::UnsafeCell;
use darma_abi::units::HostPhys;
use x86_64::instructions::tlb;
use x86_64::registers::model_specific::{Efer, EferFlags};

unsafe extern "C" {
    static mut boot_pdpt: [u64; 512];
    static mut boot_pd: [u64; 2048];
    static boot_stack_guard: u8;
    static image_start: u8;
    static image_end: u8;
    static start_text_start: u8;
    static start_text_end: u8;
    static text_end: u8;
    static writable_start: u8;
}

const PAGE: u64 = 4096;
const LARGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE_PAGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// Page tables for the image: as many as the 2 MiB pages that it may touch.
const IMAGE_TABLES: usize = 4;

#[repr(C, align(4096))]
struct Tables(UnsafeCell<[[u64; 512]; IMAGE_TABLES]>);

// SAFETY: written once, by `tighten` (BOOT-ONCE); afterwards only the processor reads them.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables(UnsafeCell::new([[0; 512]; IMAGE_TABLES]));

/// The image needs more page tables than there are: a build that outgrew `IMAGE_TABLES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageTooLarge;

/// Extends the map to 512 GiB where the processor has 1 GiB pages, tightens it, and returns the
/// address up to which memory can be reached.
///
/// # Safety
/// Called once, early, with interrupts off (BOOT-ONCE).
///
/// # Errors
/// [`ImageTooLarge`].
pub unsafe fn tighten() -> Result<HostPhys, ImageTooLarge> {
    let address = |symbol: *const u8| symbol as u64;
    let (start, end) = (
        address(&raw const image_start),
        address(&raw const image_end),
    );
    let (code_end, data) = (
        address(&raw const text_end),
        address(&raw const writable_start),
    );
    let guard = address(&raw const boot_stack_guard);
    let (first, last) = (start / LARGE, (end - 1) / LARGE);
    if last - first >= IMAGE_TABLES as u64 {
        return Err(ImageTooLarge);
    }
    // SAFETY: no-execute exists on every processor with long mode and SVM.
    unsafe { Efer::update(|efer| *efer |= EferFlags::NO_EXECUTE_ENABLE) };

    let image_page = |at: u64| match at {
        at if at == guard || stacks::is_guard(at) => 0,
        at if at >= start && at < code_end => at | PRESENT,
        at if at >= start && at < data => at | PRESENT | NO_EXECUTE,
        at => at | PRESENT | WRITABLE | NO_EXECUTE,
    };
    // SAFETY: BOOT-ONCE: nobody else reads or writes these tables; they are identity-mapped.
    let tables = unsafe { &mut *TABLES.0.get() };
    for (table, page) in tables.iter_mut().zip(first..=last) {
        for (entry, number) in table.iter_mut().zip(0u64..) {
            *entry = image_page(page * LARGE + number * PAGE);
        }
    }
    let directory = (&raw mut boot_pd).cast::<u64>();
    for (page, index) in (0..4 * GIB / LARGE).zip(0usize..) {
        let entry = match page
            .checked_sub(first)
            .and_then(|slot| tables.get(usize::try_from(slot).ok()?))
        {
            Some(table) if page <= last => table.as_ptr() as u64 | PRESENT | WRITABLE,
            _ => (page * LARGE) | PRESENT | WRITABLE | LARGE_PAGE | NO_EXECUTE,
        };
        // SAFETY: the four directories are contiguous, 2048 entries; each new entry maps what the
        // old one did, so execution goes on across the change.
        unsafe { directory.add(index).write_volatile(entry) };
    }
    let mut reach = 4 * GIB;
    // CPUID 8000_0001 EDX bit 26: 1 GiB pages.
    if core::arch::x86_64::__cpuid(0x8000_0001).edx & (1 << 26) != 0 {
        let pointers = (&raw mut boot_pdpt).cast::<u64>();
        for (gib, index) in (4..512u64).zip(4usize..) {
            let entry = (gib * GIB) | PRESENT | WRITABLE | LARGE_PAGE | NO_EXECUTE;
            // SAFETY: the table has 512 entries, and these were not present.
            unsafe { pointers.add(index).write_volatile(entry) };
        }
        reach = 512 * GIB;
    }
    tlb::flush_all();
    Ok(HostPhys(reach))
}

/// Takes the start-up code away: readers of firmware's tables and buses and whatever else only the
/// start needs (`nanokernel/image.ld` lists it). Returns how many bytes that was.
///
/// # Safety
/// Called after [`tighten`], by code that is not itself start-up code and will not return to any.
pub unsafe fn discard_start() -> u64 {
    let first = (&raw const start_text_start) as u64;
    let after = (&raw const start_text_end) as u64;
    let base = (&raw const image_start) as u64 / LARGE * LARGE;
    // SAFETY: only the processor reads the tables besides us; an entry of unneeded code may vanish.
    let tables = unsafe { &mut *TABLES.0.get() };
    for (entry, page) in tables.as_flattened_mut().iter_mut().zip(0u64..) {
        let at = base + page * PAGE;
        if at >= first && at < after {
            *entry = 0;
        }
    }
    tlb::flush_all();
    after - first
}
