//! The stack of a dead kernel as text, and what failures of the same origin have in common.
//!
//! ```text
//! task 85 (sh)
//! pvpanic_panic_notify+0x1b/0x30 [pvpanic]
//! panic+0x10d/0x2d0
//! ...
//! null_deref+0x7/0x20 [darma_fault]
//! user mode at 0x47b7a0
//! ```
//! A line per frame, innermost first, in the kernel's own notation; a `?` before an address that is
//! nobody's code. The last line says where the walk ended.
//!
//! The *place* of a failure is the first frame that is not the failing itself: what an exception
//! interrupted, else what called `panic`, else the first. The fingerprint is a hash of the cause and
//! of the functions from there on, without offsets and addresses: it is the same in every start,
//! and wherever in a loop the kernel was stopped. What a device's interrupt interrupted is chance
//! and does not count.

use super::facts::Facts;
use super::modules::Module;
use super::text::Lines;
use super::unwind::{Code, End, FRAMES_MAX, Frame, Start, walk};
use super::view::View;
use crate::memory::GuestPhysRead;

/// The longest name that is shown; longer ones are cut.
const NAME: usize = 96;
/// Frames that count for the fingerprint.
const COUNTED: u32 = 8;

/// What a backtrace brought, beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Bytes of text.
    pub bytes: usize,
    /// Frames walked; the text may hold fewer.
    pub frames: u32,
    /// Where in the text the line of the failure's place begins.
    pub place: usize,
    /// What failures of the same origin have in common.
    pub fingerprint: u64,
    /// Why the walk ended.
    pub end: End,
}

/// Where the place is, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first frame.
    Start,
    /// Behind `panic`.
    Panic,
    /// What an exception interrupted.
    Exception,
    /// A device's interrupt was passed: nothing behind it is the place.
    Closed,
}

/// The functions from the place on.
struct Print {
    cause: u64,
    hash: u64,
    counted: u32,
}

impl Print {
    /// FNV-1a, whose result the same text has everywhere.
    const SEED: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;

    fn new(cause: u64) -> Self {
        let mut print = Self {
            cause,
            hash: Self::SEED,
            counted: 0,
        };
        print.add(&cause.to_le_bytes());
        print
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }

    fn function(&mut self, name: &[u8], module: &[u8]) {
        if self.counted < COUNTED {
            self.counted += 1;
            self.add(name);
            self.add(b" ");
            self.add(module);
            self.add(b"\n");
        }
    }
}

impl Facts {
    /// Writes the stack's functions into `out`, as many lines as fit.
    pub fn backtrace(
        &self,
        memory: &impl GuestPhysRead,
        start: &Start,
        cause: u32,
        out: &mut [u8],
    ) -> Trace {
        let mut lines = Lines::new(out);
        let mut trace = Trace {
            bytes: 0,
            frames: 0,
            place: 0,
            fingerprint: Print::new(u64::from(cause)).hash,
            end: End::NoTable,
        };
        let Some(view) = self.view(memory) else {
            return trace;
        };
        if let Some(task) = self.task(memory) {
            lines.push(b"task ");
            lines.decimal(u64::from(task.pid));
            lines.push(b" (");
            lines.push(task.name());
            lines.push(b")");
            lines.end();
        }
        let mut frames = [None; FRAMES_MAX];
        let mut rooms = frames.iter_mut();
        let mut module = None;
        trace.end = walk(
            &view,
            start,
            |address| self.code(&view, &mut module, address),
            |frame| {
                trace.frames += 1;
                if let Some(room) = rooms.next() {
                    *room = Some(frame);
                }
            },
        );
        let mut shown = Shown {
            facts: self,
            view: &view,
            module,
            lines,
            print: Print::new(u64::from(cause)),
            place: Place::Start,
            place_at: 0,
        };
        shown.place_at = shown.lines.whole;
        for (frame, position) in frames.iter().flatten().zip(0u32..) {
            shown.frame(*frame, position);
        }
        match trace.end {
            End::UserMode(ip) => {
                shown.lines.push(b"user mode at ");
                shown.lines.hexadecimal(ip);
            }
            end => {
                shown.lines.push(b"end: ");
                shown.lines.push(end.words().as_bytes());
            }
        }
        shown.lines.end();
        trace.place = shown.place_at;
        trace.bytes = shown.lines.whole;
        trace.fingerprint = shown.print.hash;
        trace
    }

