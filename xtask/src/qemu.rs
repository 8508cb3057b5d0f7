//! The emulated machine: its description, and the QEMU command line that makes it.
//!
//! One description serves the nanokernel and the same kernel booted alone, so that a difference
//! between two logs is the nanokernel's doing and not the machine's. Defaults of QEMU are switched
//! off (`-nodefaults`): every device is one that we name, at an address that we choose.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// The emulator.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The oldest QEMU known to emulate SVM well enough.
const OLDEST: (u32, u32) = (7, 2);

/// What drives the machine's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Each instruction takes 2^shift ns of virtual time; idle time is skipped. Runs are bit-identical.
    Instructions {
        /// The exponent; 1 is the reference of every published figure.
        shift: u8,
    },
    /// The host's clock: shows function, not latency.
    Wall,
}

impl Clock {
    /// The reference for figures.
    pub const REFERENCE: Self = Self::Instructions { shift: 1 };

    /// The label of figures taken under this clock.
    #[must_use]
    pub fn tier(self) -> String {
        match self {
            Self::Instructions { shift } => format!("icount-shift{shift}"),
            Self::Wall => "tcg".into(),
        }
    }
}

/// What happens when the machine resets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReset {
    /// QEMU ends: under the nanokernel no reset may reach the machine.
    End,
    /// The machine starts again, firmware first.
    Restart,
}

/// Where the first serial port goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To a file. Writes to a file never wait, so instruction counting stays exact.
    File(PathBuf),
    /// To a file, and to whoever connects to the socket [`SOCKET`] in the run's folder, where QEMU
    /// must be started: a socket's path has little room.
    Socket {
        /// The file.
        log: PathBuf,
    },
    /// To the user's terminal, with QEMU's monitor behind Ctrl-A C.
    Terminal,
}

/// The name of the console's socket in a run's folder.
pub const SOCKET: &str = "console.sock";

/// How a disk is attached, and with that at which PCI function it is found.
///
/// Measured (QEMU 7.2, shift=1, stock Linux alone, reads and writes with `O_DIRECT`, three runs each):
/// only the SD card keeps runs bit-identical, because its model reads and writes the image within
/// the guest's instruction. virtio-blk and AHCI complete in QEMU's main loop, on the host's time: logs
/// differ from the first transfer on, with a null backing and without ioeventfd too. A disk that is
/// present but not used changes nothing. Under an idle guest such a request also costs a whole jump
/// of the virtual clock to its next timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bus {
    /// `virtio-blk-pci` at 00:05.0.
    Virtio,
    /// A disk of the chipset's AHCI controller at 00:1f.2.
    Ahci,
    /// An SD card behind `sdhci-pci` at 00:07.0. Its size must be a power of two.
    Sd,
}

impl Bus {
    /// The PCI function, as `bus:device.function`.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::Virtio => "00:05.0",
            Self::Ahci => "00:1f.2",
            Self::Sd => "00:07.0",
        }
    }

    /// The block device's name in Linux.
    #[must_use]
    pub const fn linux_name(self) -> &'static str {
        match self {
            Self::Virtio => "vda",
            Self::Ahci => "sda",
            Self::Sd => "mmcblk0",
        }
    }
}

/// What a disk's content is kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// A raw image file.
    Raw(PathBuf),
    /// Nothing: reads give zeros, writes vanish, both at once. For timing runs.
    Null {
        /// Capacity in bytes.
        bytes: u64,
    },
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// How it is attached.
    pub bus: Bus,
    /// What holds its content.
    pub backing: Backing,
}

