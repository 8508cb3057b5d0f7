//! Reads the set-up header of a bzImage: where the kernel wants to be and how it may be entered.
//!
//! Darma enters a kernel at its 64-bit entry point and skips its real-mode part, so it asks for what
//! that takes: boot protocol 2.12, the 64-bit flag, a relocatable kernel. The file is the
//! distribution's, but may be anything that somebody named `kernel`.
//!
//! Source: Linux `Documentation/x86/boot.rst`, "The Real-Mode Kernel Header".

use core::fmt;

use crate::fields::{array_at, offset64, u8_at, u16_at, u32_at, u64_at};

/// A bzImage that can be entered in 64-bit mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BzImage<'a> {
    /// The set-up header as it stands in the file, from offset 0x1f1 on.
    pub setup_header: &'a [u8],
    /// The protected-mode kernel: what is loaded. Its 64-bit entry point is at [`ENTRY64_OFFSET`].
    pub payload: &'a [u8],
    /// The boot protocol's version, major in the high byte.
    pub version: u16,
    /// What the kernel's address must be a multiple of.
    pub alignment: u64,
    /// Where the kernel would like to be; below it it would move itself up at once.
    pub preferred_address: u64,
    /// Bytes that the kernel needs from its address on before it has read the memory map.
    pub init_size: u64,
    /// The longest command line in bytes, without its NUL.
    pub command_line_limit: u64,
    /// The highest address that a byte of the initrd may have.
    pub initrd_address_max: u64,
}

/// From the address of the payload to its 64-bit entry point.
pub const ENTRY64_OFFSET: u64 = 0x200;

/// Where the set-up header stands, in the file and in boot_params alike.
pub const SETUP_HEADER_OFFSET: usize = 0x1f1;

/// Why a kernel cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BzImageError {
    /// It has no "HdrS" signature or no boot sector mark.
    NotBzImage,
    /// It ends before the code that its header announces.
    Truncated {
        /// The size that the header announces, in bytes.
        announced: u64,
        /// The size of the file, in bytes.
        size: u64,
    },
    /// Its boot protocol is older than 2.12.
    OldProtocol(u16),
    /// It has no 64-bit entry point.
    No64BitEntry,
    /// It can only run at one address.
    NotRelocatable,
    /// Its header has an alignment or a size that makes no sense.
    BadHeader,
}

impl fmt::Display for BzImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotBzImage => f.write_str(
                "kernel: not a bzImage: take the distribution's vmlinuz, not vmlinux or an initrd",
            ),
            Self::Truncated { announced, size } => write!(
                f,
                "kernel: truncated: {size} bytes of {announced}: copy the file again"
            ),
            Self::OldProtocol(version) => write!(
                f,
                "kernel: boot protocol {}.{:02} is too old: take a kernel from 3.8 on (2.12)",
                version >> 8,
                version & 0xff
            ),
            Self::No64BitEntry => {
                f.write_str("kernel: no 64-bit entry point: take an x86_64 kernel")
            }
            Self::NotRelocatable => {
                f.write_str("kernel: not relocatable: build it with CONFIG_RELOCATABLE=y")
            }
            Self::BadHeader => f.write_str(
                "kernel: the set-up header's alignment or size makes no sense: copy the file again",
            ),
        }
    }
}

impl core::error::Error for BzImageError {}

const XLOADFLAGS_KERNEL_64: u16 = 1;
const SECTOR: usize = 512;

