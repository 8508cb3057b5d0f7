//! Reads the RAM-disk image: a newc cpio archive that holds all that the GPOS is loaded from.
//!
//! newc, because ordinary tools make and list it (`cpio -o -H newc`) and because it can be read in
//! place: a file is a slice of the archive, nothing is copied or allocated. The image comes from
//! whoever set the machine up, and may be cut short by whatever carried it here, so every length in
//! it is checked and the archive must reach its end mark.
//!
//! An image holds one system, or two: the one in use, and below `rescue/` one for when the first no
//! longer comes up. A rescue system is there whole or not at all: half of one would be noticed in the
//! moment when it is needed.

mod archive;

use core::fmt;

use archive::Cursor;

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
    /// `rescue/kernel`: the bzImage of the rescue system.
    RescueKernel,
    /// `rescue/initrd`: its initial RAM file system.
    RescueInitrd,
    /// `rescue/cmdline`: its command line.
    RescueCommandLine,
}

/// Which of an image's systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one in use.
    First,
    /// The one for when the first does not come up.
    Rescue,
}

impl Role {
    /// The files that it is made of, in the order in which the sums are kept.
    pub const fn files(self) -> [ImageFile; 3] {
        match self {
            Self::First => [ImageFile::Kernel, ImageFile::Initrd, ImageFile::CommandLine],
            Self::Rescue => [
                ImageFile::RescueKernel,
                ImageFile::RescueInitrd,
                ImageFile::RescueCommandLine,
            ],
        }
    }
}

/// What a kernel is started from: slices of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System<'a> {
    /// The bzImage.
    pub kernel: &'a [u8],
    /// The initial RAM file system.
    pub initrd: &'a [u8],
    command_line: &'a [u8],
}

impl<'a> System<'a> {
    /// The kernel's command line, without the line end that editors add and without a NUL.
    pub fn command_line(&self) -> &'a [u8] {
        let mut line = self.command_line;
        while let [rest @ .., b'\n' | b'\r' | b' ' | 0] = line {
            line = rest;
        }
        line
    }
}

impl ImageFile {
    /// The files that a sum protects, in the order in which the sums are kept.
    pub const SUMMED: [Self; 7] = [
        Self::Kernel,
        Self::Initrd,
        Self::CommandLine,
        Self::Config,
        Self::RescueKernel,
        Self::RescueInitrd,
        Self::RescueCommandLine,
    ];

    /// The file's name inside the archive.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::CommandLine => "cmdline",
            Self::Config => "darma.conf",
            Self::Checksums => "checksums",
            Self::RescueKernel => "rescue/kernel",
            Self::RescueInitrd => "rescue/initrd",
            Self::RescueCommandLine => "rescue/cmdline",
        }
    }
}

/// A parsed RAM-disk image: slices of the archive it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamDisk<'a> {
    first: System<'a>,
    rescue: Option<System<'a>>,
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

impl<'a> RamDisk<'a> {
    /// Reads the archive up to its end mark and finds the files that Darma uses.
    ///
    /// # Errors
    /// The first thing found wrong; see [`RamDiskError`].
    pub fn parse(image: &'a [u8]) -> Result<Self, RamDiskError<'a>> {
        let mut found = Found([None; FILES.len()]);
        let mut cursor = Cursor::new(image);
        while let Some((name, data)) = cursor.next_file()? {
            let Some((file, slot)) = found.slot(name) else {
                continue;
            };
            if slot.replace(data).is_some() {
                return Err(RamDiskError::Duplicate(file));
            }
        }
        let has_rescue = Role::Rescue
            .files()
            .iter()
            .any(|file| found.get(*file).is_some());
        Ok(Self {
            first: found.system(Role::First)?,
            rescue: match has_rescue {
                true => Some(found.system(Role::Rescue)?),
                false => None,
            },
            config: found.get(ImageFile::Config),
            checksums: found.get(ImageFile::Checksums),
        })
    }

    /// One of the systems, if the image has it. It always has the first.
    pub const fn system(&self, role: Role) -> Option<System<'a>> {
        match role {
            Role::First => Some(self.first),
            Role::Rescue => self.rescue,
        }
    }

