//! The RAM-disk image: everything the nanokernel needs to start and restart the GPOS, in one boot
//! module, because QEMU's PVH path passes exactly one.
//!
//! A `newc` archive that ordinary tools list: `darma.conf` (`key = value` lines), `cmdline` (one
//! line), `kernel` (the bzImage as shipped), `initrd`, the same three below `rescue/` if there is a
//! rescue system, and last `checksums`, a line `<8 hex digits>  <name>` per file with its CRC-32C,
//! verified at each reload.
//!
//! What is written here is read back with the nanokernel's own parsers (`darma_policy::boot`), so that
//! whatever it would refuse is refused before the machine is started, in the same words.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use darma_policy::boot::bzimage::BzImage;
use darma_policy::boot::command_line::APPENDED;
use darma_policy::boot::config::Config;
use darma_policy::boot::ramdisk::RamDisk;

use crate::{cpio, paths};

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Settings for the nanokernel: written as `key = value`, in this order.
    pub configuration: Vec<(String, String)>,
    /// The GPOS's command line.
    pub command_line: String,
    /// The bzImage.
    pub kernel: Vec<u8>,
    /// The initial RAM file system.
    pub initrd: Vec<u8>,
    /// The rescue system, for when the first does not come up.
    pub rescue: Option<Rescue>,
}

/// A rescue system.
#[derive(Clone, Debug, Default)]
pub struct Rescue {
    /// Its command line.
    pub command_line: String,
    /// Its bzImage.
    pub kernel: Vec<u8>,
    /// Its initial RAM file system.
    pub initrd: Vec<u8>,
}

impl Parts {
    /// Reads kernel and initrd from their files.
    ///
    /// # Errors
    /// A file is unreadable; it is named.
    pub fn read(kernel: &Path, initrd: Option<&Path>, command_line: &str) -> Result<Self> {
        let read =
            |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        Ok(Self {
            configuration: Vec::new(),
            command_line: command_line.to_owned(),
            kernel: read(kernel).context("--kernel")?,
            initrd: match initrd {
                Some(file) => read(file).context("--initrd")?,
                // The nanokernel wants one; an archive of nothing is what the kernel takes for none.
                None => cpio::Writer::new().finish()?,
            },
            rescue: None,
        })
    }

    /// Adds a rescue system.
    #[must_use]
    pub fn with_rescue(mut self, rescue: Rescue) -> Self {
        self.rescue = Some(rescue);
        self
    }

    /// Adds one setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.configuration.push((key.to_owned(), value.to_string()));
        self
    }
}

/// Checks the parts and writes the archive's bytes.
///
/// # Errors
/// A part that the nanokernel would refuse: named here, with the remedy.
pub fn build(parts: &Parts) -> Result<Vec<u8>> {
    let line = checked_line(&parts.kernel, &parts.command_line)?;
    let rescue = match &parts.rescue {
        Some(rescue) => {
            let line = checked_line(&rescue.kernel, &rescue.command_line).context("rescue")?;
            Some((rescue, line))
        }
        None => None,
    };
    let mut configuration = String::new();
    for (key, value) in &parts.configuration {
        ensure!(
            !key.is_empty() && !key.contains(['=', '\n', '#', ' ']) && !value.contains('\n'),
            "configuration entry {key:?} = {value:?} is not one line of `key = value`"
        );
        writeln!(configuration, "{key} = {value}")?;
    }
    Config::parse(configuration.as_bytes()).map_err(|error| anyhow!("{error}"))?;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("darma.conf", configuration.as_bytes()),
        ("cmdline", line.as_bytes()),
        ("kernel", &parts.kernel),
        ("initrd", &parts.initrd),
    ];
    if let Some((rescue, line)) = &rescue {
        files.extend([
            ("rescue/cmdline", line.as_bytes()),
            ("rescue/kernel", &rescue.kernel),
            ("rescue/initrd", &rescue.initrd),
        ]);
    }
    let mut writer = cpio::Writer::new();
    let mut checksums = String::new();
    for (name, data) in files {
        writer.file(name, 0o644, data)?;
        writeln!(checksums, "{:08x}  {name}", crc32c::crc32c(data))?;
    }
    writer.file("checksums", 0o644, checksums.as_bytes())?;
    let image = writer.finish()?;
    RamDisk::parse(&image).map_err(|error| anyhow!("{error}"))?;
    Ok(image)
}

