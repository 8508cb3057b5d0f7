//! The function through which Linux's user space and the nanokernel meet: a virtual PCI function
//! with a doorbell (BAR0) and a region of shared memory (BAR2).
//!
//! It carries the identity of QEMU's inter-VM shared-memory device, because BAR 2 means the same
//! there, stock kernels leave it alone, and every Linux lets a root process map the BARs of any PCI
//! function through sysfs: no driver of ours is needed.
//!
//! ```text
//! BAR0  +0 MARK  +4 CRASH_KIND  +8 REQUEST  +12 HEARTBEAT   u32, write only, each write exits
//!       +32 STAGE_BEGIN  +36 STAGE_CHUNK  +40 STAGE_COMMAND
//! BAR2  +0 header            who, which layout, what is where
//!       +4096 status block   nanokernel -> Linux, under a sequence lock
//!       +0x8000 stage block  nanokernel -> Linux, while Linux waits for its write to the doorbell
//!       +0x10000 window      Linux -> nanokernel: pieces of an image that is staged
//!       +2 MiB window        fault records and dumps, read only
//! ```
//!
//! Both sides take what they read for hostile: the nanokernel reads nothing from here but an image's
//! bytes, which it checks where nobody can change them, and the reader in Linux checks the header, bounds every count and retries a bounded number of
//! times. The offsets are constants of the layout version, and the header repeats them so that a
//! reader of another version says so instead of showing nonsense.

mod doorbell;
mod layout;
mod snapshot;
mod staging;
mod window;
mod writer;

pub use crate::codes::{Cause, CrashKind, GposState, Mark, Phase, StageProblem, StageState};
pub use crate::text::Text;
pub use doorbell::{
    DOORBELL_CRASH_KIND, DOORBELL_HEARTBEAT, DOORBELL_MARK, DOORBELL_REQUEST, DOORBELL_WINDOW,
    Doorbell, Heartbeat, Request,
};
pub use layout::{
    FaultEntry, LAYOUT_VERSION, LINE_BYTES, MAGIC, MAX_TASKS, Machinery, NAME_BYTES, PCI_DEVICE,
    PCI_VENDOR, REGION_BYTES, RegionHeader, STATUS_OFFSET, StatusBlock, StatusBody, TaskEntry,
};
pub use snapshot::{MAX_ATTEMPTS, ReadError, RegionRead, StatusSnapshot};
pub use staging::{
    DOORBELL_STAGE_BEGIN, DOORBELL_STAGE_CHUNK, DOORBELL_STAGE_COMMAND, STAGE_BLOCK_OFFSET,
    STAGE_WINDOW_BYTES, STAGE_WINDOW_OFFSET, Stage, StageBlock, StageCommand,
};
pub use window::{BAR2_BYTES, Bank, Store, WINDOW_BYTES, WINDOW_OFFSET};
pub use writer::{RegionStore, StatusWriter};
