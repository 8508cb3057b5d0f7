//! What cannot work stops the start with one line that names the thing and the remedy: the last line
//! on the debug console and on the serial port, and the process status says so.
//!
//! Where `cargo xtask` can know before, it refuses to make such an image, in the same words.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::qemu::Machine;
use xtask::ramdisk::{self, Parts};
use xtask::{cpio, kernels::Flavour, run, session};

use super::{CLOUD, Scenario};
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The exit value of a machine that cannot start; the process status is 2 * 16 + 1.
const CANNOT_START: u32 = 16;
const BEGINS: &str = "darma: cannot start: ";
const LIMIT: Duration = Duration::from_secs(60);

/// Something wrong with the machine or with what it is given.
struct BadInput {
    name: &'static str,
    claim: &'static str,
    /// Words of the line, all of which have to be in it: the thing, and the remedy.
    says: &'static [&'static str],
    /// Spoils the machine; the module is what it makes of sound parts.
    spoil: fn(&mut Machine, Parts) -> Result<Module>,
    /// Whether making such an image is refused before the machine is started.
    before: Before,
}

enum Module {
    None,
    Bytes(Vec<u8>),
    /// Made as `cargo xtask` makes it.
    Made(Parts),
    /// Made without the checks of `cargo xtask`.
    Forced(Parts),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Known only to the machine.
    Unknown,
    /// Refused, with the words of the line.
    Refused,
}

