//! Short text in a fixed number of bytes: task names, section names, the line of a fault.
//!
//! The same bytes stand in shared memory, in report events and in the fault record, and the reader
//! cannot trust them. So the type makes one promise that holds for *any* bytes: what [`Text::as_str`]
//! gives is printable ASCII, ends before the first other byte, and never panics. Whatever is put in
//! is made printable on the way, so that no reader has to think of terminal escapes.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// At most `N` bytes of printable ASCII, padded with NUL.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The empty text.
    pub const EMPTY: Self = Self([0; N]);

    /// The first `N` bytes of `text`; a byte that is not printable ASCII becomes `?`.
    pub fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// As [`Text::new`], from bytes of unknown origin; they end at the first NUL.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut out = [0; N];
        for (to, from) in out
            .iter_mut()
            .zip(bytes.iter().take_while(|byte| **byte != 0))
        {
            *to = if is_printable(*from) { *from } else { b'?' };
        }
        Self(out)
    }

    /// The text: everything before the first byte that is not printable ASCII.
    pub fn as_str(&self) -> &str {
        let end = self
            .0
            .iter()
            .position(|byte| !is_printable(*byte))
            .unwrap_or(N);
        let printable = self.0.get(..end).unwrap_or_default();
        core::str::from_utf8(printable).unwrap_or_default()
    }

    /// Whether nothing would be printed.
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const N: usize>;
        impl<const N: usize> Visitor<'_> for Reader<N> {
            type Value = Text<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<N>, E> {
                Ok(Text::new(text))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_room() {
        assert_eq!(Text::<4>::new("control").as_str(), "cont");
    }

    #[test]
    fn terminal_escapes_do_not_survive() {
        assert_eq!(Text::<16>::new("a\x1b[2Jb").as_str(), "a?[2Jb");
    }

    #[test]
    fn foreign_bytes_end_the_text() {
        let hostile = Text::<4>::read_from_bytes(&[b'a', b'b', 0xff, b'c']).unwrap();
        assert_eq!(hostile.as_str(), "ab");
    }
}
