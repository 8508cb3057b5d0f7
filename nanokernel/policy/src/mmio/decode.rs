//! From the bytes at RIP to the device access that they ask for.
//!
//! The faulting guest-physical address is known from the exit; the instruction says the rest. As a
//! check that the bytes fetched are the ones that faulted (the guest, or a device by DMA, may have
//! changed them since), the offset within the page that the instruction computes must be the
//! fault's: paging never changes the low 12 bits.

use darma_abi::units::GuestPhys;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::arithmetic::Operation;
use super::opcodes::{Meaning, meaning};
use super::registers::{CpuMode, GuestRegs, RegisterPart, Width};

/// A device access, as the instruction at RIP makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The instruction's length in bytes, 1 to 15.
    pub length: u8,
    /// How wide the device is accessed.
    pub size: Width,
    /// What is done there.
    pub kind: Kind,
}

/// The direction of an access and what becomes of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The device's value goes into a register.
    Read {
        /// The register, whose width may exceed the access's.
        into: RegisterPart,
        /// How the value fills it.
        extend: Extend,
    },
    /// A value goes to the device.
    Write {
        /// No wider than the access.
        value: u64,
    },
    /// The device's value is read and computed with.
    Modify {
        /// The computation.
        operation: Operation,
        /// Its second operand, unless the target is a register.
        operand: u64,
        /// Where its result goes.
        target: Target,
    },
}

/// How a value fills a wider register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extend {
    /// With zeros.
    Zero,
    /// With its highest bit.
    Sign,
}

/// Where the result of [`Kind::Modify`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Back to the device.
    Memory {
        /// The register that receives the old value, in an exchange.
        old_into: Option<RegisterPart>,
    },
    /// Into a register, which is the first operand; the device's value is the second.
    Register(RegisterPart),
    /// Nowhere: only the flags change.
    Flags,
}

/// Why an access could not be decoded. The caller answers as absent hardware (reads are all ones,
/// writes ignored) if the length is known, and counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The bytes are no instruction, or fewer than the instruction has.
    Undecodable,
    /// A valid instruction that is not emulated.
    Unsupported {
        /// Its length in bytes, so that it can be skipped.
        length: u8,
    },
    /// The instruction does not touch the address that faulted.
    AnotherAddress {
        /// Its length in bytes.
        length: u8,
    },
}

impl Unknown {
    /// By how much RIP would move past the instruction, where that is known.
    pub const fn length(self) -> Option<u8> {
        match self {
            Self::Undecodable => None,
            Self::Unsupported { length } | Self::AnotherAddress { length } => Some(length),
        }
    }
}

/// The instruction that starts `bytes`, with its length.
pub(super) fn instruction(bytes: &[u8], mode: CpuMode, rip: u64) -> Option<(Instruction, u8)> {
    let bytes = bytes.get(..15).unwrap_or(bytes);
    // AMD's own forms where vendors differ.
    let mut decoder = Decoder::try_with_ip(mode.bitness(), bytes, rip, DecoderOptions::AMD).ok()?;
    let mut instruction = Instruction::default();
    decoder.decode_out(&mut instruction);
    if instruction.code() == Code::INVALID {
        return None;
    }
    let length = u8::try_from(instruction.len()).ok()?;
    Some((instruction, length))
}

/// Decodes the instruction that starts `bytes`, which were fetched at RIP and of which 15 always
/// suffice, as an access to the guest-physical address `fault`.
///
/// # Errors
/// [`Unknown`] for what is no instruction, none that is emulated (string moves, stack operations,
/// vector registers, compare-and-exchange), or none that touches `fault`.
pub fn decode(
    bytes: &[u8],
    mode: CpuMode,
    regs: &GuestRegs,
    fault: GuestPhys,
) -> Result<Access, Unknown> {
    let (instruction, length) = instruction(bytes, mode, regs.rip).ok_or(Unknown::Undecodable)?;
    let unsupported = Unknown::Unsupported { length };
    let (meaning, size) = meaning(instruction.code()).ok_or(unsupported)?;
    let offset = page_offset(&instruction, regs).ok_or(unsupported)?;
    if offset.is_some_and(|offset| offset != fault.0 & 0xfff) {
        return Err(Unknown::AnotherAddress { length });
    }
    let kind = kind(&instruction, meaning, size, regs).ok_or(unsupported)?;
    Ok(Access { length, size, kind })
}

fn kind(
    instruction: &Instruction,
    meaning: Meaning,
    size: Width,
    regs: &GuestRegs,
) -> Option<Kind> {
    let to_memory = is_memory(instruction.op0_kind());
    let first = RegisterPart::from_decoder(instruction.op0_register());
    // The second operand when it is not memory: a constant, extended by the decoder, or a register.
    let second = || match instruction.op1_kind() {
        OpKind::Register => {
            Some(regs.read(RegisterPart::from_decoder(instruction.op1_register())?))
        }
        _ => Some(instruction.try_immediate(1).ok()? & size.mask()),
    };
    Some(match meaning {
        Meaning::Move if to_memory => Kind::Write { value: second()? },
        Meaning::Move | Meaning::MoveZero => Kind::Read {
            into: first?,
            extend: Extend::Zero,
        },
        Meaning::MoveSign => Kind::Read {
            into: first?,
            extend: Extend::Sign,
        },
        Meaning::Exchange => {
            let old_into = Some(RegisterPart::from_decoder(instruction.op1_register())?);
            let target = Target::Memory { old_into };
            Kind::Modify {
                operation: Operation::Swap,
                operand: second()?,
                target,
            }
        }
        Meaning::Unary(operation) => Kind::Modify {
            operation,
            operand: 1,
            target: Target::Memory { old_into: None },
        },
        Meaning::Arithmetic(operation) if !to_memory => Kind::Modify {
            operation,
            operand: 0,
            target: Target::Register(first?),
        },
        Meaning::Arithmetic(operation) => Kind::Modify {
            operation,
            operand: second()?,
            target: if operation.keeps_result() {
                Target::Memory { old_into: None }
            } else {
                Target::Flags
            },
        },
    })
}

fn is_memory(kind: OpKind) -> bool {
    kind == OpKind::Memory
}

/// The low 12 bits of the memory operand's linear address: `None` if there is no such operand,
/// `Some(None)` if a segment whose base is not known here (FS, GS, anything outside 64-bit mode)
/// takes part. Segment bases are zero for the others in 64-bit mode (APM2 4.5.3).
#[allow(
    clippy::option_option,
    reason = "absence of an operand and of a base are two things"
)]
fn page_offset(instruction: &Instruction, regs: &GuestRegs) -> Option<Option<u64>> {
    if !is_memory(instruction.op0_kind()) && !is_memory(instruction.op1_kind()) {
        return None;
    }
    if instruction.code_size() != iced_x86::CodeSize::Code64
        || matches!(instruction.segment_prefix(), Register::FS | Register::GS)
    {
        return Some(None);
    }
    let value = |register| RegisterPart::from_decoder(register).map_or(0, |part| regs.read(part));
    let base = match instruction.memory_base() {
        // The decoder has already added RIP to the displacement.
        Register::RIP | Register::EIP => 0,
        register => value(register),
    };
    let scaled =
        value(instruction.memory_index()).wrapping_mul(u64::from(instruction.memory_index_scale()));
    let linear = base
        .wrapping_add(scaled)
        .wrapping_add(instruction.memory_displacement64());
    Some(Some(linear & 0xfff))
}