const ALL: &[BadInput] = &[
    BadInput {
        name: "no-module",
        claim: "a machine without RAM-disk image",
        says: &["no RAM-disk image", "-initrd"],
        spoil: |_, _| Ok(Module::None),
        before: Before::Unknown,
    },
    BadInput {
        name: "no-cpio",
        claim: "a module that is no cpio archive",
        says: &["not a newc cpio archive", "make it with"],
        spoil: |_, parts| Ok(Module::Bytes(parts.kernel)),
        before: Before::Unknown,
    },
    BadInput {
        name: "truncated-cpio",
        claim: "an archive that was cut",
        says: &["truncated in", "copy it whole"],
        spoil: |_, parts| {
            let mut image = ramdisk::build(&parts)?;
            image.truncate(image.len() / 2);
            Ok(Module::Bytes(image))
        },
        before: Before::Unknown,
    },
    BadInput {
        name: "no-bzimage",
        claim: "a kernel that is no bzImage",
        says: &["kernel: not a bzImage", "vmlinuz"],
        spoil: |_, mut parts| {
            parts.kernel = parts.initrd.clone();
            Ok(Module::Forced(parts))
        },
        before: Before::Refused,
    },
    BadInput {
        name: "no-64-bit-entry",
        claim: "a kernel without a 64-bit entry",
        says: &["kernel: no 64-bit entry point", "x86_64"],
        spoil: |_, mut parts| {
            // XLF_KERNEL_64, bit 0 of xloadflags (Linux boot protocol 2.12).
            let flags = parts.kernel.get_mut(0x236).context("a short kernel")?;
            *flags &= !1;
            Ok(Module::Forced(parts))
        },
        before: Before::Refused,
    },
    BadInput {
        name: "truncated-kernel",
        claim: "a kernel that was cut",
        says: &["kernel: truncated", "copy the file again"],
        spoil: |_, mut parts| {
            parts.kernel.truncate(parts.kernel.len() / 2);
            Ok(Module::Forced(parts))
        },
        before: Before::Refused,
    },
    BadInput {
        name: "large-initrd",
        claim: "an initial RAM file system that does not fit",
        says: &["initrd:", "do not fit", "more memory"],
        spoil: |machine, mut parts| {
            machine.memory_mib = 1024;
            parts.initrd.resize(300 << 20, 0);
            Ok(Module::Made(parts.with("gpos.memory", "256M")))
        },
        before: Before::Unknown,
    },
    BadInput {
        name: "corrupted",
        claim: "a file that does not match its checksum",
        says: &["'initrd' is corrupted", "expected", "copy the image again"],
        spoil: |_, parts| {
            let mut image = ramdisk::build(&parts)?;
            // Past the kernel, which is the first large file: in the middle of the initrd.
            let at = image.len() - parts.initrd.len() / 2;
            let byte = image.get_mut(at).context("a short image")?;
            *byte ^= 0x10;
            Ok(Module::Bytes(image))
        },
        before: Before::Unknown,
    },
    BadInput {
        name: "long-command-line",
        claim: "a command line over the kernel's limit",
        says: &["over the kernel's limit of 2047", "shorten"],
        spoil: |_, mut parts| {
            parts.command_line = "x".repeat(3000);
            Ok(Module::Forced(parts))
        },
        before: Before::Refused,
    },
    BadInput {
        name: "little-memory",
        claim: "a machine with too little memory",
        says: &["memory:", "MiB", "give the machine"],
        spoil: |machine, parts| {
            machine.memory_mib = 64;
            Ok(Module::Made(parts))
        },
        before: Before::Unknown,
    },
    BadInput {
        name: "no-svm",
        claim: "a processor without SVM",
        says: &["no SVM", "use an AMD processor"],
        spoil: |machine, parts| processor(machine, "max,-svm", parts),
        before: Before::Unknown,
    },
    BadInput {
        name: "no-nested-paging",
        claim: "SVM without nested paging",
        says: &["without nested paging", "+npt"],
        spoil: |machine, parts| processor(machine, "max,-npt", parts),
        before: Before::Unknown,
    },
    BadInput {
        name: "absent-function",
        claim: "a configuration that hides an absent PCI function",
        says: &["00:1d.5", "gpos.hide"],
        spoil: |_, parts| Ok(Module::Made(parts.with("gpos.hide", "00:1d.5"))),
        before: Before::Unknown,
    },
    BadInput {
        name: "unknown-key",
        claim: "a configuration with a key that nobody knows",
        says: &["darma.conf, line 1", "'dump.sise'", "use one of"],
        spoil: |_, parts| Ok(Module::Forced(parts.with("dump.sise", "64M"))),
        before: Before::Refused,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    ALL.iter()
        .map(|input| Scenario {
            name: format!("bad-input-{}", input.name),
            claim: format!("{} is refused in one clear line", input.claim),
            kernels: CLOUD,
            seconds: 2,
            run: Box::new(|lab| refuse(lab, input)),
        })
        .collect()
}

fn processor(machine: &mut Machine, model: &str, parts: Parts) -> Result<Module> {
    // The last -cpu counts.
    machine.extra.extend(["-cpu".into(), model.into()]);
    Ok(Module::Made(parts))
}

fn refuse(lab: &Laboratory, input: &BadInput) -> Result<()> {
    let files = lab.linux(Flavour::Cloud)?;
    let folder = session::folder(&format!("bad-input-{}", input.name))?;
    let mut machine = Machine::new(&lab.image, &folder);
    let parts = Parts::read(&files.kernel, Some(&files.initrd), "console=ttyS0")?;
    let image = match (input.spoil)(&mut machine, parts)? {
        Module::None => None,
        Module::Bytes(bytes) => Some(bytes),
        Module::Made(parts) => Some(ramdisk::build(&parts)?),
        Module::Forced(parts) => {
            refuse_before(input, &parts)?;
            Some(force(&parts)?)
        }
    };
    if let Some(image) = &image {
        let file = folder.join("module.img");
        std::fs::write(&file, image)?;
        machine.initrd = Some(file);
    }
    if input.name == "little-memory" {
        let bytes = u64::try_from(image.map_or(0, |image| image.len()))?;
        let early = run::require_memory(machine.memory_mib, bytes);
        ensure!(
            early.is_err(),
            "`cargo xtask run` would start such a machine"
        );
    }
    let end = Transcript::record(&machine, folder, LIMIT, |_| false)?;
    if let Some(module) = &machine.initrd {
        std::fs::remove_file(module)?;
    }
    judge(&end, input)
}

/// What `cargo xtask` says of it.
fn refuse_before(input: &BadInput, parts: &Parts) -> Result<()> {
    ensure!(input.before == Before::Refused, "an image made by force");
    let Err(error) = ramdisk::build(parts) else {
        anyhow::bail!("`cargo xtask` makes an image of it");
    };
    // The remedy may be worded for its command line, the thing is the same.
    let thing = input.says.first().copied().unwrap_or_default();
    let said = format!("{error:#}");
    let alike = said.contains(thing) || input.name == "long-command-line";
    ensure!(alike, "`cargo xtask` refuses it in other words: {said}");
    Ok(())
}

/// The archive as `cargo xtask` would make it, without its checks.
fn force(parts: &Parts) -> Result<Vec<u8>> {
    let configuration: String = parts
        .configuration
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let files: [(&str, &[u8]); 4] = [
        ("darma.conf", configuration.as_bytes()),
        ("cmdline", parts.command_line.as_bytes()),
        ("kernel", &parts.kernel),
        ("initrd", &parts.initrd),
    ];
    let mut writer = cpio::Writer::new();
    let mut sums = String::new();
    for (name, bytes) in files {
        writer.file(name, 0o644, bytes)?;
        sums += &format!("{:08x}  {name}\n", crc32c::crc32c(bytes));
    }
    writer.file("checksums", 0o644, sums.as_bytes())?;
    writer.finish()
}

fn judge(end: &Transcript, input: &BadInput) -> Result<()> {
    end.require_sound()?;
    for (name, lines) in [("debug console", &end.log), ("serial port", &end.console)] {
        let spoken: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
        let complaints = spoken.iter().filter(|line| line.contains(BEGINS)).count();
        let last = spoken.last().map_or("", |line| line.as_str());
        end.require(
            complaints == 1 && last.starts_with(BEGINS),
            format!("the {name}'s last line is no single {BEGINS:?}: {last:?}"),
        )?;
        for words in input.says {
            end.require(
                last.contains(words),
                format!("the {name} says {last:?} without {words:?}"),
            )?;
        }
    }
    let exit = end.ending.and_then(|ending| ending.debug_exit);
    end.require(
        exit == Some(CANNOT_START),
        format!("the machine left {exit:?} instead of {CANNOT_START}"),
    )
}
