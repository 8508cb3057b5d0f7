//! How often the GPOS was left, by kind, and how long its emulation takes at most.
//!
//! A run is from the moment the host has the processor after an exit to the moment before the guest
//! is entered again. It is judged only if no interrupt came between: what a task or a handler takes
//! is theirs. In instruction-counted emulation that makes it a length of code.

use darma_abi::units::Cycles;
use darma_machine::irq_off;
use darma_rtos::trace::{self, Kind};
use darma_svm::exit::Exit;

/// A kind of exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum ExitKind {
    /// A physical interrupt; its path is the way back from a task into the guest.
    Interrupt,
    Window,
    Cpuid,
    Halt,
    CacheFlush,
    Port,
    ReadMsr,
    WriteMsr,
    NestedFault,
    Exception,
    Other,
    /// No exit of its own: an interrupt's that had more to do than that interrupt.
    Joint,
}

const KINDS: [ExitKind; 12] = [
    ExitKind::Interrupt,
    ExitKind::Window,
    ExitKind::Cpuid,
    ExitKind::Halt,
    ExitKind::CacheFlush,
    ExitKind::Port,
    ExitKind::ReadMsr,
    ExitKind::WriteMsr,
    ExitKind::NestedFault,
    ExitKind::Exception,
    ExitKind::Other,
    ExitKind::Joint,
];
/// Their published names.
const NAMES: [&str; KINDS.len()] = [
    "interrupt",
    "interrupt-window",
    "cpuid",
    "halt",
    "cache-flush",
    "port",
    "msr-read",
    "msr-write",
    "nested-fault",
    "exception",
    "other",
    "interrupt-joint",
];

impl ExitKind {
    /// The kind of `exit`; `None` where the guest was not entered.
    pub(crate) fn of(exit: &Exit) -> Option<Self> {
        Some(match exit {
            Exit::NotEntered => return None,
            Exit::Interrupt | Exit::Nmi => Self::Interrupt,
            Exit::InterruptWindow => Self::Window,
            Exit::Cpuid => Self::Cpuid,
            Exit::Halt => Self::Halt,
            Exit::CacheFlush => Self::CacheFlush,
            Exit::Port(_) => Self::Port,
            Exit::ReadMsr => Self::ReadMsr,
            Exit::WriteMsr => Self::WriteMsr,
            Exit::NestedFault(_) => Self::NestedFault,
            Exit::Exception(_) => Self::Exception,
            _ => Self::Other,
        })
    }

    /// Whether the host does something in the guest's place then that has a begin and an end in the trace.
    fn is_traced(self) -> bool {
        // CPUID's answer is as short as recording it twice, and comes thousands of times a second.
        !matches!(
            self,
            Self::Interrupt | Self::Joint | Self::Window | Self::Halt | Self::Cpuid
        )
    }

    /// Its published name.
    pub(crate) fn name(self) -> &'static str {
        name_of(self as usize).unwrap_or("other")
    }
}

/// The name of the kind with this number in the trace.
pub(crate) fn name_of(number: usize) -> Option<&'static str> {
    NAMES.get(number).copied()
}

/// Counts and longest runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paths {
    counts: [u64; KINDS.len()],
    longest: [Cycles; KINDS.len()],
    open: Option<Open>,
    /// Interrupts taken when the guest was entered.
    entered_with: u32,
}

/// An exit whose emulation has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    kind: ExitKind,
    begin: Cycles,
    interrupts: u32,
}

impl Paths {
    /// The guest was left at `begin`, after `interrupts` had been taken.
    pub(crate) fn begin(&mut self, exit: &Exit, begin: Cycles, interrupts: u32) {
        let Some(kind) = ExitKind::of(exit) else {
            self.open = None;
            return;
        };
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
        trace::record(begin, Kind::GuestExit, kind as u32);
        if kind.is_traced() {
            trace::record(begin, Kind::EmulateBegin, kind as u32);
        }
        // What an interrupt asks the loop to attend to belongs to that interrupt's exit and to no other.
        // One that is taken later, if only an instruction after `begin`, belongs to none: counted from
        // here on, it and its task would be part of the run.
        let interrupts = if kind == ExitKind::Interrupt {
            interrupts
        } else {
            self.entered_with
        };
        self.open = Some(Open {
            kind,
            begin,
            interrupts,
        });
    }

    /// More than one interrupt is to be attended to, or the guest's next instruction to be looked at.
    pub(crate) fn joint(&mut self) {
        if let Some(open) = &mut self.open
            && open.kind == ExitKind::Interrupt
        {
            open.kind = ExitKind::Joint;
        }
    }

    /// The guest is about to be entered at `now`.
    pub(crate) fn end(&mut self, now: Cycles) {
        if let Some(open) = self.close(now)
            && irq_off::interrupts() == open.interrupts
            // A sleep in HLT is no path.
            && open.kind != ExitKind::Halt
            && let Some(longest) = self.longest.get_mut(open.kind as usize)
        {
            *longest = (*longest).max(now.saturating_since(open.begin));
        }
        self.entered_with = irq_off::interrupts();
        trace::record(now, Kind::GuestEnter, 0);
    }

    /// The loop is left with this exit: what follows is no path of the loop's.
    pub(crate) fn close(&mut self, now: Cycles) -> Option<Open> {
        let open = self.open.take()?;
        if open.kind.is_traced() {
            trace::record(now, Kind::EmulateEnd, open.kind as u32);
        }
        Some(open)
    }

    /// Every kind, its count, and its longest undisturbed run.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ExitKind, u64, Cycles)> + '_ {
        let figures = self.counts.iter().zip(self.longest.iter());
        KINDS
            .iter()
            .zip(figures)
            .map(|(kind, (count, longest))| (*kind, *count, *longest))
    }

    /// How often the guest went to sleep.
    pub(crate) fn halts(&self) -> u64 {
        let count = self.counts.get(ExitKind::Halt as usize);
        count.copied().unwrap_or(0)
    }

    /// The exits that the guest makes itself: counts and names, in the same order.
    pub(crate) fn own(&self) -> (&[u64], &'static [&'static str]) {
        const OWN: core::ops::RangeInclusive<usize> =
            ExitKind::Cpuid as usize..=ExitKind::Other as usize;
        let counts = self.counts.get(OWN).unwrap_or_default();
        (counts, NAMES.get(OWN).unwrap_or_default())
    }
}