impl<'a> BzImage<'a> {
    /// Reads the header of the bzImage `file`.
    ///
    /// # Errors
    /// The first thing that keeps the kernel from being entered.
    pub fn parse(file: &'a [u8]) -> Result<Self, BzImageError> {
        // The header ends where the jump instruction at 0x200 leads (boot.rst, "jump").
        let header_end = 0x202 + usize::from(u8_at(file, 0x201).ok_or(BzImageError::NotBzImage)?);
        if array_at(file, 0x202) != Some(*b"HdrS") || u16_at(file, 0x1fe) != Some(0xaa55) {
            return Err(BzImageError::NotBzImage);
        }
        let bad = BzImageError::BadHeader;
        let version = u16_at(file, 0x206).ok_or(bad)?;
        if version < 0x20c {
            return Err(BzImageError::OldProtocol(version));
        }
        let field16 = |offset| u16_at(file, offset).ok_or(bad);
        let field32 = |offset| u32_at(file, offset).map(u64::from).ok_or(bad);
        if field16(0x236)? & XLOADFLAGS_KERNEL_64 == 0 {
            return Err(BzImageError::No64BitEntry);
        }
        if u8_at(file, 0x234) == Some(0) {
            return Err(BzImageError::NotRelocatable);
        }
        let setup_sectors = match u8_at(file, SETUP_HEADER_OFFSET) {
            // Zero means four, for kernels before there was a choice (boot.rst, "setup_sects").
            None | Some(0) => 4,
            Some(sectors) => usize::from(sectors),
        };
        let start = (setup_sectors + 1) * SECTOR;
        let announced = offset64(start) + field32(0x1f4)? * 16;
        let size = offset64(file.len());
        let payload = file.get(start..).unwrap_or_default();
        // The length is in paragraphs of 16 bytes, the last of which need not be whole.
        if payload.is_empty() || size + 15 < announced {
            return Err(BzImageError::Truncated { announced, size });
        }
        let alignment = field32(0x230)?;
        let init_size = field32(0x260)?.max(offset64(payload.len()));
        if !alignment.is_power_of_two() || alignment < 4096 {
            return Err(bad);
        }
        // Protocol 2.12 ends at 0x268, and boot_params has room up to 0x290.
        let header_end = Some(header_end)
            .filter(|&end| end >= 0x268)
            .ok_or(bad)?
            .min(0x290);
        Ok(Self {
            setup_header: file.get(SETUP_HEADER_OFFSET..header_end).ok_or(bad)?,
            payload,
            version,
            alignment,
            preferred_address: u64_at(file, 0x258).ok_or(bad)?,
            init_size,
            command_line_limit: field32(0x238)?,
            initrd_address_max: field32(0x22c)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use std::{format, vec, vec::Vec};

    pub(crate) const PREFERRED: u64 = 16 << 20;
    pub(crate) const INIT_SIZE: u32 = 32 << 20;

    /// A bzImage with one set-up sector and `payload_size` bytes of kernel.
    pub(crate) fn bzimage(payload_size: usize) -> Vec<u8> {
        let mut file = vec![0u8; 2 * SECTOR + payload_size];
        let paragraphs = u32::try_from(payload_size.div_ceil(16)).unwrap();
        for (offset, bytes) in [
            (0x1f1, &[1u8][..]),
            (0x1f4, &paragraphs.to_le_bytes()),
            (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]),
            (0x202, b"HdrS"),
            (0x206, &[0x0f, 0x02]),
            (0x22c, &0x7fff_ffffu32.to_le_bytes()),
            (0x230, &0x20_0000u32.to_le_bytes()),
            (0x234, &[1]),
            (0x236, &[0x3f, 0]),
            (0x238, &2047u32.to_le_bytes()),
            (0x258, &PREFERRED.to_le_bytes()),
            (0x260, &INIT_SIZE.to_le_bytes()),
        ] {
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    fn with(offset: usize, value: u8) -> Vec<u8> {
        let mut file = bzimage(64);
        file[offset] = value;
        file
    }

    #[test]
    fn a_bzimage_tells_where_it_wants_to_be() {
        let file = bzimage(100);
        let image = BzImage::parse(&file).unwrap();
        assert_eq!(image.payload.len(), 100);
        assert_eq!(
            (image.preferred_address, image.alignment),
            (PREFERRED, 2 << 20)
        );
        assert_eq!(
            (image.init_size, image.version),
            (u64::from(INIT_SIZE), 0x20f)
        );
        assert_eq!(
            (image.command_line_limit, image.initrd_address_max),
            (2047, 0x7fff_ffff)
        );
        assert_eq!(image.setup_header.len(), 0x202 + 0x6a - 0x1f1);
    }

    #[test]
    fn what_cannot_be_entered_is_refused_with_its_reason() {
        use BzImageError::*;
        for (file, error) in [
            (vec![], NotBzImage),
            (b"\x7fELF".repeat(200), NotBzImage),
            (with(0x202, b'h'), NotBzImage),
            (with(0x206, 0x0b), OldProtocol(0x20b)),
            (with(0x236, 0x3e), No64BitEntry),
            (with(0x234, 0), NotRelocatable),
            (with(0x231, 1), BadHeader),
            (with(0x232, 0), BadHeader),
            (with(0x201, 0x20), BadHeader),
        ] {
            assert_eq!(BzImage::parse(&file), Err(error));
        }
    }

    #[test]
    fn a_cut_kernel_is_called_truncated() {
        let file = bzimage(4096);
        assert!(
            BzImage::parse(&file[..file.len() - 15]).is_ok(),
            "the last paragraph may be short"
        );
        for cut in [0x268, 0x400, 0x401, file.len() - 16] {
            let error = BzImage::parse(&file[..cut]);
            assert!(
                matches!(
                    error,
                    Err(BzImageError::Truncated {
                        announced: 5120,
                        ..
                    })
                ),
                "{cut}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(at in 0x1f0usize..0x270, value: u8, length in 0usize..2048) {
            let mut file = bzimage(512);
            file[at] = value;
            file.truncate(length);
            let _ = BzImage::parse(&file).map_err(|error| format!("{error}"));
        }
    }
}
