//! The numbered vocabularies that cross a boundary: why the GPOS failed, which crash was ordered,
//! which phase begins, what state the GPOS is in.
//!
//! Each word has a number for shared memory and the doorbell, and a name for reports, JSON and the
//! command line. Both are stable: words are added, never renumbered or renamed. A number that came
//! from the other side goes through `from_code`, which knows the words and nothing else.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

macro_rules! vocabulary {
    (
        $(#[$meta:meta])* $type:ident {
            $($(#[$word_meta:meta])* $word:ident = $code:literal, $name:literal;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $type {
            $($(#[$word_meta])* $word = $code,)+
        }

        impl $type {
            /// Every word, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The number that stands for it in memory and in registers.
            pub const fn code(self) -> u32 {
                match self { $(Self::$word => $code,)+ }
            }

            /// The stable name that stands for it in text.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $name,)+ }
            }

            /// The word with this number, if there is one.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$word),)+ _ => None }
            }

            /// The word with this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$word),)+ _ => None }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $type;

                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str(concat!("the name of a ", stringify!($type)))
                    }

                    fn visit_str<E: Error>(self, name: &str) -> Result<$type, E> {
                        $type::from_name(name)
                            .ok_or_else(|| E::custom(concat!("unknown ", stringify!($type))))
                    }
                }
                deserializer.deserialize_str(Reader)
            }
        }
    };
}

vocabulary! {
    /// Why the nanokernel took the GPOS for failed, or for finished. One cause per way of detection.
    Cause {
        /// The kernel's panic path wrote to the pvpanic device.
        Panic = 1, "panic";
        /// The processor gave up on a fault inside a double fault (SHUTDOWN intercept).
        TripleFault = 2, "triple-fault";
        /// HLT with interrupts off: nothing could ever wake it.
        HaltedInterruptsOff = 3, "halted-interrupts-off";
        /// The reset line pulsed through the keyboard controller, port 0x64.
        SelfResetKeyboard = 4, "self-reset-keyboard";
        /// The chipset's reset control register, port 0xCF9.
        SelfResetCf9 = 5, "self-reset-cf9";
        /// The reset register that the ACPI FADT names.
        SelfResetAcpi = 6, "self-reset-acpi";
        /// The fast-reset bit of system control port A, port 0x92.
        SelfResetPort92 = 7, "self-reset-port92";
        /// ACPI sleep state S5: the GPOS ended itself on purpose.
        PowerOff = 8, "power-off";
        /// No progress for the set time.
        NoProgress = 9, "no-progress";
        /// An access outside the partition that cannot be answered as absent hardware.
        PartitionViolation = 10, "partition-violation";
        /// The processor refused the guest's state, or exited for a reason that has no meaning here.
        InvalidState = 11, "invalid-state";
        /// The panic was found in the kernel's own log.
        PanicText = 12, "panic-text";
        /// An interrupt waited for the set time, and the kernel let none in.
        HardLockup = 13, "hard-lockup";
        /// The same inside the handler of a non-maskable interrupt.
        NmiHang = 14, "nmi-hang";
        /// Interrupts are taken, but for the set time nothing else was: no other process, no user
        /// code, no idling.
        SoftLockup = 15, "soft-lockup";
        /// Interrupts are on and the processor is busy, but the kernel's time stands still.
        NoTick = 16, "no-tick";
        /// Interrupts leave no time for anything else.
        InterruptStorm = 17, "interrupt-storm";
        /// Exits of one kind leave no time for anything else.
        ExitStorm = 18, "exit-storm";
        /// It died of a fault that its page tables, being ruined, could not let it handle.
        PageTablesDestroyed = 19, "page-tables-destroyed";
        /// It died of a fault that its ruined interrupt or segment descriptors could not let it handle.
        DescriptorTablesDestroyed = 20, "descriptor-tables-destroyed";
        /// No user space for the set time after its start.
        BootTimeout = 21, "boot-timeout";
        /// Its user space had promised a sign of life, and gave none for the set time.
        UserSpaceHang = 22, "user-space-hang";
        /// The kernel survived a fault of its own (recorded, not the end).
        Oops = 23, "oops";
        /// The kernel warned of itself (recorded).
        KernelWarning = 24, "kernel-warning";
        /// The kernel's own watchdog found a lockup, which passed (recorded).
        ReportedLockup = 25, "reported-lockup";
        /// It restarted itself in an orderly way: no failure.
        Reboot = 26, "reboot";
        /// It halted itself in an orderly way, without switching the power off.
        OrderedHalt = 27, "ordered-halt";
        /// It tried a port that is not its own.
        ForeignPort = 28, "foreign-port";
        /// It tried a model-specific register that is not its own.
        ForeignMsr = 29, "foreign-msr";
        /// It tried to get an interrupt that is not its own.
        ForeignInterrupt = 30, "foreign-interrupt";
    }
}

vocabulary! {
    /// A crash that `darma crash` provokes and announces, so that a report can pair what was done
    /// with what was detected. An announcement is a label: detection never relies on it.
    CrashKind {
        /// `c` to /proc/sysrq-trigger: a panic through the kernel's ordinary path.
        SysrqC = 1, "sysrq-c";
        /// A write through a null pointer in kernel mode.
        NullDeref = 2, "null-deref";
        /// An exception with an empty interrupt descriptor table.
        TripleFault = 3, "triple-fault";
        /// HLT with interrupts off.
        CliHlt = 4, "cli-hlt";
        /// A reset out of the running system, nothing shut down.
        Reset = 5, "reset";
        /// An endless loop with interrupts off.
        CliSpin = 6, "cli-spin";
    }
}

