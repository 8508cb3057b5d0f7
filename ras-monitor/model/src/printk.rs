//! The kernel's log, read out of the dead kernel's memory.
//!
//! Since 5.10 the log is a lockless ring in three parts: descriptors (state, where the text lies),
//! infos (time, level, length) and text blocks (`kernel/printk/printk_ringbuffer.h`). VMCOREINFO
//! names every offset, made for exactly this use. A descriptor's `state_var` holds its id in the low
//! 62 bits and its state above: 1 committed, 2 finalized; only those two are consistent. The id's
//! low bits index descriptors and infos alike; ids run on and overflow, which the kernel provokes on
//! purpose early, so all arithmetic on them wraps.
//!
//! Nothing here trusts the ring: sizes are capped before use, at most [`MAX_LOOK_BACK`] descriptors
//! are visited, a text length never exceeds its block, and a record that does not fit together is
//! counted as lost. What cannot be printed is replaced, so the result is plain ASCII and carries
//! no terminal escapes.

mod layout;
mod tail;

pub use tail::{Tail, panic_message};

use crate::kernel_map::KernelMap;
use crate::memory::GuestPhysRead;
use crate::vmcoreinfo::VmcoreInfo;
use core::fmt;
use darma_abi::units::{GuestVirt, Nanos};
use layout::Layout;

/// The most descriptors one reading visits, whatever the ring claims.
pub const MAX_LOOK_BACK: u64 = 4096;

/// Low 62 bits of a descriptor's state variable: its id.
const ID_MASK: u64 = u64::MAX >> 2;
const COMMITTED: u64 = 1;
const FINALIZED: u64 = 2;
/// Both ends of a block that has no text have this bit.
const DATALESS: u64 = 1;
/// Both ends of an empty line's block.
const NO_TEXT: u64 = 3;

/// Why the log cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// VMCOREINFO lacks this key: not a kernel with the ring of 5.10 and later.
    Missing(&'static str),
    /// The ring's own structure is not in readable memory.
    Unreadable,
    /// Its sizes make no sense.
    Implausible,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "VMCOREINFO has no {key}: a kernel before 5.10?"),
            Self::Unreadable => f.write_str("the ring is not in readable memory"),
            Self::Implausible => f.write_str("the ring's sizes make no sense"),
        }
    }
}

/// One record of the log, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number since boot.
    pub sequence: u64,
    /// When it was logged, since boot.
    pub at: Nanos,
    /// syslog level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// syslog facility, 0 is the kernel.
    pub facility: u8,
    /// Bytes of text put into the caller's buffer.
    pub bytes: usize,
}

/// The ring of one dead kernel.
#[derive(Clone, Copy, Debug)]
pub struct Log<'m, M> {
    memory: &'m M,
    map: &'m KernelMap,
    layout: Layout,
    count: u64,
    descriptors: u64,
    infos: u64,
    head_id: u64,
    tail_id: u64,
    text_size: u64,
    text: u64,
}

impl<'m, M: GuestPhysRead> Log<'m, M> {
    /// Finds the ring and checks its shape.
    pub fn open(
        memory: &'m M,
        map: &'m KernelMap,
        info: &VmcoreInfo<'_>,
    ) -> Result<Self, LogError> {
        let layout = Layout::new(info)?;
        let pointer = info.symbol("prb").ok_or(LogError::Missing("SYMBOL(prb)"))?;
        let word = |at: u64| {
            map.read_u64(memory, GuestVirt(at))
                .ok_or(LogError::Unreadable)
        };
        let half = |at: u64| word(at).map(|value| value & u64::from(u32::MAX));

        let ring = word(pointer.0)?;
        let descs = ring.wrapping_add(layout.desc_ring);
        let texts = ring.wrapping_add(layout.text_ring);
        let count_bits = half(descs.wrapping_add(layout.count_bits))?;
        let size_bits = half(texts.wrapping_add(layout.size_bits))?;
        // The kernel's limits: CONFIG_LOG_BUF_SHIFT <= 25, log_buf_len= <= 2 GiB.
        if !(1..=26).contains(&count_bits) || !(4..=31).contains(&size_bits) {
            return Err(LogError::Implausible);
        }
        Ok(Self {
            memory,
            map,
            layout,
            count: 1 << count_bits,
            descriptors: word(descs.wrapping_add(layout.descs))?,
            infos: word(descs.wrapping_add(layout.infos))?,
            head_id: word(descs.wrapping_add(layout.head_id))? & ID_MASK,
            tail_id: word(descs.wrapping_add(layout.tail_id))? & ID_MASK,
            text_size: 1 << size_bits,
            text: word(texts.wrapping_add(layout.data))?,
        })
    }

