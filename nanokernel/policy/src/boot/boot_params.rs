//! Fills boot_params, the page by which a boot loader tells a Linux kernel about its machine.
//!
//! The page starts as zeroes: what is not filled in is absent, EFI, an APM BIOS, drives and a
//! previous boot stage among it. The screen is left absent as well: after a crash the display
//! adapter is in whatever mode the dead kernel chose, so text mode cannot be promised; the kernel
//! then starts with its dummy console and a display driver of its own takes over.
//!
//! Source: Linux `Documentation/x86/zero-page.rst` and `boot.rst`.

use super::bzimage::SETUP_HEADER_OFFSET;
use super::e820::{Entry, MAX_ENTRIES};
use super::span::Span;
use crate::fields::{high32, low32, put};

/// The page's size in bytes.
pub const SIZE: usize = 4096;

const ACPI_RSDP_ADDRESS: usize = 0x070;
const EXT_RAMDISK_IMAGE: usize = 0x0c0;
const EXT_RAMDISK_SIZE: usize = 0x0c4;
const EXT_CMD_LINE_PTR: usize = 0x0c8;
const E820_ENTRIES: usize = 0x1e8;
const VIDEO_MODE: usize = 0x1fa;
const TYPE_OF_LOADER: usize = 0x210;
const CODE32_START: usize = 0x214;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const HEAP_END: usize = 0x224;
const CMD_LINE_PTR: usize = 0x228;
const HARDWARE_SUBARCH: usize = 0x23c;
const SETUP_DATA: usize = 0x250;
const E820_TABLE: usize = 0x2d0;
const E820_ENTRY_SIZE: usize = 20;

/// "Not assigned": boot.rst asks loaders without a number of their own for it.
const LOADER_UNDEFINED: u8 = 0xff;
/// The protected-mode part lies high. No other flag: all of them speak of real mode or of quietness,
/// and one is the kernel's own (KASLR).
const LOADED_HIGH: u8 = 1;
/// "normal": no mode is asked for.
const NORMAL_VIDEO_MODE: u16 = 0xffff;

/// What a kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct BootParams<'a> {
    /// The kernel file's set-up header, from offset 0x1f1 of the file on.
    pub setup_header: &'a [u8],
    /// Where the protected-mode kernel lies.
    pub kernel: u64,
    /// Where the command line, closed by NUL, lies.
    pub command_line: u64,
    /// Where the initrd lies, with its exact size.
    pub initrd: Span,
    /// Where the RSDP lies, or 0 for none.
    pub acpi_rsdp: u64,
    /// The memory map.
    pub e820: &'a [Entry],
}

impl BootParams<'_> {
    /// Writes the whole page. `None` if `page` has fewer than [`SIZE`] bytes or a part does not fit;
    /// `page` is then unfit for use.
    #[must_use]
    pub fn write(&self, page: &mut [u8]) -> Option<()> {
        let page = page.get_mut(..SIZE)?;
        page.fill(0);
        put(page, SETUP_HEADER_OFFSET, self.setup_header)?;

        put(page, VIDEO_MODE, &NORMAL_VIDEO_MODE.to_le_bytes())?;
        put(page, TYPE_OF_LOADER, &[LOADER_UNDEFINED, LOADED_HIGH])?;
        put(
            page,
            CODE32_START,
            &u32::try_from(self.kernel).ok()?.to_le_bytes(),
        )?;
        put(page, HEAP_END, &[0; 4])?;
        put(page, HARDWARE_SUBARCH, &[0; 12])?;
        put(page, SETUP_DATA, &[0; 8])?;

        let halves = |page: &mut [u8], low: usize, high: usize, value: u64| {
            put(page, low, &low32(value).to_le_bytes())?;
            put(page, high, &high32(value).to_le_bytes())
        };
        halves(page, RAMDISK_IMAGE, EXT_RAMDISK_IMAGE, self.initrd.base())?;
        halves(page, RAMDISK_SIZE, EXT_RAMDISK_SIZE, self.initrd.size())?;
        halves(page, CMD_LINE_PTR, EXT_CMD_LINE_PTR, self.command_line)?;
        put(page, ACPI_RSDP_ADDRESS, &self.acpi_rsdp.to_le_bytes())?;

        let count = u8::try_from(self.e820.len())
            .ok()
            .filter(|&n| usize::from(n) <= MAX_ENTRIES)?;
        put(page, E820_ENTRIES, &[count])?;
        for (index, entry) in self.e820.iter().enumerate() {
            let at = E820_TABLE + index * E820_ENTRY_SIZE;
            put(page, at, &entry.span.base().to_le_bytes())?;
            put(page, at + 8, &entry.span.size().to_le_bytes())?;
            put(page, at + 16, &entry.kind.to_le_bytes())?;
        }
        Some(())
    }
}

const _: () = assert!(E820_TABLE + MAX_ENTRIES * E820_ENTRY_SIZE == 0xcd0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::bzimage::{BzImage, tests::bzimage};
    use crate::boot::e820::{RAM, RESERVED};
    use crate::fields::{u16_at, u32_at, u64_at};

    #[test]
    fn the_page_says_what_the_kernel_needs() {
        let file = bzimage(64);
        let entry = |base, size, kind| Entry {
            span: Span::new(base, size).unwrap(),
            kind,
        };
        let params = BootParams {
            setup_header: BzImage::parse(&file).unwrap().setup_header,
            kernel: 0x100_0000,
            command_line: 0x1_1000,
            initrd: Span::new(0x1_2345_6000, 0x789).unwrap(),
            acpi_rsdp: 0x7fe_0000,
            e820: &[entry(0, 0x9_fc00, RAM), entry(0x9_fc00, 0x400, RESERVED)],
        };
        let mut page = [0xee; SIZE];
        params.write(&mut page).unwrap();
        assert_eq!(page[0x202..0x206], *b"HdrS");
        assert_eq!(page[0x1f1], 1, "the set-up header is the kernel's");
        assert_eq!((page[TYPE_OF_LOADER], page[0x211]), (0xff, 1));
        assert_eq!(
            (u32_at(&page, 0x218), u32_at(&page, 0x0c0)),
            (Some(0x2345_6000), Some(1))
        );
        assert_eq!(
            (u32_at(&page, 0x21c), u32_at(&page, 0x0c4)),
            (Some(0x789), Some(0))
        );
        assert_eq!(u32_at(&page, 0x228), Some(0x1_1000));
        assert_eq!(u64_at(&page, 0x070), Some(0x7fe_0000));
        assert_eq!(page[E820_ENTRIES], 2);
        assert_eq!(u64_at(&page, 0x2d0 + 20), Some(0x9_fc00));
        assert_eq!(u32_at(&page, 0x2d0 + 36), Some(RESERVED));
        assert_eq!(u16_at(&page, 0x1fa), Some(0xffff));
        assert_eq!(
            page[0x1ef], 0,
            "the sentinel says that the page was cleared"
        );
        assert_eq!(page[..0x40], [0; 0x40], "no screen");
        assert_eq!(params.write(&mut [0; 4095]), None);
        assert_eq!(
            BootParams {
                kernel: 1 << 32,
                ..params
            }
            .write(&mut page),
            None
        );
        let many = [entry(0, 1, RAM); MAX_ENTRIES + 1];
        assert_eq!(
            BootParams {
                e820: &many,
                ..params
            }
            .write(&mut page),
            None
        );
    }
}
