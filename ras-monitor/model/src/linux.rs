//! Reading a Linux kernel by its own tables, alive or dead, without symbols from elsewhere.
//!
//! | module | question |
//! |---|---|
//! | [`gather`] | what is there to know, and how is it gathered in slices? |
//! | [`facts`] | what is known: addresses, layouts, vital signs, the running task |
//! | [`shape`] | where in the image are the tables of symbols? |
//! | [`kallsyms`], [`names`] | what is at this address; where are these names? |
//! | [`btf`] | where in a structure is this member? |
//! | [`orc`], [`unwind`] | what does the stack look like here, and who called? |
//! | [`modules`] | and in code that was loaded later? |
//! | [`backtrace`] | how does it read, and is it the same failure as another? |
//!
//! The kernel is an allegation throughout. Each read goes through the edge's check, each count has
//! a limit of its own, and nothing found here decides anything but the text of a report and, for the
//! vital signs, a verdict on the system that wrote them.
//!
//! Formats: Linux 6.1, x86-64 (docs/decisions/0029). What a kernel does not have is left out: the
//! answers of the others stay. Concurrency: one user at a time, interrupts on, the GPOS not running.

mod backtrace;
mod btf;
mod facts;
mod gather;
mod kallsyms;
mod modules;
mod names;
mod orc;
mod shape;
mod text;
mod unwind;
mod view;
mod wanted;

pub use backtrace::Trace;
pub use facts::{Facts, Task};
pub use gather::{ControlRegisters, Gatherer, Progress};
pub use kallsyms::{Around, Tables, Tokens};
pub use unwind::{End, FRAMES_MAX, Frame, Start};
pub use wanted::{Member, Members, Symbol, Symbols};
