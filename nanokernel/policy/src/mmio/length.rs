//! By how much RIP moves past an instruction that trapped.
//!
//! Without NRIPS (QEMU's emulation has none) the exit does not say. The bytes are decoded, and must
//! still be the instruction that the exit code names: if the guest changed them in between, the
//! exit is answered by running the guest again rather than by a wrong skip. Port accesses need
//! none of this: EXITINFO2 holds their next RIP (APM2 15.10.2).

use iced_x86::Code;

use super::decode::{Unknown, instruction};
use super::registers::CpuMode;

/// The instructions that leave the guest by an intercept of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trapped {
    /// CPUID.
    Cpuid,
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// HLT.
    Hlt,
    /// VMMCALL, and VMCALL, which Linux may try first.
    Vmmcall,
    /// RDTSC.
    Rdtsc,
    /// RDTSCP.
    Rdtscp,
    /// RDPMC.
    Rdpmc,
    /// INVD.
    Invd,
    /// WBINVD.
    Wbinvd,
    /// XSETBV.
    Xsetbv,
    /// MONITOR or MONITORX.
    Monitor,
    /// MWAIT or MWAITX.
    Mwait,
    /// PAUSE.
    Pause,
    /// Any form of IN, OUT, INS, OUTS.
    PortAccess,
    /// Whatever stands there.
    Any,
}

impl Trapped {
    /// Its bytes in the one form that programs use, without prefixes; `None` where there are several.
    pub const fn plain(self) -> Option<[u8; 2]> {
        match self {
            Self::Cpuid => Some([0x0f, 0xa2]),
            Self::Rdmsr => Some([0x0f, 0x32]),
            Self::Wrmsr => Some([0x0f, 0x30]),
            _ => None,
        }
    }

    fn matches(self, code: Code) -> bool {
        use Code as C;
        match self {
            Self::Cpuid => code == C::Cpuid,
            Self::Rdmsr => code == C::Rdmsr,
            Self::Wrmsr => code == C::Wrmsr,
            Self::Hlt => code == C::Hlt,
            Self::Vmmcall => matches!(code, C::Vmmcall | C::Vmcall),
            Self::Rdtsc => code == C::Rdtsc,
            Self::Rdtscp => code == C::Rdtscp,
            Self::Rdpmc => code == C::Rdpmc,
            Self::Invd => code == C::Invd,
            Self::Wbinvd => code == C::Wbinvd,
            Self::Xsetbv => code == C::Xsetbv,
            Self::Monitor => matches!(
                code,
                C::Monitorw
                    | C::Monitord
                    | C::Monitorq
                    | C::Monitorxw
                    | C::Monitorxd
                    | C::Monitorxq
            ),
            Self::Mwait => matches!(code, C::Mwait | C::Mwaitx),
            Self::Pause => code == C::Pause,
            Self::PortAccess => matches!(
                code,
                C::In_AL_imm8
                    | C::In_AX_imm8
                    | C::In_EAX_imm8
                    | C::In_AL_DX
                    | C::In_AX_DX
                    | C::In_EAX_DX
                    | C::Out_imm8_AL
                    | C::Out_imm8_AX
                    | C::Out_imm8_EAX
                    | C::Out_DX_AL
                    | C::Out_DX_AX
                    | C::Out_DX_EAX
                    | C::Insb_m8_DX
                    | C::Insw_m16_DX
                    | C::Insd_m32_DX
                    | C::Outsb_DX_m8
                    | C::Outsw_DX_m16
                    | C::Outsd_DX_m32
            ),
            Self::Any => true,
        }
    }
}

/// The length in bytes of the instruction that starts `bytes` and is expected to be `trapped`.
///
/// # Errors
/// [`Unknown::Undecodable`] if the bytes are no instruction,
/// [`Unknown::Unsupported`] if another instruction stands there.
pub fn instruction_length(bytes: &[u8], mode: CpuMode, trapped: Trapped) -> Result<u8, Unknown> {
    let (instruction, length) = instruction(bytes, mode, 0).ok_or(Unknown::Undecodable)?;
    if trapped.matches(instruction.code()) {
        Ok(length)
    } else {
        Err(Unknown::Unsupported { length })
    }
}

/// The length of a [`Trapped::plain`] instruction, bytes.
pub const PLAIN_LENGTH: u8 = 2;

/// Makes the decoder build its tables: about 103 KB in 2056 allocations, once. Called at start-up,
/// so that no decode allocates afterwards.
///
/// Returns whether the decoder knows CPUID, which it always does: a self-test that costs nothing.
#[must_use]
pub fn warm_up() -> bool {
    instruction_length(&[0x0f, 0xa2], CpuMode::Long, Trapped::Cpuid) == Ok(2)
}
