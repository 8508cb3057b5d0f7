//! Checks a Linux kernel image before the machine is started, so that a wrong file is named here.
//!
//! Fields of the setup header: Linux, Documentation/arch/x86/boot.rst. The nanokernel checks again
//! with its own parser; this one exists to speak early.

use anyhow::{Result, bail, ensure};

/// What the setup header says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupHeader {
    /// Boot protocol version, major byte first.
    pub version: u16,
    /// The longest command line in bytes, without its terminator.
    pub command_line_limit: u32,
    /// Memory that the kernel needs to unpack itself, in bytes.
    pub init_size: u32,
}

const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const XLOADFLAGS: usize = 0x236;
const COMMAND_LINE_SIZE: usize = 0x238;
const INIT_SIZE: usize = 0x260;
/// `XLF_KERNEL_64`: there is an entry point at 0x200 for 64-bit mode.
const ENTRY_64: u16 = 1;

/// Reads the setup header.
///
/// # Errors
/// Not a bzImage, too old a boot protocol, or no 64-bit entry point; the message names the remedy.
pub fn parse(image: &[u8]) -> Result<SetupHeader> {
    if u16_at(image, BOOT_FLAG) != Some(0xaa55) || image.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
        bail!(
            "it is no bzImage (no boot header): give the distribution's vmlinuz, not an ELF vmlinux or an archive"
        );
    }
    let version = u16_at(image, VERSION).unwrap_or(0);
    ensure!(
        version >= 0x020c,
        "its boot protocol is {}.{:02}, and 2.12 is needed: take a kernel of Linux 3.8 or later",
        version >> 8,
        version & 0xff
    );
    let flags = u16_at(image, XLOADFLAGS).unwrap_or(0);
    ensure!(
        flags & ENTRY_64 != 0,
        "it has no 64-bit entry point: take a kernel built for x86_64 (amd64)"
    );
    Ok(SetupHeader {
        version,
        command_line_limit: u32_at(image, COMMAND_LINE_SIZE).unwrap_or(0),
        init_size: u32_at(image, INIT_SIZE).unwrap_or(0),
    })
}

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    image
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_le_bytes)
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    image
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::parse;
    use proptest::prelude::*;

    /// The smallest image that passes: header only.
    pub(crate) fn header(version: u16, flags: u16, command_line: u32) -> Vec<u8> {
        let mut image = vec![0_u8; 0x270];
        image[0x1fe..0x200].copy_from_slice(&0xaa55_u16.to_le_bytes());
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&version.to_le_bytes());
        image[0x236..0x238].copy_from_slice(&flags.to_le_bytes());
        image[0x238..0x23c].copy_from_slice(&command_line.to_le_bytes());
        image
    }

    fn refusal(image: &[u8]) -> String {
        parse(image).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_64_bit_kernel_is_accepted() {
        assert_eq!(
            parse(&header(0x20f, 1, 2047))
                .expect("sound")
                .command_line_limit,
            2047
        );
    }

    #[test]
    fn each_refusal_names_the_remedy() {
        assert!(refusal(b"\x7fELF").contains("vmlinuz"));
        assert!(refusal(&header(0x20a, 1, 255)).contains("2.10"));
        assert!(refusal(&header(0x20f, 0, 2047)).contains("x86_64"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..0x280)) {
            let _ = parse(&bytes);
        }
    }
}
