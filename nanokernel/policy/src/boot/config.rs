//! Reads `darma.conf`: `key = value` lines, `#` starts a comment.
//!
//! A machine that starts with a setting misspelt would run with a default that nobody chose, so an
//! unknown key, a bad value and a repeated key all stop the start, each with its line and what is
//! allowed there. All keys are optional.

mod error;
mod recovery;
mod watch;

use core::fmt;

pub use error::{ConfigError, ConfigProblem};
use heapless::Vec;
pub use recovery::{Recovery, UseOfRescue};
pub use watch::{Violations, Watch};

/// The machine's configuration. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `dump.size`: room for the GPOS's memory dumps; 0 takes no dumps. Default 128M.
    pub dump_size: u64,
    /// `dump.slots`: the most dumps that are kept at a time, 1 to 8. Default 2.
    pub dump_slots: u32,
    /// `faults.size`: room for fault records, which outlive every restart of the GPOS. Default 1M.
    pub faults_size: u64,
    /// `shared.size`: the region that both sides map. Default 2M.
    pub shared_size: u64,
    /// `gpos.memory`: how much RAM the GPOS gets. Default all that is left.
    pub gpos_memory: GposMemory,
    /// `gpos.hide`: PCI functions that the GPOS does not see. Default none.
    pub hidden: Vec<PciFunction, MAX_HIDDEN>,
    /// `exit.on-poweroff`: what the machine does when the GPOS powers off. Default keeps running.
    pub on_poweroff: OnPoweroff,
    /// `log.level`: the least severe message that is logged. Default info.
    pub log_level: LogLevel,
    /// `image.stage-size`: room for a RAM-disk image that the running GPOS sends for its next start; 0
    /// takes none. Default 0.
    pub stage_size: u64,
    /// `recovery.*`: how a failed GPOS is started again.
    pub recovery: Recovery,
    /// `trace.keep`: what is kept of the trace for the report. Default the worst waits' histories.
    pub trace_keep: TraceKeep,
    /// `watch.*`: the limits of detection.
    pub watch: Watch,
}

/// The most functions that `gpos.hide` can name.
pub const MAX_HIDDEN: usize = 32;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Config {
    fn default() -> Self {
        Self {
            dump_size: 128 * MIB,
            dump_slots: 2,
            faults_size: MIB,
            shared_size: 2 * MIB,
            gpos_memory: GposMemory::All,
            hidden: Vec::new(),
            on_poweroff: OnPoweroff::KeepRunning,
            log_level: LogLevel::Info,
            stage_size: 0,
            recovery: Recovery::default(),
            trace_keep: TraceKeep::Worst,
            watch: Watch::default(),
        }
    }
}

/// How much RAM the GPOS gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GposMemory {
    /// All that Darma does not need.
    All,
    /// So many bytes; the rest is kept from it.
    Bytes(u64),
}

/// What the machine does when the GPOS powers off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoweroff {
    /// The RTOS keeps running; only the GPOS ends.
    KeepRunning,
    /// Test machines: leave the emulator.
    LeaveEmulator,
}

/// What is kept of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKeep {
    /// The histories of the longest waits.
    Worst,
    /// The last events of tasks before the end, locks among them: the scheduler's golden traces.
    Last,
}

/// The severity of a log message, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something unexpected was dealt with.
    Warn,
    /// What a user wants to see.
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

/// A PCI function of segment 0, written `bus:device.function` in hexadecimal as by `lspci`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciFunction {
    /// 0 to 255.
    pub bus: u8,
    /// 0 to 31.
    pub device: u8,
    /// 0 to 7.
    pub function: u8,
}

impl PciFunction {
    /// The 16-bit requester id: bus in the high byte, device above three bits of function.
    pub const fn id(self) -> u16 {
        u16::from_be_bytes([self.bus, self.device << 3 | self.function])
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("0000:").unwrap_or(text);
        let (bus, rest) = text.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let field = |digits: &str, most: u8| {
            let plain = digits.len() <= 2 && digits.bytes().all(|d| d.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16)
                .ok()
                .filter(|&value| plain && value <= most)
        };
        Some(Self {
            bus: field(bus, 255)?,
            device: field(device, 31)?,
            function: field(function, 7)?,
        })
    }
}