    /// The ring's three parts, each with its length in bytes: descriptors, infos, text.
    pub const fn parts(&self) -> [(GuestVirt, u64); 3] {
        let (descriptors, infos) = (self.layout.desc_size, self.layout.info_size);
        [
            (
                GuestVirt(self.descriptors),
                self.count.saturating_mul(descriptors),
            ),
            (GuestVirt(self.infos), self.count.saturating_mul(infos)),
            (GuestVirt(self.text), self.text_size),
        ]
    }

    /// How many descriptors lie between the newest and the oldest, both included, as far as they
    /// are looked at.
    fn span(&self) -> u64 {
        let claimed = self.head_id.wrapping_sub(self.tail_id) & ID_MASK;
        claimed.saturating_add(1).min(self.count).min(MAX_LOOK_BACK)
    }

    /// The record `age` places before the newest, its text copied to `buffer` as far as it fits.
    /// `None` if that descriptor holds no consistent, readable record.
    pub fn record(&self, age: u64, buffer: &mut [u8]) -> Option<Record> {
        let id = self.head_id.wrapping_sub(age) & ID_MASK;
        let index = id & (self.count - 1);
        let layout = &self.layout;

        let descriptor = element(self.descriptors, index, layout.desc_size);
        let state = self.word(descriptor.wrapping_add(layout.state))?;
        if state & ID_MASK != id || !matches!(state >> 62, COMMITTED | FINALIZED) {
            return None;
        }
        let begin = self.word(descriptor.wrapping_add(layout.begin))?;
        let next = self.word(descriptor.wrapping_add(layout.next))?;

        let info = element(self.infos, index, layout.info_size);
        let sequence = self.word(info.wrapping_add(layout.sequence))?;
        let at = Nanos(self.word(info.wrapping_add(layout.time))?);
        // u16 text_len, u8 facility, u8 with the level in its upper three bits. Only the first has
        // an offset in VMCOREINFO; the others follow it in struct printk_info.
        let [low, high, facility, flags, ..] = self
            .word(info.wrapping_add(layout.text_length))?
            .to_le_bytes();
        let length = usize::from(u16::from_le_bytes([low, high]));

        let block = self.block(begin, next)?;
        let wanted = length
            .min(usize::try_from(block.bytes).ok()?)
            .min(buffer.len());
        let out = buffer.get_mut(..wanted)?;
        if !self.map.read(self.memory, GuestVirt(block.at), out) {
            return None;
        }
        out.iter_mut().for_each(make_printable);
        Some(Record {
            sequence,
            at,
            level: flags >> 5,
            facility,
            bytes: wanted,
        })
    }

    /// Where a text block's bytes are (`get_data` in `printk_ringbuffer.c` has the rules).
    fn block(&self, begin: u64, next: u64) -> Option<Block> {
        let mask = self.text_size - 1;
        if begin & DATALESS != 0 && next & DATALESS != 0 {
            return (begin == NO_TEXT && next == NO_TEXT).then_some(Block {
                at: self.text,
                bytes: 0,
            });
        }
        let wrap = |position: u64| position & !mask;
        let (offset, bytes) = if wrap(begin) == wrap(next) && begin < next {
            (begin & mask, next - begin)
        } else if wrap(begin.wrapping_add(self.text_size)) == wrap(next) {
            // It did not fit at the end, so it was put at the start of the ring instead.
            (0, next & mask)
        } else {
            return None;
        };
        // A block begins with its descriptor's id.
        let bytes = bytes.checked_sub(8)?;
        Some(Block {
            at: self.text.wrapping_add(offset).wrapping_add(8),
            bytes,
        })
    }

    fn word(&self, at: u64) -> Option<u64> {
        self.map.read_u64(self.memory, GuestVirt(at))
    }
}

struct Block {
    at: u64,
    bytes: u64,
}

fn element(base: u64, index: u64, size: u64) -> u64 {
    base.wrapping_add(index.wrapping_mul(size))
}

/// Keeps line breaks, tabs and printable ASCII.
fn make_printable(byte: &mut u8) {
    if !matches!(*byte, b'\n' | b'\t' | b' '..=b'~') {
        *byte = b'?';
    }
}

#[cfg(test)]
mod tests;
