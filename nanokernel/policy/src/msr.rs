//! Model-specific registers: which the GPOS reaches, which are played to it, which do not exist.
//!
//! One table says it all ([`TABLE`]), and the permission bitmap is built from the same table. What
//! may pass is what the processor switches with the guest (VMLOAD and VMSAVE) or what steers only
//! speculation and state that the image does not use. **Nothing else that the guest writes reaches the
//! machine**: it goes into a bounded shadow, into the virtual processor, or nowhere.
//!
//! A register that the processor's family defines but that is not the guest's reads the hardware's
//! value or zero and swallows writes, rather than faulting: kernels write those unasked, by family and
//! not by CPUID bit, and would log the fault. One that no announced feature explains does not
//! exist: #GP, counted. QEMU's emulator never faults on an MSR, so a Linux log taken there hides
//! what this does; the ranges below were drawn from the accesses in Linux's own x86 code.
//!
//! Invariants: a value that came from the guest is written to the hardware only by the guest itself, through
//! the bitmap, never by the nanokernel: a bad one faults where it was made. EFER keeps SVME.
//! Time: constant, at most one pass over the table; the APIC's registers are decided before it.

mod mtrr;

pub use mtrr::Mtrrs;

use crate::interrupts::local_apic::{
    GeneralProtection, MSR_APIC_BASE, MSR_TSC_DEADLINE, X2APIC_MSRS,
};
use core::ops::RangeInclusive;

/// How much of a register the permission bitmap lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passage {
    /// Reads and writes do not exit.
    ReadWrite,
    /// Reads do not exit; writes do, and are swallowed.
    Read,
}

/// What a register is to the GPOS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// The guest's own: no exit.
    Own,
    /// The machine's: reads go through, writes are swallowed.
    ReadOnly,
    /// Reads zero, swallows writes.
    Quiet,
    /// The virtual local APIC decides.
    Apic,
    Efer,
    Pat,
    DebugControl,
    Mtrr,
    MachineCheck,
}

/// Every register that exists for the GPOS. APM2 appendix A names them; first match counts.
const TABLE: &[(u32, u32, Class)] = &[
    (0xc000_0080, 0xc000_0080, Class::Efer),
    // STAR, LSTAR, CSTAR, SFMASK; FS, GS and kernel GS base; TSC_AUX. All but the last travel by
    // VMLOAD and VMSAVE; the image does not use RDTSCP.
    (0xc000_0081, 0xc000_0084, Class::Own),
    (0xc000_0100, 0xc000_0103, Class::Own),
    // SYSENTER_CS, _ESP, _EIP.
    (0x174, 0x176, Class::Own),
    // SPEC_CTRL, PRED_CMD: Linux writes them at context switches; they cost speed, never control.
    (0x48, 0x49, Class::Own),
    // XSS: what XSAVES saves. The image saves no extended state.
    (0xda0, 0xda0, Class::Own),
    // The time-stamp counter: a write would move the real-time side's clock.
    (0x10, 0x10, Class::ReadOnly),
    // Microcode revision. No loader: updates are the machine owner's.
    (0x8b, 0x8b, Class::ReadOnly),
    // MPERF, APERF, and their read-only twins.
    (0xe7, 0xe8, Class::ReadOnly),
    (0xc000_00e7, 0xc000_00e8, Class::ReadOnly),
    (0x277, 0x277, Class::Pat),
    (0x1d9, 0x1d9, Class::DebugControl),
    // Last branch and last exception: nothing recorded.
    (0x1db, 0x1de, Class::Quiet),
    (0xfe, 0xfe, Class::Mtrr),
    (0x200, 0x26f, Class::Mtrr),
    (0x2ff, 0x2ff, Class::Mtrr),
    (0x179, 0x17b, Class::MachineCheck),
    (0x400, 0x47f, Class::MachineCheck),
    // MISC_ENABLE and platform identification: Intel's, probed by generic code.
    (0x17, 0x17, Class::Quiet),
    (0x1a0, 0x1a0, Class::Quiet),
    // SYSCFG, HWCR, TOP_MEM, TOP_MEM2: Linux reads the memory map's type out of them.
    (0xc001_0010, 0xc001_0010, Class::ReadOnly),
    (0xc001_0015, 0xc001_0015, Class::ReadOnly),
    (0xc001_001a, 0xc001_001a, Class::ReadOnly),
    (0xc001_001d, 0xc001_001d, Class::ReadOnly),
    // Errata known to the firmware.
    (0xc001_0140, 0xc001_0141, Class::ReadOnly),
    // LS_CFG, DE_CFG: the workarounds that firmware has set show as set.
    (0xc001_1020, 0xc001_1020, Class::ReadOnly),
    (0xc001_1029, 0xc001_1029, Class::ReadOnly),
    // The rest of what AMD's families define: performance counters, P-states, northbridge,
    // SVM's own and the workaround registers that Linux sets by family.
    (0xc001_0000, 0xc001_0113, Class::Quiet),
    (0xc001_0119, 0xc001_1fff, Class::Quiet),
];

