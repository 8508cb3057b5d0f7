//! CPUID and MSRs of the guest: asks the policy, applies the answer.

use super::Gpos;
use super::exits::low;
use darma_machine::time;
use darma_policy::cpuid::{self, CpuidLeaf};
use darma_policy::mmio::Trapped;
use darma_policy::msr::{ControlRegisters, MsrFacts, MsrRead, MsrWrite, Mtrrs, is_virtualization};
use darma_ras_model::detect::Foreign;
use darma_ras_model::dump::MsrNote;
use darma_ras_model::dump::vital::Processor;
use heapless::Vec;
use x86_64::registers::model_specific::Msr;

const GENERAL_PROTECTION: u8 = 13;

/// CPUID of this processor.
pub(crate) fn host_cpuid(leaf: u32, subleaf: u32) -> CpuidLeaf {
    let found = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    CpuidLeaf {
        eax: found.eax,
        ebx: found.ebx,
        ecx: found.ecx,
        edx: found.edx,
    }
}

/// What the MSR policy needs to know of this processor.
pub(crate) fn msr_facts() -> MsrFacts {
    const MCG_CAP: u32 = 0x179;
    const MTRR: u32 = 1 << 12;
    const MACHINE_CHECK: u32 = 1 << 14;
    let features = host_cpuid(1, 0).edx;
    let read = |feature: u32, msr: u32| {
        if features & feature != 0 {
            // SAFETY: each register is read only where CPUID says that it exists.
            unsafe { Msr::new(msr).read() }
        } else {
            0
        }
    };
    MsrFacts {
        mtrrs: Mtrrs::capture(|msr| read(MTRR, msr)),
        machine_check: read(MACHINE_CHECK, MCG_CAP),
        optional_efer: cpuid::optional_efer_bits(host_cpuid),
    }
}

/// Puts those of the guest's own MSRs back to zero that VMLOAD does not load, so that a new kernel
/// does not find its predecessor's: TSC_AUX, SPEC_CTRL, XSS.
pub(super) fn reset_own_msrs() {
    const RDTSCP: u32 = 1 << 27;
    const SPEC_CTRL: u32 = 1 << 26;
    const XSAVES: u32 = 1 << 3;
    let clear = |exists: bool, msr: u32| {
        if exists {
            // SAFETY: CPUID says that it exists, zero is its reset value, and the image uses none.
            unsafe { Msr::new(msr).write(0) };
        }
    };
    clear(host_cpuid(0x8000_0001, 0).edx & RDTSCP != 0, 0xc000_0103);
    clear(host_cpuid(7, 0).edx & SPEC_CTRL != 0, 0x48);
    clear(host_cpuid(0xd, 1).eax & XSAVES != 0, 0xda0);
}

/// Those of the guest's own MSRs that the control block does not hold.
fn unswitched_msrs() -> impl Iterator<Item = MsrNote> {
    const RDTSCP: u32 = 1 << 27;
    const SPEC_CTRL: u32 = 1 << 26;
    const XSAVES: u32 = 1 << 3;
    let exists = [
        (host_cpuid(0x8000_0001, 0).edx & RDTSCP != 0, 0xc000_0103),
        (host_cpuid(7, 0).edx & SPEC_CTRL != 0, 0x48),
        (host_cpuid(0xd, 1).eax & XSAVES != 0, 0xda0),
    ];
    let existing = exists.into_iter().filter(|(exists, _)| *exists);
    existing.map(|(_, number)| MsrNote {
        number: u64::from(number),
        // SAFETY: CPUID says that it exists; reading it has no effect.
        value: unsafe { Msr::new(number).read() },
    })
}

