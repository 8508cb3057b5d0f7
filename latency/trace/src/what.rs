//! The words for what a stretch of a wait went to, and their text.

use core::fmt;

use darma_abi::units::Vector;

/// What a stretch of the wait went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The history does not reach back far enough.
    Unknown,
    /// Path: from the timer's expiry to its handler, out of code that could be interrupted.
    Delivery,
    /// Path: the same, out of the emulation of an exit of this kind.
    OutOfEmulation(u32),
    /// Path: the same, out of this step of loading the GPOS.
    OutOfLoad(u32),
    /// Path: the same, out of this step of capturing it.
    OutOfCapture(u32),
    /// Path: the guest had the processor until it was left.
    GuestExit,
    /// The main loop: entering and leaving the guest, with interrupts off.
    MainLoop,
    /// Path: the timer's handler, serving this task's release.
    Timer,
    /// Path: from the end of the last handler or task to this task's first instruction.
    TaskEntry,
    /// The timer's handler for an expiry that was not this task's.
    OtherExpiry,
    /// The timer's handler, serving this other task's release.
    Release(u32),
    /// This other task, or an earlier run of the same.
    Task(u32),
    /// The handler of the device interrupt with this vector.
    Device(u32),
    /// This section with interrupts off.
    Section(u32),
    /// A lock with this ceiling.
    Lock(u32),
    /// The emulation of an exit of this kind.
    Emulation(u32),
    /// This step of loading the GPOS.
    Load(u32),
    /// This step of capturing it.
    Capture(u32),
}

impl What {
    /// Which part of the path it is; `None` if it stood in the way: something that others do and that
    /// could be absent.
    pub const fn path(self) -> Option<Path> {
        Some(match self {
            Self::Unknown
            | Self::Delivery
            | Self::OutOfEmulation(_)
            | Self::OutOfLoad(_)
            | Self::OutOfCapture(_)
            | Self::GuestExit
            | Self::MainLoop => Path::Leaving,
            Self::Timer => Path::Handler,
            Self::TaskEntry => Path::Entry,
            Self::OtherExpiry
            | Self::Release(_)
            | Self::Task(_)
            | Self::Device(_)
            | Self::Section(_)
            | Self::Lock(_)
            | Self::Emulation(_)
            | Self::Load(_)
            | Self::Capture(_) => return None,
        })
    }

    /// Whether it stood in the way, instead of being a part of every wait.
    pub const fn stood_in_the_way(self) -> bool {
        self.path().is_none()
    }

    /// What has the name of its number.
    const fn named_as(self) -> Self {
        match self {
            Self::OutOfEmulation(kind) => Self::Emulation(kind),
            Self::OutOfLoad(step) => Self::Load(step),
            Self::OutOfCapture(step) => Self::Capture(step),
            other => other,
        }
    }

    /// Its text, with the names that are known.
    pub const fn named<N: Names>(self, names: &N) -> Named<'_, N> {
        Named { what: self, names }
    }
}

/// The parts that every wait has, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Path {
    /// Until the interrupt's handler begins: leaving the guest, or what else ran.
    Leaving,
    /// The timer's handler.
    Handler,
    /// From there to the task's first instruction.
    Entry,
}

impl Path {
    /// How many parts there are.
    pub(crate) const COUNT: usize = 3;
}

/// Names for the numbers in a history. A number without a name is written as a number.
pub trait Names {
    /// The name of what `what` has a number for: task, section, vector, exit kind or step.
    fn name(&self, what: What) -> Option<&str>;
}

/// No names at all.
impl Names for () {
    fn name(&self, _: What) -> Option<&str> {
        None
    }
}

/// A [`What`] with its names, for printing.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a, N> {
    what: What,
    names: &'a N,
}

impl<N: Names> fmt::Display for Named<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self.what {
            What::Unknown => return f.write_str("before the history"),
            What::Delivery => return f.write_str("interrupt delivery"),
            What::GuestExit => return f.write_str("guest exit"),
            What::MainLoop => return f.write_str("guest entry/exit path"),
            What::Timer => return f.write_str("timer path"),
            What::TaskEntry => return f.write_str("task entry"),
            What::OtherExpiry => return f.write_str("another timer expiry"),
            What::OutOfEmulation(kind) => ("out of emulation of", kind),
            What::OutOfLoad(step) => ("out of load step", step),
            What::OutOfCapture(step) => ("out of capture step", step),
            What::Release(task) => ("release of", task),
            What::Task(task) => ("task", task),
            What::Device(vector) => ("interrupt", vector),
            What::Section(section) => ("section", section),
            What::Lock(ceiling) => ("lock at ceiling", ceiling),
            What::Emulation(kind) => ("emulation of", kind),
            What::Load(step) => ("load step", step),
            What::Capture(step) => ("capture step", step),
        };
        match (self.names.name(self.what.named_as()), self.what) {
            (Some(name), _) => write!(f, "{word} {name}"),
            (None, What::Device(vector)) => match u8::try_from(vector) {
                Ok(vector) => write!(f, "{word} {}", Vector(vector)),
                Err(_) => write!(f, "{word} {vector}"),
            },
            (None, _) => write!(f, "{word} {number}"),
        }
    }
}