    /// Whose code an address is; `module` is the last one that was found.
    fn code<M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        module: &mut Option<Module>,
        address: u64,
    ) -> Code {
        if self.is_text(address) {
            return Code::Kernel(self.orc());
        }
        self.module(view, module, address)
            .map_or(Code::Unknown, |module| Code::Kernel(module.orc))
    }

    fn module<'m, M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        last: &'m mut Option<Module>,
        address: u64,
    ) -> Option<&'m Module> {
        if !last.as_ref().is_some_and(|module| module.holds(address)) {
            *last = Module::around(view, &self.symbols, &self.members, address);
        }
        last.as_ref()
    }
}

/// The text as it grows.
struct Shown<'a, 'v, M> {
    facts: &'a Facts,
    view: &'a View<'v, M>,
    module: Option<Module>,
    lines: Lines<'a>,
    print: Print,
    place: Place,
    place_at: usize,
}

impl<M: GuestPhysRead> Shown<'_, '_, M> {
    fn frame(&mut self, frame: Frame, position: u32) {
        if frame.interrupted && position > 0 && self.place != Place::Closed {
            if self.place != Place::Exception {
                self.begin_place();
            }
            self.place = Place::Exception;
        }
        let back = u64::from(!frame.interrupted);
        let key = frame.ip.wrapping_sub(back);
        let mut name = [0; NAME];
        if frame.doubtful {
            self.lines.push(b"? ");
        }
        if let Some((used, offset, size)) = self.name(key, &mut name) {
            let name = name.get(..used).unwrap_or(&[]);
            self.lines.push(name);
            self.lines.push(b"+");
            self.lines.hexadecimal(offset.wrapping_add(back));
            self.lines.push(b"/");
            self.lines.hexadecimal(size);
            let module = self.module.as_ref().filter(|module| module.holds(key));
            let module = module.map_or(&[][..], Module::name);
            if !module.is_empty() {
                self.lines.push(b" [");
                self.lines.push(module);
                self.lines.push(b"]");
            }
            if self.place != Place::Closed {
                self.print.function(name, module);
            }
            self.lines.end();
            self.passed(name);
        } else {
            self.lines.push(b"? ");
            self.lines.hexadecimal(frame.ip);
            self.lines.end();
        }
    }

    fn begin_place(&mut self) {
        self.place_at = self.lines.whole;
        self.print = Print::new(self.print.cause);
    }

    /// What this frame says about the place.
    fn passed(&mut self, name: &[u8]) {
        if name == b"panic" && matches!(self.place, Place::Start | Place::Panic) {
            self.place = Place::Panic;
            self.begin_place();
        } else if name.starts_with(b"asm_sysvec_") || name == b"asm_common_interrupt" {
            self.place = Place::Closed;
        }
    }

    /// The name of the function around an address: its length, the offset in it, its size.
    fn name(&mut self, address: u64, out: &mut [u8]) -> Option<(usize, u64, u64)> {
        let facts = self.facts;
        if facts.is_text(address) {
            let around = facts.tables.around(self.view, address)?;
            let used = facts
                .tables
                .name(self.view, &facts.tokens, around.index, out)?;
            return Some((used, around.offset, around.size));
        }
        let module = facts.module(self.view, &mut self.module, address)?;
        let around = module.symbol(self.view, &facts.members, address)?;
        // A name at the end of readable memory is shorter than the room for it.
        let mut used = 0;
        for (room, at) in out.iter_mut().zip(around.name..) {
            match self.view.bytes::<1>(at) {
                Some([byte]) if byte != 0 => *room = byte,
                _ => break,
            }
            used += 1;
        }
        Some((used, around.offset, around.size))
    }
}

impl Trace {
    /// The failure's place and the callers of it in one line: `null_deref+0x7 [darma_fault] <
    /// fault_write+0xfa [darma_fault] < proc_reg_write+0x56`. Takes this trace's text; returns the
    /// bytes used of `out`.
    pub fn summary(&self, text: &[u8], out: &mut [u8]) -> usize {
        const FRAMES: usize = 3;
        let text = text.get(self.place..self.bytes).unwrap_or(&[]);
        let mut line = Lines::new(out);
        let mut used = 0;
        for (frame, position) in text.split(|byte| *byte == b'\n').zip(0..FRAMES) {
            if frame.is_empty() || frame.starts_with(b"user mode") || frame.starts_with(b"end: ") {
                break;
            }
            if position > 0 {
                line.push(b" < ");
            }
            let mut pieces = frame.splitn(2, |byte| *byte == b'/');
            line.push(pieces.next().unwrap_or(&[]));
            let behind = pieces.next().unwrap_or(&[]);
            if let Some(module) = behind.iter().position(|byte| *byte == b' ') {
                line.push(behind.get(module..).unwrap_or(&[]));
            }
            // Whole frames or none.
            match line.fits() {
                Some(end) => used = end,
                None => break,
            }
        }
        used
    }
}
