//! The sums that every reload is checked against.
//!
//! CRC-32C, because the processor has an instruction for it (SSE4.2 `crc32`, on general registers):
//! 64 MiB are verified at each reload, between a crash and the next boot. The sums detect damage, a
//! cut or mixed-up image or a stray write; they are no signature. The software version here is for
//! hosts and for processors without the instruction; the caller passes whichever it has.
//!
//! The sums are kept by value in the nanokernel's own memory, so a later change of the image, its
//! manifest included, is noticed. An image without a manifest is summed once when the machine starts.
//!
//! Manifest: one line `<8 hexadecimal digits>  <name>` per file, as `rhash --crc32c` and the like
//! print it.

use core::fmt;

use super::ramdisk::{ImageFile, RamDisk, Role};

/// The expected CRC-32C of each summed file of a RAM-disk image; `None` where it has no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// In the order of [`ImageFile::SUMMED`].
    sums: [Option<u32>; ImageFile::SUMMED.len()],
}

/// Why an image does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumError {
    /// A line of the manifest is not `<8 hexadecimal digits>  <name>`. Lines count from 1.
    BadLine(u32),
    /// The manifest names a file twice. Lines count from 1.
    Duplicate(ImageFile, u32),
    /// The image has a file that the manifest does not name.
    Unlisted(ImageFile),
    /// The manifest names a file that the image does not have.
    Absent(ImageFile),
    /// A file's bytes do not have the expected sum.
    Mismatch {
        /// The file.
        file: ImageFile,
        /// The sum that it should have.
        expected: u32,
        /// The sum that it has.
        found: u32,
    },
}

impl fmt::Display for ChecksumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadLine(line) => write!(
                f,
                "checksums, line {line}: not '<8 hexadecimal digits>  <name>': make the image again with `cargo xtask image`"
            ),
            Self::Duplicate(file, line) => {
                write!(
                    f,
                    "checksums, line {line}: '{}' is named twice: keep one line",
                    file.name()
                )
            }
            Self::Unlisted(file) => write!(
                f,
                "checksums: no line for '{}': make the image again with `cargo xtask image`",
                file.name()
            ),
            Self::Absent(file) => write!(
                f,
                "checksums: '{}' is named but the image does not have it: make the image again",
                file.name()
            ),
            Self::Mismatch {
                file,
                expected,
                found,
            } => write!(
                f,
                "RAM-disk image: '{}' is corrupted: CRC-32C {found:08x}, expected {expected:08x}: copy the image again or make it again",
                file.name()
            ),
        }
    }
}

impl core::error::Error for ChecksumError {}

impl Checksums {
    /// Reads a manifest. Empty lines are skipped, as are files that Darma does not use.
    ///
    /// # Errors
    /// A line of another form, or a file named twice.
    pub fn parse(manifest: &[u8]) -> Result<Self, ChecksumError> {
        let mut sums = [None; ImageFile::SUMMED.len()];
        for (line, number) in manifest.split(|&byte| byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            // Bytes, not text: the reader of a staged image stays when the start is over.
            let bad = ChecksumError::BadLine(number);
            let (digits, name) = line.split_at_checked(8).ok_or(bad)?;
            if !name.first().is_some_and(u8::is_ascii_whitespace) {
                return Err(bad);
            }
            let sum = digits.iter().try_fold(0u32, |sum, &digit| {
                let digit = char::from(digit).to_digit(16).ok_or(bad)?;
                Ok(sum << 4 | digit)
            })?;
            let name = name.trim_ascii_start();
            let slots = ImageFile::SUMMED.iter().zip(sums.iter_mut());
            for (&file, slot) in slots.filter(|(file, _)| file.name().as_bytes() == name) {
                if slot.replace(sum).is_some() {
                    return Err(ChecksumError::Duplicate(file, number));
                }
            }
        }
        Ok(Self { sums })
    }

    /// Sums the image as it is now, as the reference for later reloads.
    pub fn reference(disk: &RamDisk<'_>, mut crc32c: impl FnMut(&[u8]) -> u32) -> Self {
        Self {
            sums: ImageFile::SUMMED.map(|file| disk.file(file).map(&mut crc32c)),
        }
    }

    /// Checks every summed file of `disk`, with `crc32c` as the sum.
    ///
    /// # Errors
    /// The first file that is damaged, missing or not listed.
    pub fn verify(
        &self,
        disk: &RamDisk<'_>,
        crc32c: impl FnMut(&[u8]) -> u32,
    ) -> Result<(), ChecksumError> {
        self.verify_files(disk, &ImageFile::SUMMED, crc32c)
    }