impl Gpos {
    /// The MSRs that are neither in the control block's state nor the local APIC's, for the dump.
    pub(crate) fn own_msrs(&mut self) -> Vec<MsrNote, 16> {
        /// APIC base, MCG_STATUS, DEBUGCTL, default memory type.
        const VIRTUAL: [u32; 4] = [0x1b, 0x17a, 0x1d9, 0x2ff];
        let mut found: Vec<_, 16> = unswitched_msrs().collect();
        for msr in VIRTUAL {
            let value = match self.msrs.read(msr, self.control_registers()) {
                Ok(MsrRead::Value(value)) => Ok(value),
                Ok(MsrRead::Apic) => self.apic.read_msr(msr, time::now()),
                Err(fault) => Err(fault),
            };
            let number = u64::from(msr);
            if let Ok(value) = value {
                let _ = found.push(MsrNote { number, value });
            }
        }
        found
    }

    /// What a dump's order of importance depends on.
    pub(crate) fn processor_for_dump(&self) -> Processor {
        let frozen = self.cpu.freeze();
        let [.., gs] = frozen.segments;
        Processor {
            cr3: frozen.cr3,
            cr4: frozen.cr4,
            rsp: self.cpu.register(4),
            gs: [gs.base, frozen.kernel_gs_base],
        }
    }

    /// The local APIC's registers, in the order of their places in its page.
    pub(crate) fn local_apic_registers(&self) -> [u32; 64] {
        const X2APIC: u32 = 0x800;
        let now = time::now();
        let mut registers = [0; 64];
        for (register, number) in registers.iter_mut().zip(0..) {
            *register = match self.apic.read_msr(X2APIC + number, now) {
                Ok(value) => low(value),
                Err(_) => self.apic.read_mmio(number << 4, now),
            };
        }
        registers
    }

    pub(super) fn cpuid(&mut self) {
        let (leaf, subleaf) = (low(self.cpu.register(0)), low(self.cpu.register(1)));
        let (_, _, cr4, _) = self.cpu.paging();
        let shown = cpuid::filter(leaf, subleaf, cr4, host_cpuid);
        self.cpu.set_register(0, u64::from(shown.eax));
        self.cpu.set_register(3, u64::from(shown.ebx));
        self.cpu.set_register(1, u64::from(shown.ecx));
        self.cpu.set_register(2, u64::from(shown.edx));
        self.skip(Trapped::Cpuid);
    }

    pub(super) fn read_msr(&mut self) {
        let msr = low(self.cpu.register(1));
        let value = match self.msrs.read(msr, self.control_registers()) {
            Ok(MsrRead::Value(value)) => Ok(value),
            Ok(MsrRead::Apic) => self.apic.read_msr(msr, time::now()),
            Err(fault) => Err(fault),
        };
        match value {
            Ok(value) => {
                self.cpu.set_register(0, value & 0xffff_ffff);
                self.cpu.set_register(2, value >> 32);
                self.skip(Trapped::Rdmsr);
            }
            Err(_) => self.cpu.inject_exception(GENERAL_PROTECTION, Some(0)),
        }
    }

    pub(super) fn write_msr(&mut self) {
        let msr = low(self.cpu.register(1));
        let value = self.cpu.register(2) << 32 | self.cpu.register(0) & 0xffff_ffff;
        let written = match self.msrs.write(msr, value, self.control_registers()) {
            Ok(MsrWrite::Apic) => self
                .apic
                .write_msr(msr, value, time::now())
                .map(|effect| self.apply(effect)),
            Ok(MsrWrite::Done) => Ok(()),
            Ok(MsrWrite::Efer(efer)) => {
                self.cpu.set_efer(efer);
                self.cpu.flush_translations();
                Ok(())
            }
            Ok(MsrWrite::Pat(pat)) => {
                self.cpu.set_pat(pat);
                self.cpu.flush_translations();
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        match written {
            Ok(()) => self.skip(Trapped::Wrmsr),
            Err(_) => {
                // Kernels try registers that may not exist, and handle the fault. Not these.
                if is_virtualization(msr) {
                    self.foreign(Foreign::Register, u64::from(msr));
                }
                self.cpu.inject_exception(GENERAL_PROTECTION, Some(0));
            }
        }
    }

    fn control_registers(&self) -> ControlRegisters {
        let (cr0, _, _, efer) = self.cpu.paging();
        ControlRegisters {
            efer,
            pat: self.cpu.pat(),
            cr0,
        }
    }
}
