//! The end of an emulated instruction: what the guest's registers hold once the device answered.

use super::decode::{Access, Extend, Kind, Target};
use super::registers::{CpuMode, GuestRegs};

fn step(regs: &mut GuestRegs, access: &Access, mode: CpuMode) {
    regs.rip = mode.advance(regs.rip, access.length);
}

/// Finishes an access whose [`Kind`] is a read or a modify with the `value` that the device
/// answered. Moves RIP past the instruction.
///
/// Returns the value that the instruction then writes back to the same place, if it does: a
/// read-modify-write is two device accesses.
#[must_use = "a read-modify-write has a second half"]
pub fn complete_read(
    regs: &mut GuestRegs,
    access: &Access,
    mode: CpuMode,
    value: u64,
) -> Option<u64> {
    step(regs, access, mode);
    let value = value & access.size.mask();
    match access.kind {
        Kind::Read { into, extend } => {
            let extended = match extend {
                Extend::Zero => value,
                Extend::Sign => access.size.sign_extend(value),
            };
            regs.write(into, extended);
            None
        }
        Kind::Write { .. } => None,
        Kind::Modify {
            operation,
            operand,
            target,
        } => match target {
            Target::Memory { old_into } => {
                let (result, rflags) = operation.apply(access.size, value, operand, regs.rflags);
                regs.rflags = rflags;
                if let Some(part) = old_into {
                    regs.write(part, value);
                }
                Some(result)
            }
            Target::Register(part) => {
                let (result, rflags) =
                    operation.apply(access.size, regs.read(part), value, regs.rflags);
                regs.rflags = rflags;
                if operation.keeps_result() {
                    regs.write(part, result);
                }
                None
            }
            Target::Flags => {
                regs.rflags = operation.apply(access.size, value, operand, regs.rflags).1;
                None
            }
        },
    }
}

/// Finishes an access whose [`Kind`] is a write, after the device took the value: moves RIP past
/// the instruction.
pub fn complete_write(regs: &mut GuestRegs, access: &Access, mode: CpuMode) {
    step(regs, access, mode);
}