impl fmt::Display for PciFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    DumpSize,
    DumpSlots,
    FaultsSize,
    SharedSize,
    GposMemory,
    GposHide,
    ExitOnPoweroff,
    LogLevel,
    ImageStageSize,
    RecoveryLimit,
    RecoveryWindow,
    RecoveryFirstWait,
    RecoveryLongestWait,
    RecoveryRescue,
    TraceKeep,
    WatchHardLockup,
    WatchSoftLockup,
    WatchBoot,
    WatchHeartbeat,
    WatchViolations,
}

impl Key {
    const ALL: [Self; 20] = [
        Self::DumpSize,
        Self::DumpSlots,
        Self::FaultsSize,
        Self::SharedSize,
        Self::GposMemory,
        Self::GposHide,
        Self::ExitOnPoweroff,
        Self::LogLevel,
        Self::ImageStageSize,
        Self::RecoveryLimit,
        Self::RecoveryWindow,
        Self::RecoveryFirstWait,
        Self::RecoveryLongestWait,
        Self::RecoveryRescue,
        Self::TraceKeep,
        Self::WatchHardLockup,
        Self::WatchSoftLockup,
        Self::WatchBoot,
        Self::WatchHeartbeat,
        Self::WatchViolations,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::DumpSize => "dump.size",
            Self::DumpSlots => "dump.slots",
            Self::FaultsSize => "faults.size",
            Self::SharedSize => "shared.size",
            Self::GposMemory => "gpos.memory",
            Self::GposHide => "gpos.hide",
            Self::ExitOnPoweroff => "exit.on-poweroff",
            Self::LogLevel => "log.level",
            Self::ImageStageSize => "image.stage-size",
            Self::RecoveryLimit => "recovery.limit",
            Self::RecoveryWindow => "recovery.window",
            Self::RecoveryFirstWait => "recovery.first-wait",
            Self::RecoveryLongestWait => "recovery.longest-wait",
            Self::RecoveryRescue => "recovery.rescue",
            Self::TraceKeep => "trace.keep",
            Self::WatchHardLockup => "watch.hard-lockup",
            Self::WatchSoftLockup => "watch.soft-lockup",
            Self::WatchBoot => "watch.boot",
            Self::WatchHeartbeat => "watch.heartbeat",
            Self::WatchViolations => "watch.violations",
        }
    }

    const fn allowed(self) -> &'static str {
        match self {
            Self::DumpSize => "a size such as 128M, or 0 for no dumps",
            Self::DumpSlots => "a number from 1 to 8",
            Self::FaultsSize => "a size from 64K to 64M such as 1M",
            Self::SharedSize => "a size from 2M to 1G such as 4M",
            Self::GposMemory => "'all' or a size such as 512M",
            Self::GposHide => "up to 32 PCI functions such as 00:03.0, with commas between them",
            Self::ExitOnPoweroff => "'yes' or 'no'",
            Self::LogLevel => "'error', 'warn', 'info', 'debug' or 'trace'",
            Self::ImageStageSize => "a size such as 64M, or 0 for no staging",
            Self::RecoveryLimit => recovery::LIMIT,
            Self::RecoveryWindow => recovery::WINDOW,
            Self::RecoveryFirstWait | Self::RecoveryLongestWait => recovery::WAIT,
            Self::RecoveryRescue => recovery::RESCUE,
            Self::TraceKeep => "'worst' or 'last'",
            Self::WatchHardLockup
            | Self::WatchSoftLockup
            | Self::WatchBoot
            | Self::WatchHeartbeat => watch::LIMIT,
            Self::WatchViolations => "'record' or 'fatal'",
        }
    }

    fn set(self, config: &mut Config, value: &str) -> Option<()> {
        match self {
            Self::DumpSize => config.dump_size = parse_size(value)?,
            Self::DumpSlots => {
                let slots = parse_number(value).filter(|slots| (1..=8).contains(slots))?;
                config.dump_slots = slots.try_into().ok()?;
            }
            Self::FaultsSize => {
                config.faults_size =
                    parse_size(value).filter(|size| (64 << 10..=64 * MIB).contains(size))?;
            }
            Self::SharedSize => {
                config.shared_size =
                    parse_size(value).filter(|size| (2 * MIB..=GIB).contains(size))?;
            }
            Self::GposMemory => {
                config.gpos_memory = match value {
                    "all" => GposMemory::All,
                    size => GposMemory::Bytes(parse_size(size)?),
                }
            }
            Self::GposHide => {
                for function in value
                    .split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                {
                    config.hidden.push(PciFunction::parse(function)?).ok()?;
                }
            }
            Self::ExitOnPoweroff => {
                config.on_poweroff = match value {
                    "yes" => OnPoweroff::LeaveEmulator,
                    "no" => OnPoweroff::KeepRunning,
                    _ => return None,
                }
            }
            Self::LogLevel => {
                config.log_level = match value {
                    "error" => LogLevel::Error,
                    "warn" => LogLevel::Warn,
                    "info" => LogLevel::Info,
                    "debug" => LogLevel::Debug,
                    "trace" => LogLevel::Trace,
                    _ => return None,
                }
            }
            Self::ImageStageSize => config.stage_size = parse_size(value)?,
            Self::RecoveryLimit => config.recovery.limit = recovery::limit(value)?,
            Self::RecoveryWindow => config.recovery.window = recovery::window(value)?,
            Self::RecoveryFirstWait => config.recovery.first_wait = recovery::wait(value)?,
            Self::RecoveryLongestWait => config.recovery.longest_wait = recovery::wait(value)?,
            Self::RecoveryRescue => config.recovery.rescue = recovery::rescue(value)?,
            Self::TraceKeep => {
                config.trace_keep = match value {
                    "worst" => TraceKeep::Worst,
                    "last" => TraceKeep::Last,
                    _ => return None,
                }
            }
            Self::WatchHardLockup => config.watch.hard_lockup = watch::limit(value)?,
            Self::WatchSoftLockup => config.watch.soft_lockup = watch::limit(value)?,
            Self::WatchBoot => config.watch.boot = watch::limit(value)?,
            Self::WatchHeartbeat => config.watch.heartbeat = watch::limit(value)?,
            Self::WatchViolations => config.watch.violations = watch::violations(value)?,
        }
        Some(())
    }
}

