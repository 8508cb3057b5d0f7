//! Bytes as a sequence of little-endian numbers: a history of accesses is read from one.

use darma_policy::mmio::Width;

/// What is left of the input. Past its end everything is zero, so that every input is complete.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(super) fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(super) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn quad(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// An access's width: the values 0 to 3 are one, two, four and eight bytes.
    pub(super) fn width(&mut self) -> Width {
        match self.byte() & 3 {
            0 => Width::One,
            1 => Width::Two,
            2 => Width::Four,
            _ => Width::Eight,
        }
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        taken[..now.len()].copy_from_slice(now);
        self.0 = later;
        taken
    }
}

/// The bytes of `memory` from `at` on into `out`; false if they are not all there.
pub(super) fn read_flat(memory: &[u8], at: u64, out: &mut [u8]) -> bool {
    let from = usize::try_from(at).ok();
    let source = from.and_then(|from| memory.get(from..from.checked_add(out.len())?));
    source.map(|bytes| out.copy_from_slice(bytes)).is_some()
}
