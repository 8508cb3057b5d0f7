//! What the living kernel says of itself, in its own variables.
//!
//! They are found through the kernel's own symbol table and read from outside, a few words at each
//! look; nothing in Linux helps, and nothing has to be installed. Each is an allegation: the memory
//! is the GPOS's to ruin. So a detector may take them for the reason of a verdict on the GPOS (who
//! wrecks his own vital signs is in need of a reload), but for nothing else, and works without any.

/// Vital signs at one look. `None`: not known of this kernel, or not readable now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// A processor has entered `panic()`: `panic_cpu` is not -1.
    pub panicking: Option<bool>,
    /// Oopses so far: `die_counter`.
    pub dies: Option<u32>,
    /// What has marred the kernel so far: `tainted_mask`.
    pub taint: Option<u64>,
    /// How far up or down it is: `system_state`.
    pub system_state: Option<u32>,
    /// It resets without having gone down in order, as it does after a panic or for `sysrq-b`:
    /// `reboot_emergency`. `system_state` says "restart" then as well.
    pub emergency: Option<bool>,
    /// Changes of process so far: `nr_switches` of processor 0's run queue.
    pub switches: Option<u64>,
    /// Processes that want to run, the running one included: `nr_running` of the same queue.
    pub runnable: Option<u32>,
    /// The kernel's time: `jiffies_64`.
    pub jiffies: Option<u64>,
    /// Moves with each line of the kernel's log: the descriptor ring's `head_id`.
    pub log: Option<u64>,
}

/// `tainted_mask`: an oops (include/linux/panic.h).
pub(super) const TAINT_DIE: u64 = 1 << 7;
/// `tainted_mask`: a warning.
pub(super) const TAINT_WARN: u64 = 1 << 9;
/// `tainted_mask`: the kernel's own watchdog found a soft lockup.
pub(super) const TAINT_SOFT_LOCKUP: u64 = 1 << 14;

/// `system_state`: user space may run (include/linux/kernel.h).
const RUNNING: u32 = 3;
const HALT: u32 = 4;
const POWER_OFF: u32 = 5;
const RESTART: u32 = 6;

impl Vitals {
    /// It is known to be panicking.
    pub fn is_panicking(&self) -> bool {
        self.panicking == Some(true)
    }

    /// It is known to be on its way up.
    pub fn is_booting(&self) -> bool {
        self.system_state.is_some_and(|state| state < RUNNING)
    }

    /// It is known to have started its user space.
    pub fn is_up(&self) -> bool {
        self.system_state == Some(RUNNING)
    }

    /// It is known to restart itself in an orderly way.
    pub fn is_restarting(&self) -> bool {
        self.system_state == Some(RESTART) && self.emergency != Some(true) && !self.is_panicking()
    }

    /// It is known to end itself in an orderly way.
    pub fn is_ending(&self) -> bool {
        matches!(self.system_state, Some(HALT | POWER_OFF)) && !self.is_panicking()
    }
}