/// A command line as the image holds it, if it is one that `kernel` takes with what is appended.
fn checked_line(kernel: &[u8], line: &str) -> Result<String> {
    let header = BzImage::parse(kernel)?;
    ensure!(
        !line.contains(['\n', '\0']),
        "the kernel's command line must be one line without NUL"
    );
    // The nanokernel tells the kernel more at each start, and needs the room.
    let limit = usize::try_from(header.command_line_limit)?.saturating_sub(APPENDED);
    ensure!(
        line.len() <= limit,
        "the kernel's command line has {} bytes, and this kernel takes {limit} here: shorten --append",
        line.len()
    );
    Ok(format!("{line}\n"))
}

/// Builds the image and stores it in the cache as `<name>.img`.
///
/// # Errors
/// As [`build`]; or the file cannot be written.
pub fn store(parts: &Parts, name: &str) -> Result<PathBuf> {
    let folder = paths::cache().join("ramdisk");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.img"));
    fs::write(&file, build(parts)?).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Parts, Rescue, build};
    use crate::cpio;

    /// The smallest kernel that passes: one set-up sector and one of code.
    fn kernel(version: u16) -> Vec<u8> {
        let mut file = vec![0_u8; 1024 + 64];
        let fields: [(usize, &[u8]); 10] = [
            (0x1f1, &[1]),
            (0x1f4, &4_u32.to_le_bytes()),
            (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]),
            (0x202, b"HdrS"),
            (0x206, &version.to_le_bytes()),
            (0x230, &0x20_0000_u32.to_le_bytes()),
            (0x234, &[1]),
            (0x236, &[1, 0]),
            (0x238, &2047_u32.to_le_bytes()),
            (0x260, &0x10_0000_u32.to_le_bytes()),
        ];
        for (at, bytes) in fields {
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    fn parts(command_line: &str) -> Parts {
        Parts {
            configuration: Vec::new(),
            command_line: command_line.into(),
            kernel: kernel(0x20f),
            initrd: b"initrd".to_vec(),
            rescue: None,
        }
    }

    #[test]
    fn files_stand_in_the_agreed_order_with_their_checksums_last() {
        let image = build(&parts("console=ttyS0").with("dump.size", "64M")).expect("sound parts");
        let files = cpio::list(&image).expect("own output");
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["darma.conf", "cmdline", "kernel", "initrd", "checksums"]
        );
        assert_eq!(files[0].1, b"dump.size = 64M\n");
        assert_eq!(files[1].1, b"console=ttyS0\n");
        let checksums = String::from_utf8_lossy(files[4].1);
        assert!(checksums.contains(&format!("{:08x}  initrd\n", crc32c::crc32c(b"initrd"))));
    }

    #[test]
    fn a_rescue_system_is_checked_like_the_first_and_summed_with_it() {
        let rescue = Rescue {
            command_line: "single".into(),
            kernel: kernel(0x20f),
            initrd: b"rescue initrd".to_vec(),
        };
        let image = build(&parts("a").with_rescue(rescue.clone())).expect("sound parts");
        let files = cpio::list(&image).expect("own output");
        let (_, sums) = files.last().expect("the sums");
        let sum = format!("{:08x}  rescue/initrd\n", crc32c::crc32c(b"rescue initrd"));
        assert!(String::from_utf8_lossy(sums).contains(&sum));
        let old = Rescue {
            kernel: kernel(0x20a),
            ..rescue
        };
        let error = build(&parts("a").with_rescue(old)).expect_err("too old");
        assert!(format!("{error:#}").contains("2.10"), "{error:#}");
    }

    #[test]
    fn the_checksum_is_the_castagnoli_one() {
        // The check value of the catalogue of CRC algorithms (CRC-32/ISCSI).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_command_line_over_the_limit_is_refused_with_the_remedy() {
        let error = build(&parts(&"x".repeat(2000)))
            .expect_err("too long")
            .to_string();
        assert!(error.contains("--append"), "{error}");
    }

    #[test]
    fn a_command_line_of_two_lines_is_refused() {
        assert!(build(&parts("a\nb")).is_err());
    }

    #[test]
    fn a_configuration_entry_cannot_smuggle_in_another() {
        assert!(build(&parts("a").with("dump.size", "1M\nlog.level = debug")).is_err());
    }

    #[test]
    fn what_the_nanokernel_would_refuse_is_refused_here() {
        let misspelt = build(&parts("a").with("dump.sise", "64M")).expect_err("unknown key");
        assert!(misspelt.to_string().contains("dump.sise"), "{misspelt}");
        let mut old = parts("a");
        old.kernel = kernel(0x20a);
        assert!(
            build(&old)
                .expect_err("too old")
                .to_string()
                .contains("2.10")
        );
        let mut elf = parts("a");
        elf.kernel = b"\x7fELF".to_vec();
        assert!(
            build(&elf)
                .expect_err("no bzImage")
                .to_string()
                .contains("vmlinuz")
        );
    }
}
