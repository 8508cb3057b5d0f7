//! The notes: registers for `drgn`, the kernel's own description, registers for `crash`, and our words.
//!
//! Name and contents of a note are each padded to four bytes. There is no NT_TASKSTRUCT: it would make
//! `crash` choose the running task where no panic names one, but on Debian's cloud kernel `crash` 8.0.6 does
//! not start with it.

use darma_ras_model::fault_record::{Registers, Segment, Table};

/// Name and type of the registers' note.
pub const REGISTERS: (&[u8], u32) = (b"CORE\0", 1);
/// Name and type of the kernel's own description.
pub const VMCOREINFO: (&[u8], u32) = (b"VMCOREINFO\0", 0);
/// Name and type of the processor's whole state as the emulator would write it.
pub const PROCESSOR: (&[u8], u32) = (b"QEMU\0", 0);
/// Name and type of what is said about the dump: lines of `key=value`. The type is one that no tool takes
/// for its own, whatever name it stands with.
pub const OURS: (&[u8], u32) = (b"DARMA\0", 0x4441);

/// The notes of one core.
#[derive(Clone, Debug, Default)]
pub struct Notes(Vec<u8>);

impl Notes {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one. Contents longer than 4 GiB are cut.
    pub fn add(&mut self, (name, kind): (&[u8], u32), contents: &[u8]) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for number in [length(name), length(contents), kind] {
            self.0.extend(number.to_le_bytes());
        }
        for part in [name, contents] {
            self.0.extend(part);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
    }

    /// All of them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `struct elf_prstatus` of x86-64 (Linux, include/uapi/linux/elfcore.h). All zero but the registers and
/// `pr_pid`, which in a kernel's core is the processor's number plus one: `drgn` finds a processor's
/// registers by it.
#[must_use]
pub fn prstatus(registers: &Registers, processor: u32) -> Vec<u8> {
    const PR_PID: usize = 32;
    const PR_REG: usize = 112;
    const BYTES: usize = 336;
    let r = registers;
    let values = [
        r.r15,
        r.r14,
        r.r13,
        r.r12,
        r.rbp,
        r.rbx,
        r.r11,
        r.r10,
        r.r9,
        r.r8,
        r.rax,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        // orig_rax: no system call to be restarted.
        u64::MAX,
        r.rip,
        u64::from(r.cs.selector),
        r.rflags,
        r.rsp,
        u64::from(r.ss.selector),
        r.fs.base,
        r.gs.base,
        u64::from(r.ds.selector),
        u64::from(r.es.selector),
        u64::from(r.fs.selector),
        u64::from(r.gs.selector),
    ];
    let mut note = vec![0; PR_PID];
    note.extend(processor.saturating_add(1).to_le_bytes());
    note.resize(PR_REG, 0);
    note.extend(values.into_iter().flat_map(u64::to_le_bytes));
    note.resize(BYTES, 0);
    note
}

/// `QEMUCPUState`, version 1 (QEMU, target/i386/arch_dump.c). With it `crash` starts where VMCOREINFO is
/// lost, and begins a hung task's backtrace at the true registers.
#[must_use]
pub fn processor_state(registers: &Registers) -> Vec<u8> {
    const VERSION: u32 = 1;
    const BYTES: u32 = 440;
    let r = registers;
    let mut note = Vec::new();
    note.extend(VERSION.to_le_bytes());
    note.extend(BYTES.to_le_bytes());
    let general = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12,
        r.r13, r.r14, r.r15, r.rip, r.rflags,
    ];
    note.extend(general.into_iter().flat_map(u64::to_le_bytes));
    for segment in [
        r.cs,
        r.ds,
        r.es,
        r.fs,
        r.gs,
        r.ss,
        r.ldtr,
        r.tr,
        plain(r.gdtr),
        plain(r.idtr),
    ] {
        let fields = [
            u32::from(segment.selector),
            segment.limit,
            descriptor_flags(segment.attributes),
            0,
        ];
        note.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        note.extend(segment.base.to_le_bytes());
    }
    let control = [r.cr0, 0, r.cr2, r.cr3, r.cr4, r.kernel_gs_base];
    note.extend(control.into_iter().flat_map(u64::to_le_bytes));
    note
}

fn plain(table: Table) -> Segment {
    Segment {
        selector: 0,
        attributes: 0,
        limit: u32::try_from(table.limit).unwrap_or(u32::MAX),
        base: table.base,
    }
}

/// From SVM's packed attributes (APM2 15.5.1) to their places in a descriptor's upper half.
const fn descriptor_flags(attributes: u16) -> u32 {
    let low = (attributes & 0x0ff) as u32;
    let high = (attributes & 0xf00) as u32;
    low << 8 | high << 12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(note: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(*note[at..].first_chunk().expect("inside"))
    }

    #[test]
    fn registers_stand_where_the_kernels_structure_has_them() {
        let mut registers = Registers {
            r15: 15,
            rip: 0xffff_ffff_8100_0000,
            rsp: 77,
            ..Registers::default()
        };
        registers.gs.base = 99;
        let note = prstatus(&registers, 0);
        assert_eq!(note.len(), 336);
        assert_eq!(word(&note, 32) & 0xffff_ffff, 1);
        assert_eq!(word(&note, 112), 15);
        assert_eq!(word(&note, 112 + 15 * 8), u64::MAX);
        assert_eq!(word(&note, 112 + 16 * 8), 0xffff_ffff_8100_0000);
        assert_eq!(word(&note, 112 + 19 * 8), 77);
        assert_eq!(word(&note, 112 + 22 * 8), 99);
    }

    #[test]
    fn the_processors_state_has_its_length_and_its_segments() {
        let mut registers = Registers {
            cr3: 0x1000,
            kernel_gs_base: 5,
            ..Registers::default()
        };
        registers.cs.attributes = 0xa9b;
        registers.idtr.base = 0xffff_fe00_0000_0000;
        let note = processor_state(&registers);
        assert_eq!(note.len(), 440);
        let flags = word(&note, 152 + 8) & 0xffff_ffff;
        assert_eq!(flags, 0x00a0_9b00, "64-bit code");
        assert_eq!(word(&note, 152 + 9 * 24 + 16), 0xffff_fe00_0000_0000);
        assert_eq!(word(&note, 392 + 3 * 8), 0x1000);
        assert_eq!(word(&note, 432), 5);
    }

    #[test]
    fn names_and_contents_are_padded_to_four_bytes() {
        let mut notes = Notes::new();
        notes.add(VMCOREINFO, b"12345");
        notes.add(OURS, b"");
        assert_eq!(notes.bytes().len(), 12 + 12 + 8 + 12 + 8);
        assert_eq!(&notes.bytes()[24..32], b"12345\0\0\0");
    }
}