vocabulary! {
    /// A point in the GPOS's life that its user space makes known through the doorbell.
    Mark {
        /// The init process runs and has loaded its drivers.
        UserspaceUp = 1, "userspace-up";
        /// A measured phase without load begins.
        IdleBegin = 2, "idle-begin";
        /// A measured phase under load begins.
        LoadedBegin = 3, "loaded-begin";
        /// The measured phase ends.
        PhaseEnd = 4, "phase-end";
        /// The next thing that happens is the announced crash.
        CrashImminent = 5, "crash-imminent";
        /// All that was to be measured is done.
        BenchEnd = 6, "bench-end";
    }
}

vocabulary! {
    /// What the GPOS is doing, as the nanokernel sees it.
    GposState {
        /// Entered, user space not yet reported.
        Booting = 1, "booting";
        /// User space has reported.
        Up = 2, "up";
        /// A failure was detected; nothing done yet.
        Crashed = 3, "crashed";
        /// Registers, log and memory are being saved.
        Capturing = 4, "capturing";
        /// Kernel and initrd are being reloaded from the RAM-disk image.
        Reloading = 5, "reloading";
        /// Too many failures: stopped until somebody decides.
        Held = 6, "held";
        /// It powered itself off.
        Off = 7, "off";
        /// User space of the rescue system has reported.
        Rescue = 8, "rescue";
    }
}

vocabulary! {
    /// What a start of the GPOS was loaded from.
    ImageRole {
        /// The image in use.
        First = 1, "first";
        /// The rescue system of the image.
        Rescue = 2, "rescue";
        /// A staged image that has not reached user space yet.
        Trial = 3, "trial";
    }
}

/// Reports of before there were several: then there was one image.
#[allow(
    clippy::derivable_impls,
    reason = "the vocabularies' macro derives no default"
)]
impl Default for ImageRole {
    fn default() -> Self {
        Self::First
    }
}

vocabulary! {
    /// How far a staged image has come.
    StageState {
        /// The machine has no room for one (`image.stage-size`).
        Off = 1, "off";
        /// Nothing is staged.
        Empty = 2, "empty";
        /// An image is being received.
        Receiving = 3, "receiving";
        /// It is sound, and started from at the next restart of the GPOS.
        Ready = 4, "ready";
        /// It runs, and has not reached user space yet.
        Trial = 5, "trial";
        /// It reached user space: it is the image in use.
        Accepted = 6, "accepted";
        /// It is not sound; nothing has changed.
        Refused = 7, "refused";
        /// It did not come up; the image before it is in use.
        Failed = 8, "failed";
    }
}

vocabulary! {
    /// Why an image is refused.
    StageProblem {
        /// The machine has no room for any.
        Off = 1, "no-staging-area";
        /// It is larger than the room for it.
        TooLarge = 2, "too-large";
        /// A staged image runs on trial, and the other area holds what to fall back on.
        OnTrial = 3, "on-trial";
        /// No image was begun, or all of it has arrived.
        Unasked = 4, "unasked";
        /// A piece is longer than the window.
        LongPiece = 5, "piece-too-long";
        /// Less arrived than was announced.
        Incomplete = 6, "incomplete";
        /// It is no RAM-disk image, or a damaged one.
        Archive = 7, "damaged-archive";
        /// A file is missing or empty.
        Missing = 8, "file-missing";
        /// A kernel is none that can be started.
        Kernel = 9, "unfit-kernel";
        /// It has no checksums, or they do not name all its files.
        NoSums = 10, "no-checksums";
        /// A file does not have its checksum.
        Checksum = 11, "checksum-mismatch";
        /// It does not fit the GPOS's memory.
        DoesNotFit = 12, "does-not-fit";
    }
}

vocabulary! {
    /// A file of a RAM-disk image.
    StagedFile {
        /// The bzImage.
        Kernel = 1, "kernel";
        /// The initial RAM file system.
        Initrd = 2, "initrd";
        /// The command line.
        CommandLine = 3, "cmdline";
        /// The configuration.
        Config = 4, "darma.conf";
        /// The sums.
        Checksums = 5, "checksums";
        /// The rescue system's bzImage.
        RescueKernel = 6, "rescue/kernel";
        /// The rescue system's initial RAM file system.
        RescueInitrd = 7, "rescue/initrd";
        /// The rescue system's command line.
        RescueCommandLine = 8, "rescue/cmdline";
    }
}

vocabulary! {
    /// What the recovery ladder does about a GPOS that has ended.
    LadderStep {
        /// The same image is loaded again.
        Reload = 1, "reload";
        /// A staged image is loaded for the first time.
        Trial = 2, "trial";
        /// A staged image did not come up: the one before it is loaded.
        FallBack = 3, "fall-back";
        /// The image in use did not come up: the rescue system is loaded.
        Rescue = 4, "rescue";
        /// Nothing came up, or nothing is asked for: the GPOS is left down.
        Down = 5, "down";
        /// Somebody asked for another try of the image in use.
        TryAgain = 6, "try-again";
        /// Somebody asked for the rescue system.
        TryRescue = 7, "try-rescue";
    }
}

vocabulary! {
    /// The measured condition under which a task's latencies were sampled.
    Phase {
        /// The GPOS runs without load.
        Idle = 1, "idle";
        /// The GPOS runs under load.
        Loaded = 2, "loaded";
        /// From the detection of a failure until user space is back.
        Recovery = 3, "recovery";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_the_way_through_its_number_and_its_name() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), Some(*cause));
            assert_eq!(Cause::from_name(cause.name()), Some(*cause));
        }
    }

    #[test]
    fn an_unknown_number_is_no_word() {
        assert_eq!(Mark::from_code(0), None);
        assert_eq!(CrashKind::from_code(u32::MAX), None);
    }
}