/// Makes an empty (sparse) raw image, replacing what was there, so that each run begins alike.
///
/// # Errors
/// The file cannot be written.
pub fn empty_disk(file: &Path, bytes: u64) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let image = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    image
        .set_len(bytes)
        .with_context(|| format!("cannot size {}", file.display()))
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `-kernel`: the nanokernel's ELF image, or a bzImage to boot alone.
    pub kernel: PathBuf,
    /// `-initrd`: the RAM-disk image, or an initial RAM file system.
    pub initrd: Option<PathBuf>,
    /// `-append`: for a bzImage.
    pub append: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What drives time.
    pub clock: Clock,
    /// What a reset does.
    pub on_reset: OnReset,
    /// The first serial port: Linux's console.
    pub serial: Serial,
    /// Port 0xe9: the nanokernel's log.
    pub debug_console: Option<PathBuf>,
    /// Disks, at most one per bus.
    pub disks: Vec<Disk>,
    /// A file that is the machine's memory: it outlives the machine, with the dumps in it. It takes the
    /// memory's size, and what the machine wrote goes to the disk in time.
    pub memory_file: Option<PathBuf>,
    /// More arguments, taken as they are.
    pub extra: Vec<OsString>,
}

/// The name of the memory's file in the folder of a run that keeps its dumps.
pub const MEMORY_FILE: &str = "memory.raw";

impl Machine {
    /// A machine without disks that counts instructions; serial port and log go to files in `folder`.
    #[must_use]
    pub fn new(kernel: impl Into<PathBuf>, folder: &Path) -> Self {
        Self {
            kernel: kernel.into(),
            initrd: None,
            append: None,
            memory_mib: 512,
            clock: Clock::REFERENCE,
            on_reset: OnReset::End,
            serial: Serial::File(folder.join("console.log")),
            debug_console: Some(folder.join("nanokernel.log")),
            disks: Vec::new(),
            memory_file: None,
            extra: Vec::new(),
        }
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(self.arguments());
        command
    }

    /// The arguments for [`PROGRAM`].
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut list: Vec<OsString> = Vec::new();
        let mut add = |items: &[&str]| list.extend(items.iter().map(OsString::from));
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-machine",
            "q35",
            "-smp",
            "1",
        ]);
        add(&["-m", &self.memory_mib.to_string(), "-display", "none"]);
        if let Some(file) = &self.memory_file {
            add(&["-machine", "memory-backend=ram", "-object"]);
            let size = format!(
                "memory-backend-file,id=ram,share=on,size={}M,mem-path=",
                self.memory_mib
            );
            list.push(prefixed(&size, &escaped(file)));
        }
        let mut add = |items: &[&str]| list.extend(items.iter().map(OsString::from));
        // Measured: the firmware looks at every disk that it may boot from, at the host's pace, and that
        // alone makes the logs of two instruction-counted runs differ. It boots none of them.
        add(&["-boot", "strict=on"]);
        // Value v written to port 0xf4 ends QEMU with exit code 2v+1.
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        if self.on_reset == OnReset::End {
            add(&["-no-reboot"]);
        }
        if let Clock::Instructions { shift } = self.clock {
            add(&["-icount", &format!("shift={shift},sleep=off")]);
            add(&["-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]);
        }
        match &self.serial {
            Serial::File(file) => {
                add(&["-monitor", "none", "-serial"]);
                list.push(prefixed("file:", file));
            }
            Serial::Socket { log } => {
                add(&["-monitor", "none", "-chardev"]);
                list.push(prefixed(
                    &format!("socket,id=console,path={SOCKET},server=on,wait=off,logfile="),
                    &escaped(log),
                ));
                list.extend(["-serial", "chardev:console"].map(OsString::from));
            }
            Serial::Terminal => add(&["-serial", "mon:stdio"]),
        }
        if let Some(file) = &self.debug_console {
            list.push("-chardev".into());
            list.push(prefixed("file,id=nanokernel,path=", &escaped(file)));
            list.extend(
                ["-device", "isa-debugcon,iobase=0xe9,chardev=nanokernel"].map(OsString::from),
            );
        }
        for disk in &self.disks {
            list.extend(disk.arguments());
        }
        list.push("-kernel".into());
        list.push(self.kernel.clone().into());
        if let Some(initrd) = &self.initrd {
            list.push("-initrd".into());
            list.push(initrd.clone().into());
        }
        if let Some(append) = &self.append {
            list.push("-append".into());
            list.push(append.into());
        }
        list.extend(self.extra.iter().cloned());
        list
    }
}

