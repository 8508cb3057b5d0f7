//! The stacks that interrupts run on, each above a guard page.
//!
//! The task-state segment's interrupt stack table switches to one of them at every interrupt of a
//! task, of the timer, and at every exception (APM2 8.9.4). So each priority class of tasks has a stack
//! of its own: tasks of one class never nest, hence a stack holds one activation, which can be
//! abandoned as a whole; an overflow meets the guard page and is reported from the exceptions'
//! stack; and no interrupt ever pushes below the stack pointer of a task, so code with a red zone is
//! safe there. Interrupts of the GPOS's devices nest on nothing but the main loop and use its stack.

use core::cell::UnsafeCell;

/// Bytes of one stack.
pub const STACK_BYTES: usize = 32 << 10;
const GUARD_BYTES: usize = 4096;

/// A stack of the interrupt stack table; its number there is one more than the value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stack {
    /// Tasks of the lowest class.
    Low = 0,
    /// Tasks of the middle class.
    Middle = 1,
    /// Tasks of the highest class.
    High = 2,
    /// The timer and the spurious vector.
    Timer = 3,
    /// Exceptions.
    Exception = 4,
    /// Non-maskable interrupts.
    Nmi = 5,
    /// Double faults and machine checks: what may come while an exception is handled.
    Abort = 6,
}

/// How many there are.
pub(crate) const STACKS: usize = 7;
/// The tasks' stacks, by class from the lowest.
pub const TASKS: [Stack; 3] = [Stack::Low, Stack::Middle, Stack::High];

#[repr(C, align(4096))]
struct Guarded {
    guard: [u8; GUARD_BYTES],
    room: [u8; STACK_BYTES],
}

#[repr(C)]
struct Room(UnsafeCell<[Guarded; STACKS]>);

// SAFETY: only the processor uses the memory, as stacks; Rust code takes nothing but addresses.
unsafe impl Sync for Room {}

static ROOM: Room = Room(UnsafeCell::new(
    [const {
        Guarded {
            guard: [0; GUARD_BYTES],
            room: [0; STACK_BYTES],
        }
    }; STACKS],
));

/// The address of the guard page below `stack`.
pub fn guard(stack: Stack) -> u64 {
    ROOM.0.get() as u64 + stack as u64 * size_of::<Guarded>() as u64
}

/// The address just above `stack`: what its stack pointer begins with.
pub fn top(stack: Stack) -> u64 {
    guard(stack) + size_of::<Guarded>() as u64
}

/// Whether `address` lies in the guard page of `stack`.
pub fn is_guard_of(stack: Stack, address: u64) -> bool {
    address & !(GUARD_BYTES as u64 - 1) == guard(stack)
}

/// Whether the page at `page` is a guard page.
pub(crate) fn is_guard(page: u64) -> bool {
    let offset = page.wrapping_sub(ROOM.0.get() as u64);
    offset < size_of::<[Guarded; STACKS]>() as u64
        && offset.is_multiple_of(size_of::<Guarded>() as u64)
}
