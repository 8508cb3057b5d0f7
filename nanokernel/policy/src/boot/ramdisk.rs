//! Reads the RAM-disk image: a newc cpio archive that holds all that the GPOS is loaded from.
//!
//! newc, because ordinary tools make and list it (`cpio -o -H newc`) and because it can be read in
//! place: a file is a slice of the archive, nothing is copied or allocated. The image comes from
//! whoever set the machine up, and may be cut short by whatever carried it here, so every length in
//! it is checked and the archive must reach its end mark.
//!
//! Format: 13 fields of 8 hexadecimal digits behind a 6-byte magic, then the name with its NUL, then
//! the data; name and data are each padded to a multiple of 4 bytes (cpio(5), "New ASCII Format").

use core::fmt;

/// The files of a RAM-disk image that mean something to Darma; others are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFile {
    /// `kernel`: a bzImage as the distribution ships it.
    Kernel,
    /// `initrd`: the initial RAM file system, handed to the kernel as it is.
    Initrd,
    /// `cmdline`: the kernel's command line.
    CommandLine,
    /// `darma.conf`: the machine's configuration; without it the defaults hold.
    Config,
    /// `checksums`: the sums of the others; without it they are computed when the machine starts.
    Checksums,
}

impl ImageFile {
    /// The files that a sum protects, in the order in which the sums are kept.
    pub const SUMMED: [Self; 4] = [Self::Kernel, Self::Initrd, Self::CommandLine, Self::Config];

    /// The file's name inside the archive.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "cmdline",
            Self::Config => "darma.conf",
            Self::Checksums => "checksums",
        }
    }
}

/// A parsed RAM-disk image: slices of the archive it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamDisk<'a> {
    kernel: &'a [u8],
    initrd: &'a [u8],
    command_line: &'a [u8],
    config: Option<&'a [u8]>,
    checksums: Option<&'a [u8]>,
}

/// Why an image was refused. Offsets are bytes from the start of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RamDiskError<'a> {
    /// There is no newc header at the image's start.
    NotCpio,
    /// A header is missing at `offset`, where `after` has ended.
    BadMagic {
        /// The last file that was read whole.
        after: &'a str,
        /// Where the header should be.
        offset: usize,
    },
    /// The image ends inside `file`, or before the end mark.
    Truncated {
        /// The file, or what was being read.
        file: &'a str,
        /// Where the missing bytes begin.
        offset: usize,
        /// The image's size in bytes.
        size: usize,
    },
    /// A header field is not 8 hexadecimal digits.
    BadHexField {
        /// Where the field lies.
        offset: usize,
    },
    /// A file's name is not UTF-8 closed by NUL.
    BadName {
        /// Where the name lies.
        offset: usize,
    },
    /// Two files have the same name.
    Duplicate(ImageFile),
    /// A file that must be there is not, or is empty.
    Missing(ImageFile),
}

/// One line each: names come from the image and are escaped.
impl fmt::Display for RamDiskError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotCpio => f.write_str(
                "RAM-disk image: not a newc cpio archive: make it with `cargo xtask image` or `cpio -o -H newc`",
            ),
            Self::BadMagic { after, offset } => write!(
                f,
                "RAM-disk image: no cpio header at offset {offset}, after '{}': the image is damaged, make it again",
                after.escape_default()
            ),
            Self::Truncated { file, offset, size } => write!(
                f,
                "RAM-disk image: truncated in {} at offset {offset} (the image has {size} bytes): copy it whole or make it again",
                file.escape_default()
            ),
            Self::BadHexField { offset } => write!(
                f,
                "RAM-disk image: the header field at offset {offset} is not hexadecimal: the image is damaged, make it again"
            ),
            Self::BadName { offset } => write!(
                f,
                "RAM-disk image: the file name at offset {offset} is not UTF-8: rename the file and make the image again"
            ),
            Self::Duplicate(file) => write!(
                f,
                "RAM-disk image: '{}' is there twice: make the image again with one of them",
                file.name()
            ),
            Self::Missing(file) => write!(
                f,
                "RAM-disk image: no file '{}', or an empty one: add it and make the image again",
                file.name()
            ),
        }
    }
}

impl core::error::Error for RamDiskError<'_> {}