/// Every register that the guest reaches without an exit, for the permission bitmap.
pub fn passages() -> impl Iterator<Item = (RangeInclusive<u32>, Passage)> {
    TABLE
        .iter()
        .filter_map(|&(first, last, class)| match class {
            Class::Own => Some((first..=last, Passage::ReadWrite)),
            Class::ReadOnly => Some((first..=last, Passage::Read)),
            _ => None,
        })
}

/// Whether a register is SVM's own (VM_CR, IGNNE, SMM_CTL, VM_HSAVE_PA, SVM_KEY: APM2 15.30): a
/// write to it is an attempt on the layer below, because no kernel writes it that sees no SVM.
pub const fn is_virtualization(msr: u32) -> bool {
    matches!(msr, 0xc001_0114..=0xc001_0118)
}

/// What the machine fixes about the registers, captured at boot.
#[derive(Clone, Copy, Debug)]
pub struct MsrFacts {
    /// The memory type ranges as firmware left them.
    pub mtrrs: Mtrrs,
    /// MCG_CAP; only the number of banks and the presence of MCG_CTL are shown.
    pub machine_check: u64,
    /// [`optional_efer_bits`](crate::cpuid::optional_efer_bits).
    pub optional_efer: u64,
}

/// The guest's registers that the virtual processor holds and that the answers depend on.
#[derive(Clone, Copy, Debug)]
pub struct ControlRegisters {
    /// EFER as the virtual processor has it, SVME included.
    pub efer: u64,
    /// G_PAT.
    pub pat: u64,
    /// CR0.
    pub cr0: u64,
}

/// The answer to a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrRead {
    /// This value.
    Value(u64),
    /// The virtual APIC's `read_msr` knows.
    Apic,
}

/// The answer to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum MsrWrite {
    /// Nothing is left to do.
    Done,
    /// Put this into the virtual processor's EFER; translations may have changed.
    Efer(u64),
    /// Put this into the virtual processor's PAT; translations may have changed.
    Pat(u64),
    /// The virtual APIC's `write_msr` does it.
    Apic,
}

/// What the guest tried in vain. Saturating; the last one of each kind by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MsrCounters {
    /// Accesses to registers that do not exist.
    pub absent: u32,
    /// The last of them.
    pub last_absent: u32,
    /// Writes swallowed.
    pub swallowed: u32,
    /// The last of them.
    pub last_swallowed: u32,
}

const EFER_SCE: u64 = 1 << 0;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const EFER_SVME: u64 = 1 << 12;
const CR0_PG: u64 = 1 << 31;

/// DEBUGCTL: LBR, BTF and the pin controls.
const DEBUG_CONTROL_WRITABLE: u64 = 0x3f;

const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const MCG_CTL: u32 = 0x17b;
const MCG_CTL_PRESENT: u64 = 1 << 8;
const FIRST_BANK: u32 = 0x400;
/// Banks of four registers each in 0x400 to 0x47f.
const MAX_BANKS: u64 = 32;

/// The GPOS's model-specific registers.
#[derive(Clone, Debug)]
pub struct MsrPolicy {
    facts: MsrFacts,
    mtrrs: Mtrrs,
    debug_control: u64,
    /// Which banks the guest has enabled. The banks report nothing, so all or nothing is enough.
    banks_enabled: u32,
    global_enabled: bool,
    counters: MsrCounters,
}

impl MsrPolicy {
    /// The registers as firmware left them.
    pub const fn new(facts: MsrFacts) -> Self {
        Self {
            facts,
            mtrrs: facts.mtrrs,
            debug_control: 0,
            banks_enabled: 0,
            global_enabled: false,
            counters: MsrCounters {
                absent: 0,
                last_absent: 0,
                swallowed: 0,
                last_swallowed: 0,
            },
        }
    }

    /// Back to the state of [`MsrPolicy::new`], for the next boot of the GPOS. The edge sets the
    /// registers of [`Passage::ReadWrite`] back itself.
    pub const fn reset(&mut self) {
        *self = Self::new(self.facts);
    }

    /// What the guest tried in vain since the last reset.
    pub const fn counters(&self) -> MsrCounters {
        self.counters
    }

    /// RDMSR of `msr`.
    ///
    /// # Errors
    /// #GP if there is no such register for the guest. Also for those of [`passages`], whose reads
    /// do not exit when the bitmap is built from them.
    pub fn read(
        &mut self,
        msr: u32,
        control: ControlRegisters,
    ) -> Result<MsrRead, GeneralProtection> {
        let value = match class_of(msr) {
            Some(Class::Apic) => return Ok(MsrRead::Apic),
            Some(Class::Quiet) => Some(0),
            Some(Class::Efer) => Some(control.efer & !EFER_SVME),
            Some(Class::Pat) => Some(control.pat),
            Some(Class::DebugControl) => Some(self.debug_control),
            Some(Class::Mtrr) => self.mtrrs.read(msr),
            Some(Class::MachineCheck) => self.read_machine_check(msr),
            Some(Class::Own | Class::ReadOnly) | None => None,
        };
        value.map(MsrRead::Value).ok_or_else(|| self.absent(msr))
    }