impl Config {
    /// Reads the text of `darma.conf`; keys that it does not set keep their defaults.
    ///
    /// # Errors
    /// The first line that cannot be taken, with what would be allowed there.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError<'_>> {
        let mut config = Self::default();
        let mut set = [false; Key::ALL.len()];
        for (bytes, line) in text.split(|&byte| byte == b'\n').zip(1..) {
            let at = |problem| ConfigError { line, problem };
            let content = core::str::from_utf8(bytes).map_err(|_| at(ConfigProblem::NotText))?;
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let (key, value) = content
                .split_once('=')
                .ok_or(at(ConfigProblem::NoAssignment))?;
            let (key, value) = (key.trim(), value.trim());
            let (known, seen) = Key::ALL
                .into_iter()
                .zip(set.iter_mut())
                .find(|(known, _)| known.name() == key)
                .ok_or(at(ConfigProblem::UnknownKey(key)))?;
            if core::mem::replace(seen, true) {
                return Err(at(ConfigProblem::Duplicate(key)));
            }
            known
                .set(&mut config, value)
                .ok_or(at(ConfigProblem::BadValue {
                    key,
                    value,
                    allowed: known.allowed(),
                }))?;
        }
        Ok(config)
    }
}

/// A number of bytes with an optional K, M or G for powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes() {
        [.., b'K' | b'k'] => (text.get(..text.len() - 1)?, 1 << 10),
        [.., b'M' | b'm'] => (text.get(..text.len() - 1)?, MIB),
        [.., b'G' | b'g'] => (text.get(..text.len() - 1)?, GIB),
        _ => (text, 1),
    };
    // Addresses have at most 52 bits (APM2 5.3); more is a slip of the pen.
    parse_number(digits)?
        .checked_mul(unit)
        .filter(|&size| size < 1 << 52)
}

