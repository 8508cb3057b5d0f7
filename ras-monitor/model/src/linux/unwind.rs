//! Walking a dead kernel's stack, by the rules of its own unwinder (arch/x86/kernel/unwind_orc.c).
//!
//! From each frame to its caller's, across exceptions and interrupts and whatever stack they ran on.
//! The kernel may have died of a ruined stack, so nothing about it is believed: there are at most
//! [`FRAMES_MAX`] steps, between calls the stack pointer must rise, and what cannot be read ends it.

use super::orc::{Base, Entry, Kind, Orc, Register};
use super::view::View;
use crate::fault_record::Registers;
use crate::memory::GuestPhysRead;

/// The most frames that are walked.
pub const FRAMES_MAX: usize = 64;

/// Where registers stand in the frame of an exception (`struct pt_regs`).
mod saved {
    pub(super) const R13: usize = 16;
    pub(super) const BP: usize = 32;
    pub(super) const R10: usize = 56;
    pub(super) const DX: usize = 96;
    pub(super) const DI: usize = 112;
    pub(super) const IP: u64 = 128;
    pub(super) const BYTES: usize = 168;
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
    /// Registers that few frames need: rdx, rdi, r10, r13.
    pub others: [u64; 4],
    /// It was in user mode: there is no kernel stack to walk.
    pub user: bool,
}

impl From<&Registers> for Start {
    fn from(registers: &Registers) -> Self {
        Self {
            ip: registers.rip,
            sp: registers.rsp,
            bp: registers.rbp,
            others: [registers.rdx, registers.rdi, registers.r10, registers.r13],
            user: registers.cpl == 3,
        }
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The instruction pointer: the next instruction, or the one that was interrupted.
    pub ip: u64,
    /// It was interrupted there, and did not call.
    pub interrupted: bool,
    /// The way here led through code without a table.
    pub doubtful: bool,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the stack's bottom.
    Bottom,
    /// In user mode, at this instruction.
    UserMode(u64),
    /// No table covers the code.
    NoTable,
    /// The table gives no way on.
    Undefined,
    /// The stack is not readable there.
    Unreadable,
    /// The stack pointer fell.
    Falling,
    /// After [`FRAMES_MAX`] frames.
    Limit,
}

impl End {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Bottom => "bottom of the stack",
            Self::UserMode(_) => "user mode",
            Self::NoTable => "code without a table",
            Self::Undefined => "no way on by the table",
            Self::Unreadable => "stack not readable",
            Self::Falling => "stack pointer falls",
            Self::Limit => "64 frames",
        }
    }
}

/// Whose code an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The kernel's or a module's, described by these tables, if they are known.
    Kernel(Option<Orc>),
    /// Nobody's.
    Unknown,
}

/// A walk.
struct Walk<'a, 'v, M> {
    view: &'a View<'v, M>,
    ip: u64,
    sp: u64,
    bp: u64,
    interrupted: bool,
    /// [`Start::others`], as long as they are known.
    others: Option<[u64; 4]>,
}

/// Walks the stack and shows each frame, innermost first.
pub(super) fn walk<M: GuestPhysRead>(
    view: &View<'_, M>,
    start: &Start,
    mut code: impl FnMut(u64) -> Code,
    mut show: impl FnMut(Frame),
) -> End {
    if start.user {
        return End::UserMode(start.ip);
    }
    let mut walk = Walk {
        view,
        ip: start.ip,
        sp: start.sp,
        bp: start.bp,
        interrupted: true,
        others: Some(start.others),
    };
    let mut doubtful = false;
    for _ in 0..FRAMES_MAX {
        show(Frame {
            ip: walk.ip,
            interrupted: walk.interrupted,
            doubtful,
        });
        // A return address may be the first of the next function: the call is before it.
        let key = walk.ip.wrapping_sub(u64::from(!walk.interrupted));
        let mut guess = false;
        let entry = match code(key) {
            _ if walk.ip == 0 && walk.interrupted => Entry::NULL_CALL,
            Code::Kernel(Some(orc)) => match orc.find(view, key) {
                Some(entry) => entry,
                None => return End::NoTable,
            },
            Code::Kernel(None) | Code::Unknown => {
                guess = true;
                doubtful = true;
                Entry::FRAME_POINTER
            }
        };
        if let Err(end) = walk.step(entry, guess) {
            return end;
        }
        if guess && code(walk.ip.wrapping_sub(1)) == Code::Unknown {
            return End::NoTable;
        }
    }
    End::Limit
}

impl<M: GuestPhysRead> Walk<'_, '_, M> {
    fn step(&mut self, entry: Entry, guess: bool) -> Result<(), End> {
        let base = self.base(entry)?;
        let bp = match entry.bp {
            Base::PreviousSp => Some(self.word(offset(base, entry.bp_offset))?),
            Base::Bp => Some(self.word(offset(self.bp, entry.bp_offset))?),
            _ => None,
        };
        match entry.kind {
            Kind::Call => {
                self.ip = self.word(base.wrapping_sub(8))?;
                if base <= self.sp && !guess {
                    return Err(End::Falling);
                }
                self.sp = base;
                self.interrupted = false;
                self.others = None;
                self.bp = bp.unwrap_or(self.bp);
            }
            Kind::Registers => {
                let all: [u8; saved::BYTES] = self.bytes(base)?;
                let word = |at: usize| {
                    let bytes = all.get(at..).and_then(|rest| rest.first_chunk());
                    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
                };
                self.others = Some([
                    word(saved::DX),
                    word(saved::DI),
                    word(saved::R10),
                    word(saved::R13),
                ]);
                self.bp = bp.unwrap_or(word(saved::BP));
                self.interrupt(base.wrapping_add(saved::IP))?;
            }
            Kind::Interrupt => {
                self.bp = bp.unwrap_or(self.bp);
                self.interrupt(base)?;
            }
        }
        Ok(())
    }

    /// The caller's stack pointer, or the address of the saved registers.
    fn base(&self, entry: Entry) -> Result<u64, End> {
        Ok(match entry.sp {
            Base::Sp => offset(self.sp, entry.sp_offset),
            Base::Bp => offset(self.bp, entry.sp_offset),
            Base::SpIndirect => offset(self.word(self.sp)?, entry.sp_offset),
            Base::BpIndirect => self.word(offset(self.bp, entry.sp_offset))?,
            Base::Register(register) => {
                let [dx, di, r10, r13] = self.others.ok_or(End::Undefined)?;
                match register {
                    Register::Dx => dx,
                    Register::Di => di,
                    Register::R10 => r10,
                    Register::R13 => r13,
                }
            }
            Base::Undefined if entry.last => return Err(End::Bottom),
            Base::Undefined | Base::PreviousSp => return Err(End::Undefined),
        })
    }

    /// Goes on where the processor was interrupted, by what it pushed.
    fn interrupt(&mut self, at: u64) -> Result<(), End> {
        let ip = self.word(at)?;
        let selector = self.word(at.wrapping_add(8))?;
        if selector & 3 != 0 {
            return Err(End::UserMode(ip));
        }
        self.sp = self.word(at.wrapping_add(24))?;
        self.ip = ip;
        self.interrupted = true;
        Ok(())
    }

    fn word(&self, at: u64) -> Result<u64, End> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], End> {
        self.view.bytes(at).ok_or(End::Unreadable)
    }
}

fn offset(base: u64, offset: i16) -> u64 {
    base.wrapping_add_signed(i64::from(offset))
}
