//! Writes and lists archives in the `newc` format, the one that Linux's initramfs and our RAM-disk
//! image use (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Output is a function of the content alone: inode numbers count up from 1, times are zero, owner
//! is root. The same files always give the same bytes, which instruction-counted runs rely on.

use anyhow::{Context, Result, bail, ensure};

const MAGIC: &[u8; 6] = b"070701";
const HEADER: usize = 110;
const TRAILER: &str = "TRAILER!!!";

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    inode: u32,
}

/// What distinguishes one entry's header from another's.
struct Entry<'a> {
    name: &'a str,
    mode: u32,
    links: u32,
    device: (u32, u32),
    data: &'a [u8],
}

impl Writer {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; `name` has no leading slash.
    ///
    /// # Errors
    /// The name does not fit the format.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(&Entry {
            name,
            mode: DIRECTORY | 0o755,
            links: 2,
            device: (0, 0),
            data: &[],
        })
    }

    /// Adds a regular file with permission bits `mode`.
    ///
    /// # Errors
    /// Name or content does not fit the format (4 GiB).
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.entry(&Entry {
            name,
            mode: REGULAR | (mode & 0o7777),
            links: 1,
            device: (0, 0),
            data,
        })
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// The name does not fit the format.
    pub fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(&Entry {
            name,
            mode: SYMLINK | 0o777,
            links: 1,
            device: (0, 0),
            data: target.as_bytes(),
        })
    }

    /// Adds a character device node.
    ///
    /// # Errors
    /// The name does not fit the format.
    pub fn character_device(
        &mut self,
        name: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        let mode = CHARACTER_DEVICE | (mode & 0o7777);
        self.entry(&Entry {
            name,
            mode,
            links: 1,
            device: (major, minor),
            data: &[],
        })
    }

    /// Ends the archive and hands out its bytes.
    ///
    /// # Errors
    /// None in practice: the trailer's name fits.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.inode = u32::MAX; // The trailer's inode wraps to zero.
        self.entry(&Entry {
            name: TRAILER,
            mode: 0,
            links: 1,
            device: (0, 0),
            data: &[],
        })?;
        Ok(self.bytes)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<()> {
        ensure!(
            !entry.name.is_empty() && !entry.name.starts_with('/'),
            "archive name {:?} is not relative",
            entry.name
        );
        let size = u32::try_from(entry.data.len()).with_context(|| {
            format!(
                "{} is over 4 GiB: the archive format cannot hold it",
                entry.name
            )
        })?;
        let name_size = u32::try_from(entry.name.len() + 1).context("archive name too long")?;
        self.inode = self.inode.wrapping_add(1);
        self.bytes.extend_from_slice(MAGIC);
        let (major, minor) = entry.device;
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name, check.
        let fields = [
            self.inode,
            entry.mode,
            0,
            0,
            entry.links,
            0,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(entry.name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(entry.data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The regular files and links of an archive, in order: name and content.
///
/// # Errors
/// The bytes are no `newc` archive, or it is cut short.
pub fn list(archive: &[u8]) -> Result<Vec<(String, &[u8])>> {
    let mut entries = Vec::new();
    let mut at = 0_usize;
    loop {
        let header = slice(archive, at, HEADER)?;
        ensure!(
            header.starts_with(MAGIC),
            "no newc header at byte {at}: not a cpio archive in newc format"
        );
        let size = field(header, 6)?;
        let name_size = field(header, 11)?;
        let name_at = at.saturating_add(HEADER);
        let name = slice(archive, name_at, name_size)?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
        if name == TRAILER {
            return Ok(entries);
        }
        let data_at = name_at.saturating_add(name_size).next_multiple_of(4);
        let data = slice(archive, data_at, size)?;
        at = data_at.saturating_add(size).next_multiple_of(4);
        entries.push((name, data));
    }
}

fn slice(archive: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let Some(part) = at.checked_add(length).and_then(|end| archive.get(at..end)) else {
        bail!("the archive is cut short at byte {at}");
    };
    Ok(part)
}

/// The header's `index`th number: eight hexadecimal digits.
fn field(header: &[u8], index: usize) -> Result<usize> {
    let digits = header
        .get(6 + index * 8..14 + index * 8)
        .context("the archive is cut short")?;
    let text = std::str::from_utf8(digits).context("a header number is no text")?;
    usize::from_str_radix(text, 16).context("a header number is not hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::{Writer, list};
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.directory("bin").expect("fits");
        writer.file("bin/a", 0o755, b"content").expect("fits");
        writer.symlink("bin/b", "a").expect("fits");
        writer
            .character_device("dev/console", 0o600, 5, 1)
            .expect("fits");
        writer.finish().expect("fits")
    }

    #[test]
    fn what_is_written_is_listed_in_order() {
        let archive = sample();
        let names: Vec<_> = list(&archive)
            .expect("own output")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["bin", "bin/a", "bin/b", "dev/console"]);
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        assert_eq!(sample(), sample());
    }

    #[test]
    fn an_absolute_name_is_refused() {
        assert!(Writer::new().file("/bin/a", 0o644, b"").is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let archive = sample();
        // The trailer's own bytes end the archive; all cuts before its name are noticed.
        for length in 0..archive.len() - 16 {
            assert!(list(&archive[..length]).is_err(), "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = list(&bytes);
        }

        #[test]
        fn damaged_archives_never_panic(at in 0_usize..300, value in any::<u8>()) {
            let mut archive = sample();
            if let Some(byte) = archive.get_mut(at) { *byte = value; }
            let _ = list(&archive);
        }
    }
}