    /// Checks the files of one system only: a reload need not wait for the sums of the other.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_system(
        &self,
        disk: &RamDisk<'_>,
        role: Role,
        crc32c: impl FnMut(&[u8]) -> u32,
    ) -> Result<(), ChecksumError> {
        self.verify_files(disk, &role.files(), crc32c)
    }

    fn verify_files(
        &self,
        disk: &RamDisk<'_>,
        files: &[ImageFile],
        mut crc32c: impl FnMut(&[u8]) -> u32,
    ) -> Result<(), ChecksumError> {
        let summed = ImageFile::SUMMED.into_iter().zip(self.sums);
        for (file, expected) in summed.filter(|(file, _)| files.contains(file)) {
            match (disk.file(file), expected) {
                (None, None) => {}
                (Some(_), None) => return Err(ChecksumError::Unlisted(file)),
                (None, Some(_)) => return Err(ChecksumError::Absent(file)),
                (Some(data), Some(expected)) => {
                    let found = crc32c(data);
                    if found != expected {
                        return Err(ChecksumError::Mismatch {
                            file,
                            expected,
                            found,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

/// CRC-32C (Castagnoli) of `data` in software: initial value and final exclusive-or of all ones.
pub fn crc32c(data: &[u8]) -> u32 {
    !crc32c_continue(!0, data)
}

/// Feeds `data` into the running remainder `state`, as the processor's `crc32` instruction does.
pub fn crc32c_continue(state: u32, data: &[u8]) -> u32 {
    data.iter().fold(state, |state, &byte| {
        let [low, ..] = state.to_le_bytes();
        // The index is a byte and the table has 256 entries, so `get` always finds one.
        TABLE
            .get(usize::from(low ^ byte))
            .copied()
            .unwrap_or_default()
            ^ (state >> 8)
    })
}

/// One byte at a time: 1 KiB of table. Slicing by 8 would be faster and 8 KiB, for a path that only
/// hosts and old processors take.
const TABLE: [u32; 256] = {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0u32; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let mut remainder = byte;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1
                ^ if remainder & 1 == 1 {
                    REVERSED_POLYNOMIAL
                } else {
                    0
                };
            bit += 1;
        }
        table[byte as usize] = remainder;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::boot::ramdisk::tests::archive;
    use std::{format, vec::Vec};

    const FILES: [(&str, &[u8]); 3] = [
        ("kernel", b"123456789"),
        ("initrd", b"rd"),
        ("cmdline", b"quiet\n"),
    ];

    fn manifest() -> std::string::String {
        FILES
            .iter()
            .map(|(name, data)| format!("{:08x}  {name}\n", crc32c(data)))
            .collect()
    }

    #[test]
    fn the_sum_is_castagnolis() {
        // The check value of the CRC catalogue, and RFC 3720 B.4's 32 bytes of zeroes.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(
            !crc32c_continue(crc32c_continue(!0, b"12345"), b"6789"),
            0xe306_9283
        );
    }

    #[test]
    fn a_whole_image_passes_by_manifest_and_by_reference() {
        let image = archive(&FILES);
        let disk = RamDisk::parse(&image).unwrap();
        let listed = Checksums::parse(manifest().as_bytes()).unwrap();
        assert_eq!(listed.verify(&disk, crc32c), Ok(()));
        assert_eq!(listed, Checksums::reference(&disk, crc32c));
    }

    #[test]
    fn one_flipped_bit_names_the_file_and_both_sums() {
        let sums = Checksums::parse(manifest().as_bytes()).unwrap();
        let damaged = archive(&[FILES[0], ("initrd", b"re"), FILES[2]]);
        let error = sums
            .verify(&RamDisk::parse(&damaged).unwrap(), crc32c)
            .unwrap_err();
        let (expected, found) = (crc32c(b"rd"), crc32c(b"re"));
        assert_eq!(
            error,
            ChecksumError::Mismatch {
                file: ImageFile::Initrd,
                expected,
                found
            }
        );
        let text = format!("{error}");
        assert!(
            text.contains("'initrd'") && text.contains(&format!("{expected:08x}")),
            "{text}"
        );
    }

    #[test]
    fn an_unlisted_and_an_absent_file_are_refused() {
        let sums = Checksums::parse(manifest().as_bytes()).unwrap();
        let more = archive(&[FILES[0], FILES[1], FILES[2], ("darma.conf", b"")]);
        let error = sums.verify(&RamDisk::parse(&more).unwrap(), crc32c);
        assert_eq!(error, Err(ChecksumError::Unlisted(ImageFile::Config)));
        let sums = Checksums::reference(&RamDisk::parse(&more).unwrap(), crc32c);
        let less = archive(&FILES);
        let error = sums.verify(&RamDisk::parse(&less).unwrap(), crc32c);
        assert_eq!(error, Err(ChecksumError::Absent(ImageFile::Config)));
    }

    #[test]
    fn damage_to_one_system_does_not_stop_the_other() {
        let rescue: [(&str, &[u8]); 3] = [
            ("rescue/kernel", b"RK"),
            ("rescue/initrd", b"RI"),
            ("rescue/cmdline", b""),
        ];
        let mut files = [FILES, rescue].concat();
        let whole = archive(&files);
        let sums = Checksums::reference(&RamDisk::parse(&whole).unwrap(), crc32c);
        files[4].1 = b"RX";
        let damaged = archive(&files);
        let disk = RamDisk::parse(&damaged).unwrap();
        assert_eq!(sums.verify_system(&disk, Role::First, crc32c), Ok(()));
        let mismatch = sums.verify_system(&disk, Role::Rescue, crc32c).unwrap_err();
        let file = ImageFile::RescueInitrd;
        assert!(
            matches!(mismatch, ChecksumError::Mismatch { file: found, .. } if found == file),
            "{mismatch}"
        );
        assert_eq!(sums.verify(&disk, crc32c), Err(mismatch));
    }

    #[test]
    fn bad_lines_are_numbered() {
        for line in [
            "1234567  kernel",
            "+1234567  kernel",
            "123456789 kernel",
            "12345678",
            "\u{fffd}",
        ] {
            let text = format!("\n{line}\n");
            assert_eq!(
                Checksums::parse(text.as_bytes()),
                Err(ChecksumError::BadLine(2)),
                "{line}"
            );
        }
        let twice = format!("{}{}", manifest(), manifest());
        let error = Checksums::parse(twice.as_bytes());
        assert_eq!(error, Err(ChecksumError::Duplicate(ImageFile::Kernel, 4)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(bytes: Vec<u8>) {
            let _ = Checksums::parse(&bytes);
        }
    }
}
