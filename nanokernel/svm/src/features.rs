//! What the processor offers, and switching SVM on (APM2 15.4).

use core::arch::x86_64::{__cpuid, CpuidResult};
use x86_64::registers::model_specific::Msr;

const EFER: u32 = 0xc000_0080;
const VM_CR: u32 = 0xc001_0114;
const VM_HSAVE_PA: u32 = 0xc001_0117;

/// Why this machine cannot host a GPOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// CPUID 8000_0001 ECX bit 2 is clear.
    NoSvm,
    /// The firmware locked SVM off (VM_CR.SVMDIS).
    DisabledByFirmware,
    /// CPUID 8000_000A EDX bit 0 is clear.
    NoNestedPaging,
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoSvm => {
                "the processor has no SVM: use an AMD processor with virtualization \
                 (in QEMU: -cpu max, or -cpu qemu64,+svm,+npt)"
            }
            Self::DisabledByFirmware => {
                "SVM is switched off by the firmware: enable SVM (AMD-V) in its set-up"
            }
            Self::NoNestedPaging => {
                "the processor has SVM without nested paging: use one that has it \
                 (in QEMU: -cpu max, or add +npt)"
            }
        })
    }
}

/// Optional help that the processor gives (CPUID 8000_000A EDX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The next instruction's address is reported with an exit.
    pub next_rip: bool,
}

/// Checks the processor and switches SVM on with `host_save` as the host's save area.
///
/// # Safety
/// `host_save` is a 4 KiB page that nothing else ever touches (invariant `OWNED-RANGE`).
///
/// # Errors
/// [`Unsupported`] names what is missing and the remedy.
pub unsafe fn enable(host_save: u64) -> Result<Features, Unsupported> {
    let leaf = |leaf: u32| -> CpuidResult { __cpuid(leaf) };
    if leaf(0x8000_0000).eax < 0x8000_000a || leaf(0x8000_0001).ecx & (1 << 2) == 0 {
        return Err(Unsupported::NoSvm);
    }
    let svm = leaf(0x8000_000a);
    if svm.edx & 1 == 0 {
        return Err(Unsupported::NoNestedPaging);
    }
    // SAFETY: these MSRs exist where CPUID reports SVM; SVME only makes the instructions legal.
    unsafe {
        if Msr::new(VM_CR).read() & (1 << 4) != 0 {
            return Err(Unsupported::DisabledByFirmware);
        }
        let mut efer = Msr::new(EFER);
        let value = efer.read();
        efer.write(value | 1 << 12);
        Msr::new(VM_HSAVE_PA).write(host_save);
    }
    Ok(Features {
        next_rip: svm.edx & (1 << 3) != 0,
    })
}
