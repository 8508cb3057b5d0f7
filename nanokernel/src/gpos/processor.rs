//! CPUID and MSRs of the guest: asks the policy, applies the answer.

use super::Gpos;
use super::exits::low;
use darma_machine::time;
use darma_policy::cpuid::{self, CpuidLeaf};
use darma_policy::mmio::Trapped;
use darma_policy::msr::{MsrFacts, MsrRead, MsrWrite, Mtrrs, VmcbRegisters};
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
    // SAFETY: the policy asks for memory-type range registers, which exist on every processor with
    // long mode, and MCG_CAP exists where CPUID 1 EDX bit 14 says so.
    let read = |msr: u32| unsafe { Msr::new(msr).read() };
    let has_machine_check = host_cpuid(1, 0).edx & (1 << 14) != 0;
    MsrFacts {
        mtrrs: Mtrrs::capture(read),
        machine_check: if has_machine_check { read(MCG_CAP) } else { 0 },
        optional_efer: cpuid::optional_efer_bits(host_cpuid),
    }
}

impl Gpos {
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
            Err(_) => self.cpu.inject_exception(GENERAL_PROTECTION, Some(0)),
        }
    }

    fn control_registers(&self) -> VmcbRegisters {
        let (cr0, _, _, efer) = self.cpu.paging();
        VmcbRegisters {
            efer,
            pat: self.cpu.pat(),
            cr0,
        }
    }
}
