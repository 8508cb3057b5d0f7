//! From the decoder's opcode names to the operations that [`super::decode`] understands.
//!
//! A table of names rather than the decoder's own mnemonic and memory-size tables: those would add
//! 20 KiB of constants to an image that has 128 KiB (decision 0002). The form of the operands
//! (register, constant, memory first or second) is read from the instruction, so one row serves
//! all forms of one width.

use iced_x86::Code;

use super::arithmetic::Operation;
use super::registers::Width;

/// What an opcode does with its memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A plain copy, either way.
    Move,
    /// A copy into a wider register.
    MoveZero,
    /// A copy into a wider register, with the sign.
    MoveSign,
    /// Exchange with a register.
    Exchange,
    /// Arithmetic with a register or a constant.
    Arithmetic(Operation),
    /// Arithmetic with the implied constant one, or no operand at all.
    Unary(Operation),
}

/// The meaning of `code` and the width of its memory operand, or `None` if it is not among the
/// instructions that are emulated.
pub(super) fn meaning(code: Code) -> Option<(Meaning, Width)> {
    use Code as C;
    use Meaning::{Arithmetic, Exchange, Move, MoveSign, MoveZero, Unary};
    use Operation as Op;
    use Width::{Eight, Four, One, Two};
    Some(match code {
        C::Mov_rm8_r8 | C::Mov_r8_rm8 | C::Mov_rm8_imm8 | C::Mov_AL_moffs8 | C::Mov_moffs8_AL => {
            (Move, One)
        }
        C::Mov_rm16_r16
        | C::Mov_r16_rm16
        | C::Mov_rm16_imm16
        | C::Mov_AX_moffs16
        | C::Mov_moffs16_AX => (Move, Two),
        C::Mov_rm32_r32
        | C::Mov_r32_rm32
        | C::Mov_rm32_imm32
        | C::Mov_EAX_moffs32
        | C::Mov_moffs32_EAX => (Move, Four),
        C::Mov_rm64_r64
        | C::Mov_r64_rm64
        | C::Mov_rm64_imm32
        | C::Mov_RAX_moffs64
        | C::Mov_moffs64_RAX => (Move, Eight),

        C::Movzx_r16_rm8 | C::Movzx_r32_rm8 | C::Movzx_r64_rm8 => (MoveZero, One),
        C::Movzx_r16_rm16 | C::Movzx_r32_rm16 | C::Movzx_r64_rm16 => (MoveZero, Two),
        C::Movsx_r16_rm8 | C::Movsx_r32_rm8 | C::Movsx_r64_rm8 => (MoveSign, One),
        C::Movsx_r16_rm16 | C::Movsx_r32_rm16 | C::Movsx_r64_rm16 => (MoveSign, Two),
        C::Movsxd_r64_rm32 => (MoveSign, Four),

        C::Xchg_rm8_r8 => (Exchange, One),
        C::Xchg_rm16_r16 => (Exchange, Two),
        C::Xchg_rm32_r32 => (Exchange, Four),
        C::Xchg_rm64_r64 => (Exchange, Eight),

        C::Add_rm8_r8 | C::Add_r8_rm8 | C::Add_rm8_imm8 => (Arithmetic(Op::Add), One),
        C::Add_rm16_r16 | C::Add_r16_rm16 | C::Add_rm16_imm16 | C::Add_rm16_imm8 => {
            (Arithmetic(Op::Add), Two)
        }
        C::Add_rm32_r32 | C::Add_r32_rm32 | C::Add_rm32_imm32 | C::Add_rm32_imm8 => {
            (Arithmetic(Op::Add), Four)
        }
        C::Add_rm64_r64 | C::Add_r64_rm64 | C::Add_rm64_imm32 | C::Add_rm64_imm8 => {
            (Arithmetic(Op::Add), Eight)
        }
        C::Or_rm8_r8 | C::Or_r8_rm8 | C::Or_rm8_imm8 => (Arithmetic(Op::Or), One),
        C::Or_rm16_r16 | C::Or_r16_rm16 | C::Or_rm16_imm16 | C::Or_rm16_imm8 => {
            (Arithmetic(Op::Or), Two)
        }
        C::Or_rm32_r32 | C::Or_r32_rm32 | C::Or_rm32_imm32 | C::Or_rm32_imm8 => {
            (Arithmetic(Op::Or), Four)
        }
        C::Or_rm64_r64 | C::Or_r64_rm64 | C::Or_rm64_imm32 | C::Or_rm64_imm8 => {
            (Arithmetic(Op::Or), Eight)
        }
        C::And_rm8_r8 | C::And_r8_rm8 | C::And_rm8_imm8 => (Arithmetic(Op::And), One),
        C::And_rm16_r16 | C::And_r16_rm16 | C::And_rm16_imm16 | C::And_rm16_imm8 => {
            (Arithmetic(Op::And), Two)
        }
        C::And_rm32_r32 | C::And_r32_rm32 | C::And_rm32_imm32 | C::And_rm32_imm8 => {
            (Arithmetic(Op::And), Four)
        }
        C::And_rm64_r64 | C::And_r64_rm64 | C::And_rm64_imm32 | C::And_rm64_imm8 => {
            (Arithmetic(Op::And), Eight)
        }
        C::Sub_rm8_r8 | C::Sub_r8_rm8 | C::Sub_rm8_imm8 => (Arithmetic(Op::Sub), One),
        C::Sub_rm16_r16 | C::Sub_r16_rm16 | C::Sub_rm16_imm16 | C::Sub_rm16_imm8 => {
            (Arithmetic(Op::Sub), Two)
        }
        C::Sub_rm32_r32 | C::Sub_r32_rm32 | C::Sub_rm32_imm32 | C::Sub_rm32_imm8 => {
            (Arithmetic(Op::Sub), Four)
        }
        C::Sub_rm64_r64 | C::Sub_r64_rm64 | C::Sub_rm64_imm32 | C::Sub_rm64_imm8 => {
            (Arithmetic(Op::Sub), Eight)
        }
        C::Xor_rm8_r8 | C::Xor_r8_rm8 | C::Xor_rm8_imm8 => (Arithmetic(Op::Xor), One),
        C::Xor_rm16_r16 | C::Xor_r16_rm16 | C::Xor_rm16_imm16 | C::Xor_rm16_imm8 => {
            (Arithmetic(Op::Xor), Two)
        }
        C::Xor_rm32_r32 | C::Xor_r32_rm32 | C::Xor_rm32_imm32 | C::Xor_rm32_imm8 => {
            (Arithmetic(Op::Xor), Four)
        }
        C::Xor_rm64_r64 | C::Xor_r64_rm64 | C::Xor_rm64_imm32 | C::Xor_rm64_imm8 => {
            (Arithmetic(Op::Xor), Eight)
        }
        C::Cmp_rm8_r8 | C::Cmp_r8_rm8 | C::Cmp_rm8_imm8 => (Arithmetic(Op::Cmp), One),
        C::Cmp_rm16_r16 | C::Cmp_r16_rm16 | C::Cmp_rm16_imm16 | C::Cmp_rm16_imm8 => {
            (Arithmetic(Op::Cmp), Two)
        }
        C::Cmp_rm32_r32 | C::Cmp_r32_rm32 | C::Cmp_rm32_imm32 | C::Cmp_rm32_imm8 => {
            (Arithmetic(Op::Cmp), Four)
        }
        C::Cmp_rm64_r64 | C::Cmp_r64_rm64 | C::Cmp_rm64_imm32 | C::Cmp_rm64_imm8 => {
            (Arithmetic(Op::Cmp), Eight)
        }
        C::Test_rm8_r8 | C::Test_rm8_imm8 => (Arithmetic(Op::Test), One),
        C::Test_rm16_r16 | C::Test_rm16_imm16 => (Arithmetic(Op::Test), Two),
        C::Test_rm32_r32 | C::Test_rm32_imm32 => (Arithmetic(Op::Test), Four),
        C::Test_rm64_r64 | C::Test_rm64_imm32 => (Arithmetic(Op::Test), Eight),

        C::Inc_rm8 => (Unary(Op::Inc), One),
        C::Inc_rm16 => (Unary(Op::Inc), Two),
        C::Inc_rm32 => (Unary(Op::Inc), Four),
        C::Inc_rm64 => (Unary(Op::Inc), Eight),
        C::Dec_rm8 => (Unary(Op::Dec), One),
        C::Dec_rm16 => (Unary(Op::Dec), Two),
        C::Dec_rm32 => (Unary(Op::Dec), Four),
        C::Dec_rm64 => (Unary(Op::Dec), Eight),
        C::Not_rm8 => (Unary(Op::Not), One),
        C::Not_rm16 => (Unary(Op::Not), Two),
        C::Not_rm32 => (Unary(Op::Not), Four),
        C::Not_rm64 => (Unary(Op::Not), Eight),
        C::Neg_rm8 => (Unary(Op::Neg), One),
        C::Neg_rm16 => (Unary(Op::Neg), Two),
        C::Neg_rm32 => (Unary(Op::Neg), Four),
        C::Neg_rm64 => (Unary(Op::Neg), Eight),

        // Only with a constant bit number: with a register the addressed word depends on it.
        C::Bt_rm32_imm8 => (Arithmetic(Op::BitTest), Four),
        C::Bt_rm64_imm8 => (Arithmetic(Op::BitTest), Eight),
        C::Bts_rm32_imm8 => (Arithmetic(Op::BitSet), Four),
        C::Bts_rm64_imm8 => (Arithmetic(Op::BitSet), Eight),
        C::Btr_rm32_imm8 => (Arithmetic(Op::BitClear), Four),
        C::Btr_rm64_imm8 => (Arithmetic(Op::BitClear), Eight),
        C::Btc_rm32_imm8 => (Arithmetic(Op::BitFlip), Four),
        C::Btc_rm64_imm8 => (Arithmetic(Op::BitFlip), Eight),
        _ => return None,
    })
}