const HEADER_SIZE: usize = 110;
const FIELDS_OFFSET: usize = 6;
const FILE_SIZE_FIELD: usize = 6;
const NAME_SIZE_FIELD: usize = 11;
const END_MARK: &str = "TRAILER!!!";

impl<'a> RamDisk<'a> {
    /// Reads the archive up to its end mark and finds the files that Darma uses.
    ///
    /// # Errors
    /// The first thing found wrong; see [`RamDiskError`].
    pub fn parse(image: &'a [u8]) -> Result<Self, RamDiskError<'a>> {
        let mut found = [None::<&'a [u8]>; 5];
        let mut cursor = Cursor {
            image,
            offset: 0,
            last: "the start",
        };
        while let Some((name, data)) = cursor.next_file()? {
            let Some((file, slot)) = known(name, &mut found) else {
                continue;
            };
            if slot.replace(data).is_some() {
                return Err(RamDiskError::Duplicate(file));
            }
        }
        let [kernel, initrd, command_line, config, checksums] = found;
        let required = |slot: Option<&'a [u8]>, file| {
            slot.filter(|data| !data.is_empty())
                .ok_or(RamDiskError::Missing(file))
        };
        Ok(Self {
            kernel: required(kernel, ImageFile::Kernel)?,
            initrd: required(initrd, ImageFile::Initrd)?,
            // An empty command line is a legal one; only its absence is a mistake.
            command_line: command_line.ok_or(RamDiskError::Missing(ImageFile::CommandLine))?,
            config,
            checksums,
        })
    }

    /// The bzImage.
    pub const fn kernel(&self) -> &'a [u8] {
        self.kernel
    }

    /// The initial RAM file system.
    pub const fn initrd(&self) -> &'a [u8] {
        self.initrd
    }

    /// The kernel's command line, without the line end that editors add and without a NUL.
    pub fn command_line(&self) -> &'a [u8] {
        let mut line = self.command_line;
        while let [rest @ .., b'\n' | b'\r' | b' ' | 0] = line {
            line = rest;
        }
        line
    }

    /// The text of the configuration, empty if the image has none.
    pub fn config(&self) -> &'a [u8] {
        self.config.unwrap_or_default()
    }

    /// The text of the manifest, if the image has one.
    pub const fn checksums(&self) -> Option<&'a [u8]> {
        self.checksums
    }

    /// The bytes of `file` exactly as archived, or `None` if the image does not have it.
    pub const fn file(&self, file: ImageFile) -> Option<&'a [u8]> {
        match file {
            ImageFile::Kernel => Some(self.kernel),
            ImageFile::Initrd => Some(self.initrd),
            ImageFile::CommandLine => Some(self.command_line),
            ImageFile::Config => self.config,
            ImageFile::Checksums => self.checksums,
        }
    }
}

/// The file that `name` means and where it is noted. Tools archive `./kernel` as well as `kernel`.
fn known<'s, 'a>(
    name: &str,
    [kernel, initrd, command_line, config, checksums]: &'s mut [Option<&'a [u8]>; 5],
) -> Option<(ImageFile, &'s mut Option<&'a [u8]>)> {
    Some(match name.strip_prefix("./").unwrap_or(name) {
        "kernel" => (ImageFile::Kernel, kernel),
        "initrd" => (ImageFile::Initrd, initrd),
        "cmdline" => (ImageFile::CommandLine, command_line),
        "darma.conf" => (ImageFile::Config, config),
        "checksums" => (ImageFile::Checksums, checksums),
        _ => return None,
    })
}

/// Walks the archive from header to header. `offset` only grows, by at least a header per step.
struct Cursor<'a> {
    image: &'a [u8],
    offset: usize,
    last: &'a str,
}

