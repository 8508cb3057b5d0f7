//! Which of the guest's tables was ruined, asked when its processor has shut down.

use super::Gpos;
use darma_abi::units::GuestVirt;
use darma_policy::mmio::Paging;
use darma_ras_model::detect::{Ruin, TableRegister, ruin};
use darma_svm::state::SegmentState;

impl Gpos {
    /// Follows the guest's own way to its fault handlers.
    #[inline(never)]
    pub(super) fn ruin(&self) -> Ruin {
        let frozen = self.cpu.freeze();
        let (cr0, cr3, cr4, efer) = self.cpu.paging();
        let paging = Paging {
            cr0,
            cr3,
            cr4,
            efer,
        };
        let table = |of: SegmentState| TableRegister {
            base: GuestVirt(of.base),
            limit: of.limit,
        };
        let (idt, gdt) = (table(frozen.idtr), table(frozen.gdtr));
        ruin(&self.memory, &paging, idt, gdt, self.cpu.rip())
    }
}
