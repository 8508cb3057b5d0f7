//! Which of the guest's tables was ruined, asked when its processor has shut down.

use super::Gpos;
use darma_policy::mmio::Paging;
use darma_ras_model::detect::{Ruin, TableRegister, ruin};

impl Gpos {
    /// Follows the guest's own way to its fault handlers.
    #[inline(never)]
    pub(super) fn ruin(&self) -> Ruin {
        let (cr0, cr3, cr4, efer) = self.cpu.paging();
        let paging = Paging {
            cr0,
            cr3,
            cr4,
            efer,
        };
        let [idt, gdt] = self
            .cpu
            .descriptor_tables()
            .map(|(base, limit)| TableRegister { base, limit });
        ruin(&self.memory, &paging, idt, gdt, self.cpu.rip())
    }
}
