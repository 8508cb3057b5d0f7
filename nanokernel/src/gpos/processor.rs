//! CPUID and MSRs of the guest (temporary).
use super::Gpos;
use darma_machine::time;
use darma_policy::interrupts::local_apic::{MSR_APIC_BASE, MSR_TSC_DEADLINE};

impl Gpos {
    pub(super) fn cpuid_leaf(&mut self, leaf: u32, sub: u32) -> [u32; 4] {
        let r = core::arch::x86_64::__cpuid_count(leaf, sub);
        let mut out = [r.eax, r.ebx, r.ecx, r.edx];
        match leaf {
            1 => {
                out[1] &= 0x00ff_ffff;
                out[2] |= 1 << 31 | 1 << 21 | 1 << 24;
                out[2] &= !(1 << 3);
                let (_, _, cr4, _) = self.cpu.paging();
                out[2] = out[2] & !(1 << 27) | (((cr4 >> 18 & 1) as u32) << 27);
            }
            0x4000_0000 => out = [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d],
            0x4000_0001..=0x4fff_ffff => out = [0; 4],
            0x8000_0001 => out[2] &= !(1 << 2),
            0x8000_000a => out = [0; 4],
            _ => {}
        }
        out
    }
    pub(super) fn msr_value(&mut self, msr: u32) -> Option<u64> {
        match msr {
            MSR_APIC_BASE | MSR_TSC_DEADLINE | 0x800..=0x8ff => {
                self.apic.read_msr(msr, time::now()).ok()
            }
            0xc000_0080 => Some(self.cpu.efer()),
            0x277 => Some(self.cpu.pat()),
            _ => Some(0),
        }
    }
    pub(super) fn set_msr(&mut self, msr: u32, value: u64) -> bool {
        match msr {
            MSR_APIC_BASE | MSR_TSC_DEADLINE | 0x800..=0x8ff => {
                match self.apic.write_msr(msr, value, time::now()) {
                    Ok(e) => {
                        self.apply(e);
                        true
                    }
                    Err(_) => false,
                }
            }
            0xc000_0080 => {
                self.cpu.set_efer(value);
                true
            }
            0x277 => {
                self.cpu.set_pat(value);
                true
            }
            _ => true,
        }
    }
}
