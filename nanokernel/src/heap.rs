//! The start-up heap: only the instruction decoder's tables live on it, built once by
//! [`init`]. Nothing allocates after that; no interrupt handler and no task ever does.

use crate::once::Once;
use linked_list_allocator::LockedHeap;

/// The decoder asks for about 103 KB in some 2000 pieces.
const SIZE: usize = 192 << 10;

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: LockedHeap = LockedHeap::empty();

static ROOM: Once<[u8; SIZE]> = Once::new([0; SIZE]);

/// Gives the heap its memory and has the decoder build its tables.
pub(crate) fn init() -> bool {
    let room = ROOM.take();
    // SAFETY: the room is the heap's alone, for ever, and this runs once (`Once::take` sees to it).
    unsafe { HEAP.lock().init(room.as_mut_ptr(), room.len()) };
    darma_policy::mmio::warm_up()
}