    /// WRMSR of `value` to `msr`.
    ///
    /// # Errors
    /// #GP if there is no such register for the guest or the value is one that it refuses.
    pub fn write(
        &mut self,
        msr: u32,
        value: u64,
        control: ControlRegisters,
    ) -> Result<MsrWrite, GeneralProtection> {
        match class_of(msr) {
            Some(Class::Apic) => return Ok(MsrWrite::Apic),
            Some(Class::ReadOnly | Class::Quiet) => self.swallow(msr),
            Some(Class::Efer) => return self.write_efer(value, control),
            Some(Class::Pat) => {
                return if is_pat(value) {
                    Ok(MsrWrite::Pat(value))
                } else {
                    Err(GeneralProtection)
                };
            }
            Some(Class::DebugControl) => self.debug_control = value & DEBUG_CONTROL_WRITABLE,
            Some(Class::Mtrr) if self.mtrrs.write(msr, value) => {}
            Some(Class::MachineCheck) if self.write_machine_check(msr, value) => {}
            Some(Class::Mtrr | Class::MachineCheck | Class::Own) | None => {
                return Err(self.absent(msr));
            }
        }
        Ok(MsrWrite::Done)
    }

    /// EFER (APM2 3.1.7). LMA follows from LME and paging, and the processor keeps it; SVME belongs
    /// to the nanokernel, VMRUN insists on it, and the guest never sees it.
    fn write_efer(
        &self,
        value: u64,
        control: ControlRegisters,
    ) -> Result<MsrWrite, GeneralProtection> {
        let writable = EFER_SCE | EFER_LME | EFER_NXE | self.facts.optional_efer;
        let changed = value ^ control.efer;
        if value & !(writable | EFER_LMA) != 0
            || (changed & EFER_LME != 0 && control.cr0 & CR0_PG != 0)
        {
            return Err(GeneralProtection);
        }
        Ok(MsrWrite::Efer(
            value & writable | control.efer & EFER_LMA | EFER_SVME,
        ))
    }

    const fn banks(&self) -> u64 {
        let banks = self.facts.machine_check & 0xff;
        if banks < MAX_BANKS { banks } else { MAX_BANKS }
    }

    /// The bank and the register in it that `msr` is: 0 control, 1 status, 2 address, 3 other.
    fn bank_register(&self, msr: u32) -> Option<(u32, u32)> {
        let index = msr.checked_sub(FIRST_BANK)?;
        (u64::from(index / 4) < self.banks()).then_some((index / 4, index % 4))
    }

    fn read_machine_check(&self, msr: u32) -> Option<u64> {
        let has_control = self.facts.machine_check & MCG_CTL_PRESENT;
        match msr {
            MCG_CAP => Some(self.banks() | has_control),
            MCG_STATUS => Some(0),
            MCG_CTL => (has_control != 0).then_some(all_or_nothing(self.global_enabled)),
            _ => match self.bank_register(msr)? {
                (bank, 0) => Some(all_or_nothing(self.banks_enabled >> bank & 1 != 0)),
                _ => Some(0),
            },
        }
    }

    /// False if there is no such register.
    fn write_machine_check(&mut self, msr: u32, value: u64) -> bool {
        match msr {
            MCG_CAP => return false,
            MCG_STATUS => {}
            MCG_CTL => {
                self.global_enabled = value != 0;
                return self.facts.machine_check & MCG_CTL_PRESENT != 0;
            }
            _ => match self.bank_register(msr) {
                Some((bank, 0)) => {
                    self.banks_enabled &= !(1 << bank);
                    self.banks_enabled |= u32::from(value != 0) << bank;
                }
                Some(_) => {}
                None => return false,
            },
        }
        true
    }

    const fn swallow(&mut self, msr: u32) {
        self.counters.swallowed = self.counters.swallowed.saturating_add(1);
        self.counters.last_swallowed = msr;
    }

    const fn absent(&mut self, msr: u32) -> GeneralProtection {
        self.counters.absent = self.counters.absent.saturating_add(1);
        self.counters.last_absent = msr;
        GeneralProtection
    }
}

fn class_of(msr: u32) -> Option<Class> {
    if X2APIC_MSRS.contains(&msr) || msr == MSR_TSC_DEADLINE || msr == MSR_APIC_BASE {
        return Some(Class::Apic);
    }
    let entry = TABLE
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&msr));
    entry.map(|(_, _, class)| *class)
}

/// True if each of the eight bytes is a memory type (APM2 7.8.1).
fn is_pat(value: u64) -> bool {
    value
        .to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4..=7))
}

const fn all_or_nothing(on: bool) -> u64 {
    if on { u64::MAX } else { 0 }
}

#[cfg(test)]
#[path = "msr_tests.rs"]
mod tests;
