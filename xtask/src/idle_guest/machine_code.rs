//! Bytes with labels: what is left of an assembler when the instructions are written by hand.
//!
//! References are 32-bit and relative to the end of their field, which is what near jumps, calls and
//! RIP-relative operands have in common; they are filled in at the end, so a label may come later.

use anyhow::{Context, Result};

/// A place in the code, named before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Code in the making.
#[derive(Default)]
pub(super) struct Code {
    bytes: Vec<u8>,
    /// Where each label is, once that is known.
    places: Vec<Option<usize>>,
    /// Fields to fill in, by their offset.
    references: Vec<(usize, Label)>,
}

impl Code {
    /// A new label, not placed yet.
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Places `label` at the end of what is there.
    pub(super) fn here(&mut self, label: Label) -> &mut Self {
        self.here_and(label, 0)
    }

    /// Places `label` so many bytes behind the end of what is there.
    pub(super) fn here_and(&mut self, label: Label, bytes: usize) -> &mut Self {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(self.bytes.len() + bytes);
        }
        self
    }

    /// Adds bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds a little-endian word.
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Adds a reference: the distance of `label` from the end of this field.
    pub(super) fn relative(&mut self, label: Label) -> &mut Self {
        self.references.push((self.bytes.len(), label));
        self.u32(0)
    }

    /// Fills up to a multiple of `bytes`.
    pub(super) fn align(&mut self, bytes: usize) -> &mut Self {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(bytes), 0);
        self
    }

    /// The code with all references filled in.
    ///
    /// # Errors
    /// A label that is referred to was never placed, or is 2 GiB away.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        for (field, label) in self.references {
            let place = self.places.get(label.0).copied().flatten();
            let place = i64::try_from(place.context("a label without a place")?)?;
            let distance = i32::try_from(place - i64::try_from(field + 4)?)?;
            self.bytes
                .get_mut(field..field + 4)
                .context("a field inside the code")?
                .copy_from_slice(&distance.to_le_bytes());
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn references_count_from_the_end_of_their_field_in_both_directions() {
        let mut code = Code::default();
        let (before, after) = (code.label(), code.label());
        code.here(before).put(&[0x90, 0xe9]).relative(before);
        code.put(&[0xe9]).relative(after).put(&[0x90]).here(after);
        let bytes = code.finish().expect("all placed");
        assert_eq!(bytes[2..6], (-6_i32).to_le_bytes());
        assert_eq!(bytes[7..11], 1_i32.to_le_bytes());
    }

    #[test]
    fn a_label_without_a_place_is_an_error() {
        let mut code = Code::default();
        let nowhere = code.label();
        code.relative(nowhere);
        assert!(code.finish().is_err());
    }
}
