//! What the guest's processor does that the nanokernel must understand or answer.

use std::hint::black_box;

use super::input::{Input, read_flat};
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_policy::cpuid::{CpuidLeaf, HYPERVISOR_BASE, filter, optional_efer_bits};
use darma_policy::mmio::{
    CpuMode, GuestPhysRead, GuestRegs, Kind, Paging, Trapped, complete_read, complete_write,
    decode, instruction_length, read_linear, translate,
};
use darma_policy::msr::{ControlRegisters, MsrFacts, MsrPolicy, MsrRead, MsrWrite, Mtrrs};

const EFER_SVME: u64 = 1 << 12;

/// One instruction that touched a device: a mode, the page offset of the address, the code. Every
/// general register points at the device's page.
pub fn instruction(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mode = [CpuMode::Long, CpuMode::Compat32, CpuMode::Real16][usize::from(input.byte() % 3)];
    let fault = GuestPhys(0xfee0_0000 | u64::from(input.half() & 0xfff));
    let code = input.rest();
    for trapped in [
        Trapped::Cpuid,
        Trapped::Wrmsr,
        Trapped::Vmmcall,
        Trapped::Monitor,
        Trapped::PortAccess,
        Trapped::Any,
    ] {
        if let Ok(length) = instruction_length(code, mode, trapped) {
            assert!((1..=15).contains(&length) && usize::from(length) <= code.len());
        }
    }
    let before = GuestRegs {
        gpr: [0xfee0_0000; 16],
        rip: 0x1000,
        rflags: 2,
    };
    let Ok(access) = decode(code, mode, &before, fault) else {
        return;
    };
    assert!((1..=15).contains(&access.length) && usize::from(access.length) <= code.len());
    let mut after = before;
    if let Kind::Write { value } = access.kind {
        assert_eq!(value & !access.size.mask(), 0);
        complete_write(&mut after, &access, mode);
    } else {
        let written = complete_read(&mut after, &access, mode, 0x8765_4321_fedc_ba98);
        assert!(written.is_none_or(|value| value & !access.size.mask() == 0));
    }
    assert_eq!(after.rip, mode.advance(before.rip, access.length));
}

/// A walk of the guest's page tables: paging mode, root, address, then memory from 0 on.
pub fn page_walk(bytes: &[u8]) {
    struct Memory<'a>(&'a [u8]);
    impl GuestPhysRead for Memory<'_> {
        fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
            read_flat(self.0, at.0, out)
        }
    }
    let mut input = Input(bytes);
    let mode = u64::from(input.byte());
    let paging = Paging {
        cr0: (mode & 1) << 31,
        cr4: (mode >> 1 & 1) << 4 | (mode >> 2 & 1) << 5 | (mode >> 3 & 1) << 12,
        efer: (mode >> 4 & 1) << 10,
        cr3: input.quad(),
    };
    let at = GuestVirt(input.quad());
    let memory = Memory(input.rest());
    let found = translate(&memory, &paging, at);
    if let Ok(place) = found {
        assert!(place.0 < 1 << 52);
        assert_eq!(place.0 & 0xfff, at.0 & 0xfff);
    }
    let mut out = [0; 6000];
    let read = read_linear(&memory, &paging, at, &mut out);
    assert!(read <= out.len() && (read == 0 || found.is_ok()));
}

/// A history of MSR accesses: number and value each. The answers are applied as the edge does.
pub fn msr(bytes: &[u8]) {
    let mut input = Input(bytes);
    let seed = input.quad();
    let mut policy = MsrPolicy::new(MsrFacts {
        mtrrs: Mtrrs::capture(|number| seed ^ u64::from(number)),
        machine_check: seed,
        optional_efer: seed & 0x0020_c000,
    });
    let mut control = ControlRegisters {
        efer: EFER_SVME | 0xd01,
        pat: 0x0007_0406_0007_0406,
        cr0: 0x8005_0033,
    };
    while !input.is_empty() {
        let (number, value) = (input.word(), input.quad());
        match policy.write(number, value, control) {
            Ok(MsrWrite::Efer(efer)) => {
                // VMRUN refuses a state without SVME, and one whose LMA does not fit its paging.
                assert_eq!(efer & EFER_SVME, EFER_SVME);
                assert_eq!(
                    (efer ^ control.efer) & 0x500,
                    0,
                    "LME and LMA while paging is on"
                );
                control.efer = efer;
            }
            Ok(MsrWrite::Pat(pat)) => {
                assert!(
                    pat.to_le_bytes()
                        .iter()
                        .all(|kind| *kind <= 7 && !matches!(kind, 2 | 3))
                );
                control.pat = pat;
            }
            other => drop(black_box(other)),
        }
        if let Ok(MsrRead::Value(value)) = policy.read(number, control)
            && number == 0xc000_0080
        {
            assert_eq!(value & EFER_SVME, 0);
        }
    }
    let _ = black_box(policy.counters());
}

/// CPUID under a processor that answers the first sixteen bytes to everything: leaf, subleaf, CR4.
pub fn cpuid(bytes: &[u8]) {
    let mut input = Input(bytes);
    let answer = CpuidLeaf {
        eax: input.word(),
        ebx: input.word(),
        ecx: input.word(),
        edx: input.word(),
    };
    let host = |_, _| answer;
    assert_eq!(optional_efer_bits(host) & !0x0020_c000, 0);
    while !input.is_empty() {
        let (leaf, subleaf, cr4) = (input.word(), input.word(), input.quad());
        let shown = filter(leaf, subleaf, cr4, host);
        match leaf {
            1 => assert_eq!(shown.ecx & (1 << 3 | 1 << 5), 0, "MONITOR, VMX"),
            0x8000_0001 => assert_eq!(shown.ecx & 1 << 2, 0, "SVM"),
            0x8000_000a => assert_eq!(shown, CpuidLeaf::default(), "SVM's own leaf"),
            HYPERVISOR_BASE => assert_eq!(shown.ebx.to_le_bytes(), *b"KVMK"),
            _ => {}
        }
    }
}
