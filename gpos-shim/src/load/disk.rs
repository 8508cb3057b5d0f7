//! Disk load on a raw block device, past the page cache, so that every block is a command to the
//! controller and an interrupt from it.
//!
//! Overwriting is also a check: each block carries its own number and a round, and is read back at
//! once. A lost or misdirected transfer ends the load with an error instead of going unnoticed.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::Until;
use crate::error::Error;

/// Bytes per command.
const BLOCK_BYTES: usize = 64 * 1024;

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskUse {
    /// Read it from start to end, again and again.
    Read,
    /// Write each block and read it back; its contents are lost.
    Overwrite,
}

/// Aligned as direct input and output asks for, whatever the device's sector size.
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

pub(super) fn run(device: &Path, what: DiskUse, until: Until) -> Result<u64, Error> {
    let (disk, blocks) = open(device, what)?;
    let mut block = Box::new(Block([0; BLOCK_BYTES]));
    let mut moved = 0;
    for round in 0_u64.. {
        for index in 0..blocks {
            if until.is_over() {
                return Ok(moved);
            }
            let offset = index * BLOCK_BYTES as u64;
            if what == DiskUse::Overwrite {
                let stamp = index ^ round << 32;
                fill(&mut block.0, stamp);
                disk.write_all_at(&block.0, offset)
                    .map_err(Error::file("write", device))?;
                block.0.fill(0);
                disk.read_exact_at(&mut block.0, offset)
                    .map_err(Error::file("read", device))?;
                if !holds(&block.0, stamp) {
                    return Err(Error::DiskMismatch { offset });
                }
                moved += 2;
            } else {
                disk.read_exact_at(&mut block.0, offset)
                    .map_err(Error::file("read", device))?;
                moved += 1;
            }
        }
    }
    Ok(moved)
}

fn open(device: &Path, what: DiskUse) -> Result<(File, u64), Error> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    let mut disk = OpenOptions::new()
        .read(true)
        .write(what == DiskUse::Overwrite)
        .custom_flags(flags)
        .open(device)
        .map_err(Error::file("open", device))?;
    // A block device's length is where its end is; metadata says zero.
    let bytes = disk
        .seek(SeekFrom::End(0))
        .map_err(Error::file("measure", device))?;
    let blocks = bytes / BLOCK_BYTES as u64;
    if blocks == 0 {
        return Err(Error::Usage(format!(
            "{} has {bytes} bytes, the load needs at least {BLOCK_BYTES}",
            device.display()
        )));
    }
    Ok((disk, blocks))
}

fn fill(block: &mut [u8], stamp: u64) {
    for word in block.chunks_exact_mut(8) {
        word.copy_from_slice(&stamp.to_le_bytes());
    }
}

fn holds(block: &[u8], stamp: u64) -> bool {
    block
        .chunks_exact(8)
        .all(|word| word == stamp.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_noticed() {
        let mut block = [0; 64];
        fill(&mut block, 0x0102_0304_0506_0708);
        assert!(holds(&block, 0x0102_0304_0506_0708));
        block[63] ^= 1;
        assert!(!holds(&block, 0x0102_0304_0506_0708));
    }
}