impl<'a> Cursor<'a> {
    /// The next file, or `None` at the end mark.
    fn next_file(&mut self) -> Result<Option<(&'a str, &'a [u8])>, RamDiskError<'a>> {
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

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::String, vec::Vec};

    /// Archives `files` the way `cpio -o -H newc` does.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut image = Vec::new();
        for (name, data) in files.iter().copied().chain([(END_MARK, &[][..])]) {
            let mut fields = [0usize; 13];
            fields[FILE_SIZE_FIELD] = data.len();
            fields[NAME_SIZE_FIELD] = name.len() + 1;
            let digits: String = fields.iter().map(|field| format!("{field:08x}")).collect();
            image.extend_from_slice(format!("070701{digits}{name}\0").as_bytes());
            image.resize(image.len().next_multiple_of(4), 0);
            image.extend_from_slice(data);
            image.resize(image.len().next_multiple_of(4), 0);
        }
        image
    }

    fn complete() -> Vec<u8> {
        archive(&[
            ("kernel", b"KERNEL"),
            ("./initrd", b"INITRD!"),
            ("cmdline", b"console=ttyS0\n"),
            ("darma.conf", b"dump.size = 64M\n"),
            ("readme", b"ignored"),
        ])
    }

    #[test]
    fn files_are_found_in_place() {
        let image = complete();
        let disk = RamDisk::parse(&image).unwrap();
        assert_eq!(disk.kernel(), b"KERNEL");
        assert_eq!(disk.initrd(), b"INITRD!");
        assert_eq!(disk.command_line(), b"console=ttyS0");
        assert_eq!(disk.config(), b"dump.size = 64M\n");
        assert_eq!(disk.checksums(), None);
        assert!(image.as_ptr_range().contains(&disk.kernel().as_ptr()));
    }

    #[test]
    fn something_else_is_called_no_cpio() {
        for junk in [&b""[..], b"\x1f\x8b\x08 a gzip file", &[0; 4096]] {
            assert_eq!(RamDisk::parse(junk), Err(RamDiskError::NotCpio));
        }
    }

    #[test]
    fn an_image_cut_anywhere_is_refused() {
        let image = complete();
        let end_mark_name_end = image.len() - (image.len() - HEADER_SIZE - END_MARK.len() - 1) % 4;
        for cut in 1..end_mark_name_end - 4 {
            let error = RamDisk::parse(&image[..cut]).unwrap_err();
            assert!(
                matches!(error, RamDiskError::Truncated { .. }),
                "{cut}: {error}"
            );
        }
    }

    #[test]
    fn a_cut_names_the_file_it_hit() {
        let image = complete();
        let inside_kernel = HEADER_SIZE + "kernel\0".len() + 3 + 2;
        let error = RamDisk::parse(&image[..inside_kernel]).unwrap_err();
        assert!(
            matches!(error, RamDiskError::Truncated { file: "kernel", .. }),
            "{error}"
        );
    }

    #[test]
    fn a_missing_or_empty_kernel_is_named() {
        let missing = Err(RamDiskError::Missing(ImageFile::Kernel));
        assert_eq!(
            RamDisk::parse(&archive(&[("initrd", b"x"), ("cmdline", b"")])),
            missing
        );
        assert_eq!(
            RamDisk::parse(&archive(&[("kernel", b""), ("initrd", b"x")])),
            missing
        );
    }

    #[test]
    fn damaged_headers_are_refused() {
        let mut bad_hex = complete();
        bad_hex[FIELDS_OFFSET + FILE_SIZE_FIELD * 8] = b'x';
        assert_eq!(
            RamDisk::parse(&bad_hex),
            Err(RamDiskError::BadHexField { offset: 54 })
        );
        let mut bad_name = complete();
        bad_name[HEADER_SIZE] = 0xff;
        assert_eq!(
            RamDisk::parse(&bad_name),
            Err(RamDiskError::BadName { offset: 110 })
        );
        let twice = archive(&[("kernel", b"1"), ("./kernel", b"2")]);
        assert_eq!(
            RamDisk::parse(&twice),
            Err(RamDiskError::Duplicate(ImageFile::Kernel))
        );
    }

    #[test]
    fn an_error_is_one_line_whatever_a_file_is_called() {
        let mut image = archive(&[("two\nlines\x1b[2J", b"data")]);
        image.truncate(HEADER_SIZE + 14 + 2);
        let text = format!("{}", RamDisk::parse(&image).unwrap_err());
        assert!(
            text.contains("truncated in two\\nlines\\u{1b}[2J at"),
            "{text}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(bytes: Vec<u8>, at: usize, value: u8) {
            let _ = RamDisk::parse(&bytes);
            let mut damaged = complete();
            let at = at % damaged.len();
            damaged[at] = value;
            let _ = RamDisk::parse(&damaged).map_err(|error| format!("{error}"));
        }
    }
}
