//! The instruction at the guest's RIP: fetched from its memory, measured, or decoded.

use super::Gpos;
use darma_abi::units::GuestVirt;
use darma_policy::mmio::{
    CpuMode, GuestRegs, PLAIN_LENGTH, Paging, Trapped, instruction_length, read_linear, translate,
};

/// The longest instruction (APM3 1.1).
const LONGEST: usize = 15;

impl Gpos {
    /// How the guest's processor interprets instructions now.
    pub(super) fn mode(&self) -> CpuMode {
        const LMA: u64 = 1 << 10;
        const LONG_SEGMENT: u16 = 1 << 9;
        const BIG_SEGMENT: u16 = 1 << 10;
        let (_, attributes, _) = self.cpu.code_segment();
        if self.cpu.efer() & LMA != 0 && attributes & LONG_SEGMENT != 0 {
            CpuMode::Long
        } else if attributes & BIG_SEGMENT != 0 {
            CpuMode::Compat32
        } else {
            CpuMode::Real16
        }
    }

    /// Fetches as many bytes at RIP as `buffer` has room for; the slice is shorter where memory ends.
    pub(super) fn fetch<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let (cr0, cr3, cr4, efer) = self.cpu.paging();
        let (base, ..) = self.cpu.code_segment();
        let base = if self.mode() == CpuMode::Long {
            0
        } else {
            base
        };
        let at = GuestVirt(self.cpu.rip().0.wrapping_add(base));
        let read = read_linear(
            &self.memory,
            &Paging {
                cr0,
                cr3,
                cr4,
                efer,
            },
            at,
            buffer,
        );
        buffer.get(..read).unwrap_or_default()
    }

    /// Moves RIP past the trapped instruction. Where the bytes are not that instruction any more,
    /// RIP stays and the guest runs into whatever stands there now.
    pub(super) fn skip(&mut self, trapped: Trapped) {
        if let Some(next) = self.cpu.reported_next_rip() {
            self.cpu.resume_at(next);
            return;
        }
        if trapped
            .plain()
            .is_some_and(|bytes| self.mode() == CpuMode::Long && self.stands_at_rip(bytes))
        {
            self.advance(PLAIN_LENGTH);
            return;
        }
        let mut buffer = [0; LONGEST];
        let bytes = self.fetch(&mut buffer);
        if let Ok(length) = instruction_length(bytes, self.mode(), trapped) {
            self.advance(length);
        }
    }

    /// Whether these bytes stand at RIP, in 64-bit mode; no if they span two pages.
    fn stands_at_rip(&mut self, bytes: [u8; 2]) -> bool {
        let rip = self.cpu.rip();
        let (cr0, cr3, cr4, efer) = self.cpu.paging();
        if rip.0 & 0xfff == 0xfff {
            return false;
        }
        // What is remembered may be out of date: then the tables are asked.
        if let Some(at) = self.code_pages.find(cr3, rip)
            && self.memory.pair(&at) == bytes
        {
            return true;
        }
        let paging = Paging {
            cr0,
            cr3,
            cr4,
            efer,
        };
        let found = translate(&self.memory, &paging, rip).ok();
        let Some(page) = found.and_then(|at| self.memory.page_of(at)) else {
            return false;
        };
        let at = self.code_pages.remember(cr3, rip, page);
        self.memory.pair(&at) == bytes
    }

    /// Moves RIP on by `length` bytes.
    pub(super) fn advance(&mut self, length: u8) {
        let next = self.mode().advance(self.cpu.rip().0, length);
        self.cpu.resume_at(GuestVirt(next));
    }

    /// The guest's registers in the decoder's form.
    pub(super) fn registers(&self) -> GuestRegs {
        let mut regs = GuestRegs {
            rip: self.cpu.rip().0,
            rflags: self.cpu.rflags(),
            ..GuestRegs::default()
        };
        for (slot, number) in regs.gpr.iter_mut().zip(0u8..) {
            *slot = self.cpu.register(number);
        }
        regs
    }

    /// Takes back what an emulated instruction left in the registers.
    pub(super) fn set_registers(&mut self, regs: &GuestRegs) {
        for (value, number) in regs.gpr.iter().zip(0u8..) {
            self.cpu.set_register(number, *value);
        }
        self.cpu.set_rflags(regs.rflags);
        self.cpu.resume_at(GuestVirt(regs.rip));
    }
}
