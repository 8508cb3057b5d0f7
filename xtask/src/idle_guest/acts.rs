//! What a guest does that goes wrong: ways to fail, to hang, and to reach for what is not its own.

use anyhow::Result;
use darma_abi::units::Nanos;

use super::machine_code::{Code, Label};
use super::{Places, apic, gate};

/// One such act. Those that end in a spin or in a fault are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sets its timer, which may then find it at anything.
    SetTimer(Nanos),
    /// Halts, interrupts off.
    HaltDeaf,
    /// Sends itself a non-maskable interrupt, whose handler returns at once.
    Nmi,
    /// Sends itself a non-maskable interrupt, whose handler spins for good.
    NmiSpin,
    /// Points its page tables to nowhere.
    LosePages,
    /// Loads an interrupt table of zeros and faults.
    LoseDescriptors,
    /// Reads four bytes of memory.
    Touch(u32),
    /// Writes a byte to a port.
    Out(u16, u8),
    /// Writes a model-specific register; the fault that may follow has no handler.
    WriteMsr(u32),
}

const NMI_VECTOR: u8 = 2;

pub(super) fn perform(code: &mut Code, act: Act, places: &Places) -> Result<()> {
    match act {
        Act::SetTimer(time) => apic(code, 0x380, u32::try_from(time.0)?.max(1)),
        Act::HaltDeaf => {
            code.put(&[0xf4]); // hlt
        }
        Act::Nmi => send_nmi(code, places, places.nmi),
        Act::NmiSpin => send_nmi(code, places, places.nmi_spin),
        Act::LosePages => {
            code.put(&[0xb8]).u32(0).put(&[0x0f, 0x22, 0xd8]); // mov eax, 0; mov cr3, rax
        }
        Act::LoseDescriptors => {
            code.put(&[0x48, 0x8d, 0x05]).relative(places.zeros); // lea rax, [zeros]
            code.put(&[0x50, 0x48, 0x83, 0xec, 2]); // push rax; sub rsp, 2
            code.put(&[0x66, 0xc7, 0x04, 0x24, 0xff, 0]); // mov word [rsp], 255
            code.put(&[0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b]); // lidt [rsp]; ud2
        }
        Act::Touch(at) => {
            code.put(&[0xbe]).u32(at).put(&[0x8b, 0x06]); // mov esi, at; mov eax, [rsi]
        }
        Act::Out(port, value) => {
            code.put(&[0xba]).u32(u32::from(port)); // mov edx, port
            code.put(&[0xb0, value, 0xee]); // mov al, value; out dx, al
        }
        Act::WriteMsr(register) => {
            // mov ecx, register; xor eax, eax; xor edx, edx; wrmsr
            code.put(&[0xb9]).u32(register);
            code.put(&[0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30]);
        }
    }
    Ok(())
}

/// Aims the gate at `handler` and sends a non-maskable interrupt to the processor itself.
fn send_nmi(code: &mut Code, places: &Places, handler: Label) {
    const SELF_NMI: u32 = 1 << 18 | 4 << 8;
    gate(code, places, NMI_VECTOR, handler);
    apic(code, 0x300, SELF_NMI);
}