    /// The system in use.
    pub const fn first(&self) -> System<'a> {
        self.first
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
    pub fn file(&self, file: ImageFile) -> Option<&'a [u8]> {
        match file {
            ImageFile::Kernel => Some(self.first.kernel),
            ImageFile::Initrd => Some(self.first.initrd),
            ImageFile::CommandLine => Some(self.first.command_line),
            ImageFile::Config => self.config,
            ImageFile::Checksums => self.checksums,
            ImageFile::RescueKernel => self.rescue.map(|system| system.kernel),
            ImageFile::RescueInitrd => self.rescue.map(|system| system.initrd),
            ImageFile::RescueCommandLine => self.rescue.map(|system| system.command_line),
        }
    }
}

/// Every file that means something.
const FILES: [ImageFile; 8] = [
    ImageFile::Kernel,
    ImageFile::Initrd,
    ImageFile::CommandLine,
    ImageFile::Config,
    ImageFile::Checksums,
    ImageFile::RescueKernel,
    ImageFile::RescueInitrd,
    ImageFile::RescueCommandLine,
];

/// What was found so far, in the order of [`FILES`].
struct Found<'a>([Option<&'a [u8]>; FILES.len()]);

impl<'a> Found<'a> {
    /// The file that `name` means and where it is noted. Tools archive `./kernel` as well as
    /// `kernel`.
    fn slot(&mut self, name: &str) -> Option<(ImageFile, &mut Option<&'a [u8]>)> {
        let name = name.strip_prefix("./").unwrap_or(name);
        FILES
            .into_iter()
            .zip(&mut self.0)
            .find(|(file, _)| file.name() == name)
    }

    fn get(&self, wanted: ImageFile) -> Option<&'a [u8]> {
        let mut slots = FILES.iter().zip(self.0);
        slots.find(|(file, _)| **file == wanted)?.1
    }

    fn system(&self, role: Role) -> Result<System<'a>, RamDiskError<'a>> {
        let [kernel, initrd, command_line] = role.files();
        let filled = |file| {
            self.get(file)
                .filter(|data| !data.is_empty())
                .ok_or(RamDiskError::Missing(file))
        };
        Ok(System {
            kernel: filled(kernel)?,
            initrd: filled(initrd)?,
            // An empty command line is a legal one; only its absence is a mistake.
            command_line: self
                .get(command_line)
                .ok_or(RamDiskError::Missing(command_line))?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::archive::{END_MARK, FIELDS_OFFSET, FILE_SIZE_FIELD, HEADER_SIZE, NAME_SIZE_FIELD};
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
        let first = disk.first();
        assert_eq!(first.kernel, b"KERNEL");
        assert_eq!(first.initrd, b"INITRD!");
        assert_eq!(first.command_line(), b"console=ttyS0");
        assert_eq!(disk.system(Role::Rescue), None);
        assert_eq!(disk.config(), b"dump.size = 64M\n");
        assert_eq!(disk.checksums(), None);
        assert!(image.as_ptr_range().contains(&first.kernel.as_ptr()));
    }

    #[test]
    fn a_rescue_system_is_there_whole_or_not_at_all() {
        let sound = [
            ("kernel", &b"K"[..]),
            ("initrd", b"I"),
            ("cmdline", b""),
            ("rescue", b""),
            ("rescue/kernel", b"RK"),
            ("./rescue/initrd", b"RI"),
            ("rescue/cmdline", b"single\n"),
        ];
        let image = archive(&sound);
        let rescue = RamDisk::parse(&image).unwrap().system(Role::Rescue);
        let rescue = rescue.expect("all three files are there");
        assert_eq!((rescue.kernel, rescue.initrd), (&b"RK"[..], &b"RI"[..]));
        assert_eq!(rescue.command_line(), b"single");
        for (missing, file) in Role::Rescue.files().into_iter().enumerate() {
            let mut half = sound.to_vec();
            half.remove(4 + missing);
            let half = archive(&half);
            assert_eq!(RamDisk::parse(&half), Err(RamDiskError::Missing(file)));
        }
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
