//! Physical memory, which is mapped one to one.
//!
//! The GPOS may change its own memory at any time the virtual processor runs, and devices may at
//! all times, so guest memory is never borrowed as `&T`: it is copied out and in.

use darma_abi::units::HostPhys;

/// Copies `out.len()` bytes from physical memory.
///
/// # Safety
/// `[from, from + len)` is RAM or a firmware table inside the identity map (invariant
/// `IDENTITY-MAP`) and is not part of the image's own data.
pub unsafe fn read(from: HostPhys, out: &mut [u8]) {
    // SAFETY: IDENTITY-MAP, promised by the caller; `out` is a live exclusive borrow of other memory.
    unsafe { copy_bytes(from.0 as *const u8, out.as_mut_ptr(), out.len()) };
}

/// Copies `data` into physical memory.
///
/// # Safety
/// As [`read`], and nobody holds a reference to that memory.
pub unsafe fn write(to: HostPhys, data: &[u8]) {
    // SAFETY: IDENTITY-MAP, promised by the caller.
    unsafe { copy_bytes(data.as_ptr(), to.0 as *mut u8, data.len()) };
}

/// The word of which `words` words from `at` on are made throughout; `None` if they differ. Ends at
/// the first that does; eight bytes a turn, and an interrupt may be taken between any two.
///
/// # Safety
/// As [`read`]; `at` is a multiple of eight.
pub unsafe fn uniform(at: HostPhys, words: usize) -> Option<u64> {
    // SAFETY: IDENTITY-MAP, promised by the caller; the string instruction only reads.
    unsafe {
        let first = (at.0 as *const u64).read_volatile();
        let same: u8;
        core::arch::asm!("repe scasq", "sete {same}", same = out(reg_byte) same,
                         inout("rcx") words => _, inout("rdi") at.0 => _, in("rax") first,
                         options(nostack, readonly));
        (same != 0).then_some(first)
    }
}

/// Fills physical memory with zeros.
///
/// # Safety
/// As [`write`].
pub unsafe fn zero(at: HostPhys, len: usize) {
    // SAFETY: IDENTITY-MAP; string instructions touch exactly `len` bytes and are interruptible.
    unsafe {
        core::arch::asm!("rep stosq", inout("rcx") len / 8 => _, inout("rdi") at.0 => _, in("rax") 0u64,
                         options(nostack, preserves_flags));
        let done = (len / 8 * 8) as u64;
        core::arch::asm!("rep stosb", inout("rcx") len % 8 => _, inout("rdi") at.0 + done => _, in("al") 0u8,
                         options(nostack, preserves_flags));
    }
}

/// `REP MOVSQ` then the odd bytes: eight bytes per iteration, and an interrupt may be taken between
/// any two, so even a copy of the whole RAM-disk image delays no task.
unsafe fn copy_bytes(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the callers' contracts give two valid, disjoint ranges of `len` bytes.
    unsafe {
        core::arch::asm!("rep movsq", "mov rcx, {odd}", "rep movsb", odd = in(reg) len % 8,
                         inout("rcx") len / 8 => _, inout("rsi") from => _, inout("rdi") to => _,
                         options(nostack, preserves_flags));
    }
}

/// A read-only view of a physical range that only the nanokernel can write, such as the RAM-disk
/// image.
///
/// # Safety
/// IDENTITY-MAP holds for the range, and nothing writes it for as long as the view lives
/// (invariant `OWNED-RANGE`: nested paging hides it from the GPOS and no device is given it).
pub unsafe fn view(at: HostPhys, len: usize) -> &'static [u8] {
    // SAFETY: promised by the caller.
    unsafe { core::slice::from_raw_parts(at.0 as *const u8, len) }
}

/// A writable view of a physical range that is the caller's alone.
///
/// # Safety
/// As [`view`], and no other view of the range exists while this one lives.
pub unsafe fn view_mut(at: HostPhys, len: usize) -> &'static mut [u8] {
    // SAFETY: promised by the caller.
    unsafe { core::slice::from_raw_parts_mut(at.0 as *mut u8, len) }
}

/// Reads a device register of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// `at` is a register of a device whose owner wants it read (DEVICE-OWNER), inside the identity map
/// and aligned to `bytes`.
pub unsafe fn read_register(at: HostPhys, bytes: u8) -> u64 {
    // SAFETY: promised by the caller.
    unsafe {
        match bytes {
            1 => u64::from((at.0 as *const u8).read_volatile()),
            2 => u64::from((at.0 as *const u16).read_volatile()),
            4 => u64::from((at.0 as *const u32).read_volatile()),
            _ => (at.0 as *const u64).read_volatile(),
        }
    }
}

/// Writes a device register, or a word of memory that somebody else reads at the same time.
///
/// # Safety
/// As [`read_register`], and DEVICE-DMA.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the width says how many bytes are meant"
)]
pub unsafe fn write_register(at: HostPhys, bytes: u8, value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        match bytes {
            1 => (at.0 as *mut u8).write_volatile(value as u8),
            2 => (at.0 as *mut u16).write_volatile(value as u16),
            4 => (at.0 as *mut u32).write_volatile(value as u32),
            _ => (at.0 as *mut u64).write_volatile(value),
        }
    }
}
