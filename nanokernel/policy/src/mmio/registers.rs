//! The guest's general registers as plain numbers, and the parts of them that instructions name.
//!
//! The edge copies them from the virtual processor before a decode and back
//! after the completion; nothing here knows where they are kept.

use iced_x86::Register;

/// How the processor was interpreting instructions when it left the guest (CS.L and CS.D with
/// EFER.LMA; APM2 4.8.1, table 4-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuMode {
    /// 64-bit mode: EFER.LMA and CS.L set.
    Long,
    /// A 32-bit code segment, in compatibility or protected mode: CS.D set.
    Compat32,
    /// A 16-bit code segment, real mode included.
    Real16,
}

impl CpuMode {
    pub(super) const fn bitness(self) -> u32 {
        match self {
            Self::Long => 64,
            Self::Compat32 => 32,
            Self::Real16 => 16,
        }
    }

    /// The instruction pointer `length` bytes on, as wide as this mode keeps it.
    pub const fn advance(self, rip: u64, length: u8) -> u64 {
        let next = rip.wrapping_add(length as u64);
        match self {
            Self::Long => next,
            Self::Compat32 => next & 0xffff_ffff,
            Self::Real16 => next & 0xffff,
        }
    }
}

/// The width of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// In bits.
    pub const fn bits(self) -> u32 {
        self.bytes() as u32 * 8
    }

    /// All the bits of an operand this wide.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The highest bit of an operand this wide.
    pub const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `value`, taken as this wide, with its sign carried up to 64 bits.
    pub const fn sign_extend(self, value: u64) -> u64 {
        let value = value & self.mask();
        if value & self.sign_bit() == 0 {
            value
        } else {
            value | !self.mask()
        }
    }
}

/// One general register, or the part of it that an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterPart {
    /// In the processor's own order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    number: u8,
    slice: Slice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    Low(Width),
    /// AH, CH, DH or BH.
    SecondByte,
}

impl RegisterPart {
    pub(super) fn from_decoder(register: Register) -> Option<Self> {
        // The decoder numbers AL..BH, SPL..R15L, AX.., EAX.., RAX..R15 without gaps; its order is
        // the processor's, and the test below holds every name against it.
        let number = register as u32;
        let part = |first: Register, width| {
            let number = u8::try_from(number.checked_sub(first as u32)?).ok()?;
            (number < 16).then_some(Self {
                number,
                slice: Slice::Low(width),
            })
        };
        match register as u32 {
            n if n >= Register::RAX as u32 => part(Register::RAX, Width::Eight),
            n if n >= Register::EAX as u32 => part(Register::EAX, Width::Four),
            n if n >= Register::AX as u32 => part(Register::AX, Width::Two),
            n if n >= Register::SPL as u32 => {
                let number = u8::try_from(n - Register::SPL as u32 + 4).ok()?;
                Some(Self {
                    number,
                    slice: Slice::Low(Width::One),
                })
            }
            n if n >= Register::AH as u32 => {
                let number = u8::try_from(n - Register::AH as u32).ok()?;
                Some(Self {
                    number,
                    slice: Slice::SecondByte,
                })
            }
            n if n >= Register::AL as u32 => part(Register::AL, Width::One),
            _ => None,
        }
    }

    /// How much of the register is named.
    pub const fn width(self) -> Width {
        match self.slice {
            Slice::Low(width) => width,
            Slice::SecondByte => Width::One,
        }
    }
}

/// The guest's general registers at an exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestRegs {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// The instruction pointer, an offset in CS.
    pub rip: u64,
    /// The flags.
    pub rflags: u64,
}

impl GuestRegs {
    /// What `part` holds, without extension.
    pub fn read(&self, part: RegisterPart) -> u64 {
        let whole = self.gpr.get(usize::from(part.number)).copied().unwrap_or(0);
        match part.slice {
            Slice::Low(width) => whole & width.mask(),
            Slice::SecondByte => (whole >> 8) & 0xff,
        }
    }

    /// Writes `part` as the processor does: 32-bit results clear the upper half, narrower ones
    /// leave the rest of the register as it was (APM1 3.1.2).
    pub fn write(&mut self, part: RegisterPart, value: u64) {
        let Some(whole) = self.gpr.get_mut(usize::from(part.number)) else {
            return;
        };
        *whole = match part.slice {
            Slice::Low(width @ (Width::Four | Width::Eight)) => value & width.mask(),
            Slice::Low(width) => (*whole & !width.mask()) | (value & width.mask()),
            Slice::SecondByte => (*whole & !0xff00) | ((value & 0xff) << 8),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(register: Register) -> RegisterPart {
        RegisterPart::from_decoder(register).expect("a general register")
    }

    #[test]
    fn every_general_register_of_the_decoder_has_the_processors_number() {
        let expected = [
            (Register::AL, 0),
            (Register::BL, 3),
            (Register::AH, 0),
            (Register::BH, 3),
            (Register::SPL, 4),
            (Register::DIL, 7),
            (Register::R8L, 8),
            (Register::R15L, 15),
            (Register::AX, 0),
            (Register::DI, 7),
            (Register::R15W, 15),
            (Register::EAX, 0),
            (Register::EBX, 3),
            (Register::R8D, 8),
            (Register::R15D, 15),
            (Register::RAX, 0),
            (Register::RSP, 4),
            (Register::R15, 15),
        ];
        for (register, number) in expected {
            assert_eq!(part(register).number, number, "{register:?}");
        }
        assert_eq!(RegisterPart::from_decoder(Register::RIP), None);
        assert_eq!(RegisterPart::from_decoder(Register::None), None);
        assert_eq!(RegisterPart::from_decoder(Register::XMM0), None);
    }

    #[test]
    fn a_32_bit_result_clears_the_upper_half_and_narrower_ones_do_not() {
        let mut regs = GuestRegs {
            gpr: [u64::MAX; 16],
            ..GuestRegs::default()
        };
        regs.write(part(Register::ECX), 0x1234_5678);
        regs.write(part(Register::DX), 0x1234);
        regs.write(part(Register::BH), 0x12);
        regs.write(part(Register::SIL), 0x12);
        assert_eq!(regs.gpr[1], 0x1234_5678);
        assert_eq!(regs.gpr[2], 0xffff_ffff_ffff_1234);
        assert_eq!(regs.gpr[3], 0xffff_ffff_ffff_12ff);
        assert_eq!(regs.gpr[6], 0xffff_ffff_ffff_ff12);
        assert_eq!(regs.read(part(Register::BH)), 0x12);
    }
}