/// A decimal number without sign, which `str::parse` would take.
fn parse_number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use darma_abi::units::Nanos;
    use std::{format, string::ToString};

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(Config::parse(b"\n# nothing\n"), Ok(Config::default()));
    }

    #[test]
    fn every_key_is_read() {
        let text = b"dump.size = 64M   # room\ndump.slots = 3\nfaults.size = 2M\nshared.size=8M\r\ngpos.memory = 1G\n\
            gpos.hide = 00:03.0, 0000:01:1f.7\nexit.on-poweroff = yes\nlog.level = debug\nimage.stage-size = 48M\nrecovery.limit = 20\n\
            recovery.window = 2h\nrecovery.first-wait = 500ms\nrecovery.longest-wait = 10s\nrecovery.rescue = no\n\
            trace.keep = last\nwatch.hard-lockup = 50ms\nwatch.soft-lockup = 5s\nwatch.boot = none\n\
            watch.heartbeat = 1s\nwatch.violations = fatal";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.dump_size, 64 << 20);
        assert_eq!((config.dump_slots, config.faults_size), (3, 2 << 20));
        assert_eq!(config.shared_size, 8 << 20);
        assert_eq!(config.gpos_memory, GposMemory::Bytes(1 << 30));
        let hidden: std::vec::Vec<_> = config.hidden.iter().map(ToString::to_string).collect();
        assert_eq!(hidden, ["00:03.0", "01:1f.7"]);
        assert_eq!(config.hidden[1].id(), 0x01ff);
        assert_eq!(config.on_poweroff, OnPoweroff::LeaveEmulator);
        assert_eq!(config.log_level, LogLevel::Debug);
        assert_eq!(config.stage_size, 48 << 20);
        let recovery = Recovery {
            limit: Some(20),
            window: Some(Nanos(7_200_000_000_000)),
            first_wait: Nanos(500_000_000),
            longest_wait: Nanos(10_000_000_000),
            rescue: UseOfRescue::OnCommand,
        };
        assert_eq!(config.recovery, recovery);
        assert_eq!(config.trace_keep, TraceKeep::Last);
        let watch = Watch {
            hard_lockup: Some(Nanos(50_000_000)),
            soft_lockup: Some(Nanos(5_000_000_000)),
            boot: None,
            heartbeat: Some(Nanos(1_000_000_000)),
            violations: Violations::Fatal,
        };
        assert_eq!(config.watch, watch);
    }

    #[test]
    fn a_mistake_is_answered_with_its_line_and_what_is_allowed() {
        for (text, answer) in [
            (
                "\ndump.sise = 4M",
                "line 2: unknown key 'dump.sise': use one of dump.size, dump.slots",
            ),
            (
                "dump.size = -4M",
                "line 1: dump.size = '-4M': use a size such as 128M",
            ),
            ("dump.size = +4M", "use a size such as 128M"),
            ("dump.size = 99999999999G", "use a size such as 128M"),
            ("dump.slots = 9", "use a number from 1 to 8"),
            ("faults.size = 1K", "use a size from 64K to 64M"),
            ("shared.size = 0", "use a size from 2M to 1G"),
            ("gpos.hide = 00:20.0", "use up to 32 PCI functions"),
            ("gpos.hide = 00:+3.0", "use up to 32 PCI functions"),
            ("log.level = loud", "use 'error', 'warn'"),
            ("recovery.limit = 33", "use a whole number from 1 to 32"),
            ("recovery.window = 0s", "use a time such as 90s"),
            ("recovery.first-wait = 5", "use a time such as 0s, 500ms"),
            ("recovery.rescue = maybe", "use 'yes', or 'no'"),
            (
                "log.level = info\nlog.level = warn",
                "line 2: 'log.level' was set before",
            ),
            ("watch.boot = 5", "use a time from 1ms to 1000s"),
            ("log.level = a\rb", "log.level = 'a\\rb': use"),
            ("hello", "line 1: not 'key = value'"),
        ] {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(answer), "{text:?}: {error}");
        }
        assert!(Config::parse(b"\xff = 1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_can_make_it_panic(text in "([a-z.]{0,12}|dump.size|gpos.hide) ?=? ?[\\PC\n]{0,20}") {
            let _ = Config::parse(text.as_bytes()).map_err(|error| format!("{error}"));
        }
    }
}
