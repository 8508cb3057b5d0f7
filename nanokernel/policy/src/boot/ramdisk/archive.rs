//! The archive itself: from header to header, in place.
//!
//! Format: 13 fields of 8 hexadecimal digits behind a 6-byte magic, then the name with its NUL, then
//! the data; name and data are each padded to a multiple of 4 bytes (cpio(5), "New ASCII Format").

use super::RamDiskError;

pub(super) const HEADER_SIZE: usize = 110;
pub(super) const FIELDS_OFFSET: usize = 6;
pub(super) const FILE_SIZE_FIELD: usize = 6;
pub(super) const NAME_SIZE_FIELD: usize = 11;
pub(super) const END_MARK: &str = "TRAILER!!!";

/// Walks the archive from header to header. `offset` only grows, by at least a header per step.
pub(super) struct Cursor<'a> {
    image: &'a [u8],
    offset: usize,
    last: &'a str,
}

impl<'a> Cursor<'a> {
    /// At the archive's start.
    pub(super) const fn new(image: &'a [u8]) -> Self {
        Self {
            image,
            offset: 0,
            last: "the start",
        }
    }

    /// The next file, or `None` at the end mark.
    pub(super) fn next_file(&mut self) -> Result<Option<(&'a str, &'a [u8])>, RamDiskError<'a>> {
        let start = self.offset;
        // A thing that is no archive at all is told apart from one that was cut short.
        let magic = self.image.get(start..start.saturating_add(FIELDS_OFFSET));
        if self.image.is_empty() || magic.is_some_and(|m| m != b"070701" && m != b"070702") {
            return Err(match start {
                0 => RamDiskError::NotCpio,
                offset => RamDiskError::BadMagic {
                    after: self.last,
                    offset,
                },
            });
        }
        let header = self.take(HEADER_SIZE, "the header of a file")?;
        let name_size = hex_field(header, NAME_SIZE_FIELD, start)?;
        let data_size = hex_field(header, FILE_SIZE_FIELD, start)?;

        let name_offset = self.offset;
        let bad_name = RamDiskError::BadName {
            offset: name_offset,
        };
        let [name @ .., 0] = self.take(name_size, "the name of a file")? else {
            return Err(bad_name);
        };
        let name = core::str::from_utf8(name).map_err(|_| bad_name)?;
        if name == END_MARK {
            return Ok(None);
        }
        self.skip_padding();
        let data = self.take(data_size, name)?;
        self.skip_padding();
        self.last = name;
        Ok(Some((name, data)))
    }

    fn take(&mut self, count: usize, what: &'a str) -> Result<&'a [u8], RamDiskError<'a>> {
        let size = self.image.len();
        let truncated = RamDiskError::Truncated {
            file: what,
            offset: self.offset.min(size),
            size,
        };
        let end = self.offset.checked_add(count).ok_or(truncated)?;
        let taken = self.image.get(self.offset..end).ok_or(truncated)?;
        self.offset = end;
        Ok(taken)
    }

    fn skip_padding(&mut self) {
        // Past the end is fine: the next `take` reports it.
        self.offset = self
            .offset
            .checked_next_multiple_of(4)
            .unwrap_or(usize::MAX);
    }
}

fn hex_field(
    header: &[u8],
    index: usize,
    header_offset: usize,
) -> Result<usize, RamDiskError<'static>> {
    let at = FIELDS_OFFSET + index * 8;
    let bad = RamDiskError::BadHexField {
        offset: header_offset.saturating_add(at),
    };
    let digits = header.get(at..at + 8).ok_or(bad)?;
    digits.iter().try_fold(0usize, |value, &digit| {
        let digit = char::from(digit)
            .to_digit(16)
            .and_then(|d| usize::try_from(d).ok());
        Ok(value << 4 | digit.ok_or(bad)?)
    })
}