impl Disk {
    fn arguments(&self) -> Vec<OsString> {
        let (id, device) = match self.bus {
            Bus::Virtio => ("virtio", &["virtio-blk-pci,drive=virtio,addr=05.0"][..]),
            Bus::Ahci => ("ahci", &["ide-hd,drive=ahci,bus=ide.0"][..]),
            Bus::Sd => ("sd", &["sdhci-pci,addr=07.0", "sd-card,drive=sd"][..]),
        };
        let drive = match &self.backing {
            // The locking of images would stop two runs that share a read-only image.
            Backing::Raw(file) => {
                prefixed(&format!("if=none,id={id},format=raw,file="), &escaped(file))
            }
            Backing::Null { bytes } => {
                format!("if=none,id={id},driver=null-co,read-zeroes=on,size={bytes}").into()
            }
        };
        let mut list = vec!["-drive".into(), drive];
        for device in device {
            list.push("-device".into());
            list.push(device.into());
        }
        list
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// QEMU ends an option's value at a comma, unless it is doubled.
fn escaped(path: &Path) -> PathBuf {
    path.to_string_lossy().replace(',', ",,").into()
}

/// Checks that the emulator is there and recent enough; returns its version.
///
/// # Errors
/// Absent or too old.
pub fn version() -> Result<String> {
    let text = process::capture(Command::new(PROGRAM).arg("--version"))?;
    let Some(version) = text
        .split_whitespace()
        .skip_while(|word| *word != "version")
        .nth(1)
    else {
        bail!("{PROGRAM} --version says nothing understandable");
    };
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ensure!(
        found >= OLDEST,
        "QEMU is {version}, and {}.{} or later is needed: install qemu-system-x86 of Debian 12 or later",
        OLDEST.0,
        OLDEST.1
    );
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Backing, Bus, Clock, Disk, Machine, OnReset, Serial};
    use std::path::{Path, PathBuf};

    fn line(machine: &Machine) -> String {
        machine
            .arguments()
            .iter()
            .map(|item| item.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn instruction_counting_fixes_time_date_and_seed_together() {
        let mut machine = Machine::new("image.elf", Path::new("/run"));
        assert!(
            line(&machine).contains(
                "-icount shift=1,sleep=off -rtc base=2026-01-01T00:00:00,clock=vm -seed 1"
            )
        );
        machine.clock = Clock::Wall;
        assert!(!line(&machine).contains("-icount"));
        assert!(!line(&machine).contains("-seed"));
    }

    #[test]
    fn a_disk_stands_at_the_function_that_its_bus_names() {
        let mut machine = Machine::new("image.elf", Path::new("/run"));
        machine.disks.push(Disk {
            bus: Bus::Sd,
            backing: Backing::Null { bytes: 1 << 26 },
        });
        machine.disks.push(Disk {
            bus: Bus::Virtio,
            backing: Backing::Raw(PathBuf::from("/a,b")),
        });
        let line = line(&machine);
        assert!(line.contains("sdhci-pci,addr=07.0") && Bus::Sd.function() == "00:07.0");
        assert!(
            line.contains("virtio-blk-pci,drive=virtio,addr=05.0")
                && Bus::Virtio.function() == "00:05.0"
        );
        assert!(line.contains("file=/a,,b"));
    }

    #[test]
    fn memory_in_a_file_is_shared_with_it() {
        let mut machine = Machine::new("image.elf", Path::new("/run"));
        assert!(!line(&machine).contains("memory-backend"));
        machine.memory_file = Some(PathBuf::from("/run,1/memory.raw"));
        let line = line(&machine);
        assert!(line.contains(
            "-machine memory-backend=ram -object \
             memory-backend-file,id=ram,share=on,size=512M,mem-path=/run,,1/memory.raw"
        ));
    }

    #[test]
    fn a_machine_that_may_restart_has_no_flag_against_it() {
        let mut machine = Machine::new("image.elf", Path::new("/run"));
        machine.on_reset = OnReset::Restart;
        machine.serial = Serial::Terminal;
        let line = line(&machine);
        assert!(!line.contains("-no-reboot"));
        assert!(line.contains("mon:stdio"));
    }
}
