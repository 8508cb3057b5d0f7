//! Decode, completion, lengths and the page walk, against encodings as Linux's compiler emits them.

extern crate std;

use std::collections::BTreeMap;

use darma_abi::units::{GuestPhys, GuestVirt};
use proptest::prelude::*;

use super::walk::read_linear;
use super::*;

const APIC: u64 = 0xfee0_0000;

/// RAX, RCX, .. hold 0x1111_1111_1111_1111 times their number plus one; RDI points at the APIC.
fn regs() -> GuestRegs {
    let mut regs = GuestRegs {
        rip: 0x1000,
        rflags: 2,
        ..GuestRegs::default()
    };
    for (number, gpr) in (1u64..).zip(regs.gpr.iter_mut()) {
        *gpr = number.wrapping_mul(0x1111_1111_1111_1111);
    }
    regs.gpr[7] = 0xffff_ffff_ff5f_d000;
    regs
}

fn long(bytes: &[u8], offset: u64) -> Result<Access, Unknown> {
    decode(bytes, CpuMode::Long, &regs(), GuestPhys(APIC + offset))
}

/// Runs the instruction against a device that answers `value`; returns registers and write-back.
fn run(bytes: &[u8], offset: u64, value: u64) -> (GuestRegs, Option<u64>) {
    let mut after = regs();
    let access = long(bytes, offset).expect("decodes");
    assert_eq!(usize::from(access.length), bytes.len());
    if let Kind::Write { value } = access.kind {
        complete_write(&mut after, &access, CpuMode::Long);
        return (after, Some(value));
    }
    let written = complete_read(&mut after, &access, CpuMode::Long, value);
    (after, written)
}

#[test]
fn a_32_bit_register_read_clears_the_upper_half() {
    // mov eax, [rdi+0x20]
    let (after, written) = run(&[0x8b, 0x47, 0x20], 0x20, 0xffff_ffff_0005_0014);
    assert_eq!(
        (after.gpr[0], after.rip, written),
        (0x0005_0014, 0x1003, None)
    );
}

#[test]
fn registers_and_constants_are_written_at_the_width_of_the_access() {
    // mov [rdi+0x300], r9d; mov dword [rdi+0xb0], 0; mov word [rdi], -2; mov [rdi], ah
    assert_eq!(
        run(&[0x44, 0x89, 0x8f, 0, 3, 0, 0], 0x300, 0).1,
        Some(0xaaaa_aaaa)
    );
    assert_eq!(
        run(&[0xc7, 0x87, 0xb0, 0, 0, 0, 0, 0, 0, 0], 0xb0, 0).1,
        Some(0)
    );
    assert_eq!(run(&[0x66, 0xc7, 0x07, 0xfe, 0xff], 0, 0).1, Some(0xfffe));
    assert_eq!(run(&[0x88, 0x27], 0, 0).1, Some(0x11));
    // mov qword [rdi], -1 sends the sign-extended constant.
    assert_eq!(
        run(&[0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff], 0, 0).1,
        Some(u64::MAX)
    );
}

#[test]
fn absolute_and_rip_relative_operands_are_found() {
    // mov eax, [abs 0xffffffffff5fd020]; mov [abs64], eax; mov ecx, [rip+0xff9]
    assert!(long(&[0x8b, 0x04, 0x25, 0x20, 0xd0, 0x5f, 0xff], 0x20).is_ok());
    let moffs = [0xa3, 0x30, 0xd0, 0x5f, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(run(&moffs, 0x30, 0).1, Some(0x1111_1111));
    // 0x1000 (rip) + 6 (length) + 0xffa = 0x2000
    assert!(long(&[0x8b, 0x0d, 0xfa, 0x0f, 0, 0], 0).is_ok());
}

#[test]
fn narrow_reads_extend_as_told() {
    // movzx ecx, byte [rdi]; movsx rcx, word [rdi]; movsxd rcx, dword [rdi]
    assert_eq!(run(&[0x0f, 0xb6, 0x0f], 0, 0x80).0.gpr[1], 0x80);
    assert_eq!(
        run(&[0x48, 0x0f, 0xbf, 0x0f], 0, 0x8000).0.gpr[1],
        0xffff_ffff_ffff_8000
    );
    assert_eq!(
        run(&[0x48, 0x63, 0x0f], 0, 0x8000_0000).0.gpr[1],
        0xffff_ffff_8000_0000
    );
    // mov cl, [rdi] leaves the rest alone.
    assert_eq!(run(&[0x8a, 0x0f], 0, 0).0.gpr[1], 0x2222_2222_2222_2200);
}

#[test]
fn read_modify_write_writes_the_result_back() {
    // or dword [rdi+0x350], 0x10000; lock and dword [rdi], ecx; not dword [rdi]; inc dword [rdi]
    assert_eq!(
        run(&[0x81, 0x8f, 0x50, 3, 0, 0, 0, 0, 1, 0], 0x350, 0x700).1,
        Some(0x1_0700)
    );
    assert_eq!(run(&[0xf0, 0x21, 0x0f], 0, 0xffff).1, Some(0x2222));
    assert_eq!(run(&[0xf7, 0x17], 0, 0).1, Some(0xffff_ffff));
    assert_eq!(run(&[0xff, 0x07], 0, 0xffff_ffff).1, Some(0));
    // and dword [rdi], -2: the byte constant is sign-extended.
    assert_eq!(
        run(&[0x83, 0x27, 0xfe], 0, 0xffff_ffff).1,
        Some(0xffff_fffe)
    );
    // xchg [rdi], ecx
    let (after, written) = run(&[0x87, 0x0f], 0, 7);
    assert_eq!((after.gpr[1], written), (7, Some(0x2222_2222)));
    // bts dword [rdi], 31
    assert_eq!(run(&[0x0f, 0xba, 0x2f, 31], 0, 1).1, Some(0x8000_0001));
}

#[test]
fn comparisons_change_only_the_flags() {
    const ZERO: u64 = 0x40;
    // test dword [rdi+0x300], 0x1000 ; cmp dword [rdi], 5 ; cmp ecx, [rdi] ; bt dword [rdi], 12
    let (after, written) = run(&[0xf7, 0x87, 0, 3, 0, 0, 0, 0x10, 0, 0], 0x300, 0x1000);
    assert_eq!(
        (after.rflags & ZERO, written, after.gpr),
        (0, None, regs().gpr)
    );
    assert_eq!(run(&[0x83, 0x3f, 5], 0, 5).0.rflags & ZERO, ZERO);
    assert_eq!(run(&[0x3b, 0x0f], 0, 0x2222_2222).0.rflags & ZERO, ZERO);
    assert_eq!(run(&[0x0f, 0xba, 0x27, 12], 0, 0x1000).0.rflags & 1, 1);
    // or ecx, [rdi] goes to the register.
    let (after, written) = run(&[0x0b, 0x0f], 0, 0xf000_0000);
    assert_eq!((after.gpr[1], written), (0xf222_2222, None));
}

#[test]
fn an_instruction_that_does_not_touch_the_fault_is_refused() {
    assert_eq!(
        long(&[0x8b, 0x47, 0x20], 0x30),
        Err(Unknown::AnotherAddress { length: 3 })
    );
    // mov eax, gs:[rdi]: the base is not known here, so the offset is not held against the fault.
    assert!(long(&[0x65, 0x8b, 0x07], 0x30).is_ok());
}

#[test]
fn what_is_not_emulated_says_so_with_its_length() {
    for (bytes, length) in [
        (&[0xf3, 0xa4][..], 2),   // rep movsb
        (&[0xf3, 0x48, 0xab], 3), // rep stosq
        (&[0x0f, 0x11, 0x07], 3), // movups [rdi], xmm0
        (&[0xff, 0x37], 2),       // push [rdi]
        (&[0x0f, 0xb1, 0x0f], 3), // cmpxchg [rdi], ecx
        (&[0x89, 0xc8], 2),       // mov eax, ecx
        (&[0x90], 1),             // nop
    ] {
        assert_eq!(
            long(bytes, 0),
            Err(Unknown::Unsupported { length }),
            "{bytes:x?}"
        );
    }
    assert_eq!(long(&[0x8b, 0x47], 0), Err(Unknown::Undecodable));
    assert_eq!(long(&[], 0), Err(Unknown::Undecodable));
    assert_eq!(long(&[0x06], 0), Err(Unknown::Undecodable));
}

#[test]
fn the_32_bit_mode_decodes_its_own_encodings() {
    // mov eax, [0xfee00020] by the short absolute form; 0x40 is inc eax there, a prefix in 64 bits.
    let bytes = [0xa1, 0x20, 0, 0xe0, 0xfe];
    let access = decode(&bytes, CpuMode::Compat32, &regs(), GuestPhys(APIC + 0x20)).unwrap();
    assert_eq!((access.length, access.size), (5, Width::Four));
    assert_eq!(
        instruction_length(&[0x40], CpuMode::Compat32, Trapped::Any),
        Ok(1)
    );
    assert_eq!(
        instruction_length(&[0x40], CpuMode::Long, Trapped::Any),
        Err(Unknown::Undecodable)
    );
    assert_eq!(CpuMode::Compat32.advance(0xffff_ffff, 2), 1);
}

#[test]
fn trapped_instructions_have_the_length_of_their_bytes_prefixes_included() {
    let long = |bytes: &[u8], trapped| instruction_length(bytes, CpuMode::Long, trapped);
    assert!(warm_up());
    assert_eq!(long(&[0x0f, 0x32, 0x90], Trapped::Rdmsr), Ok(2));
    assert_eq!(long(&[0x0f, 0x30], Trapped::Wrmsr), Ok(2));
    assert_eq!(long(&[0x48, 0x0f, 0xa2], Trapped::Cpuid), Ok(3));
    assert_eq!(long(&[0xf4], Trapped::Hlt), Ok(1));
    assert_eq!(long(&[0x0f, 0x01, 0xd9], Trapped::Vmmcall), Ok(3));
    assert_eq!(long(&[0x0f, 0x01, 0xc1], Trapped::Vmmcall), Ok(3));
    assert_eq!(long(&[0x0f, 0x01, 0xd1], Trapped::Xsetbv), Ok(3));
    assert_eq!(long(&[0x0f, 0x09], Trapped::Wbinvd), Ok(2));
    assert_eq!(long(&[0x0f, 0x01, 0xc8], Trapped::Monitor), Ok(3));
    assert_eq!(long(&[0xf3, 0x90], Trapped::Pause), Ok(2));
    assert_eq!(long(&[0x66, 0xef], Trapped::PortAccess), Ok(2));
    assert_eq!(long(&[0xe4, 0x60], Trapped::PortAccess), Ok(2));
    assert_eq!(
        long(&[0xf4], Trapped::Cpuid),
        Err(Unknown::Unsupported { length: 1 })
    );
}

/// Guest memory as pages of entries.
struct Tables(BTreeMap<u64, u64>);

impl GuestPhysRead for Tables {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        if at.0 >= 0x10_0000 {
            return false;
        }
        for (n, byte) in (at.0..).zip(out) {
            let word = self.0.get(&(n & !7)).copied().unwrap_or(0);
            *byte = word.to_le_bytes()[usize::try_from(n & 7).unwrap()];
        }
        true
    }
}

const LONG: Paging = Paging {
    cr0: 1 << 31,
    cr3: 0x1000,
    cr4: 1 << 5,
    efer: 1 << 10,
};

#[test]
fn four_levels_lead_to_small_and_large_pages() {
    let tables = Tables(BTreeMap::from([
        (0x1ff8, 0x2003),                // PML4[511]
        (0x2ff0, 0x3003),                // PDPT[510]
        (0x3000, 0x4003),                // PD[0]
        (0x3008, 0x4000_0083),           // PD[1]: 2 MiB
        (0x2ff8, 0x8000_0000_c000_0083), // PDPT[511]: 1 GiB, no-execute
        (0x4008, 0xfee0_0003),           // PT[1]
    ]));
    let at = |linear| translate(&tables, &LONG, GuestVirt(linear));
    assert_eq!(at(0xffff_ffff_8000_1234), Ok(GuestPhys(0xfee0_0234)));
    assert_eq!(at(0xffff_ffff_8023_4567), Ok(GuestPhys(0x4003_4567)));
    assert_eq!(at(0xffff_ffff_c123_4567), Ok(GuestPhys(0xc123_4567)));
    assert_eq!(at(0xffff_ffff_8000_0000), Err(WalkError::NotPresent(1)));
    assert_eq!(at(0), Err(WalkError::NotPresent(4)));
    assert_eq!(at(0x8000_0000_0000_0000), Err(WalkError::NotCanonical));
}

#[test]
fn five_levels_pae_32_bit_and_no_paging_are_known() {
    let five = Paging {
        cr4: LONG.cr4 | 1 << 12,
        ..LONG
    };
    let tables = Tables(BTreeMap::from([
        (0x1000, 0x2001),
        (0x2000, 0x3001),
        (0x3000, 0x0000_0081),           // 1 GiB at 0 for five levels
        (0x5008, 0x6001),                // PAE: PDPT[1]
        (0x6000, 0x00a0_0081),           // 2 MiB
        (0x7000, 0x0000_8003_0140_0081), // 32-bit: PDE[0] 4 MiB, PDE[1] -> table 0x8000
        (0x8008, 0x0009_0001),           // PTE[2]
    ]));
    assert_eq!(
        translate(&tables, &five, GuestVirt(0x12345)),
        Ok(GuestPhys(0x12345))
    );
    let pae = Paging {
        cr0: 1 << 31,
        cr3: 0x5000,
        cr4: 1 << 5,
        efer: 0,
    };
    assert_eq!(
        translate(&tables, &pae, GuestVirt(0x4012_3456)),
        Ok(GuestPhys(0x00b2_3456))
    );
    let old = Paging {
        cr0: 1 << 31,
        cr3: 0x7000,
        cr4: 1 << 4,
        efer: 0,
    };
    assert_eq!(
        translate(&tables, &old, GuestVirt(0x12_3456)),
        Ok(GuestPhys(0x0152_3456))
    );
    assert_eq!(
        translate(&tables, &old, GuestVirt(0x40_2345)),
        Ok(GuestPhys(0x9_0345))
    );
    let none = Paging::default();
    assert_eq!(
        translate(&tables, &none, GuestVirt(0xfee0_0020)),
        Ok(GuestPhys(0xfee0_0020))
    );
}

#[test]
fn a_read_stops_at_the_first_unreadable_page() {
    let tables = Tables(BTreeMap::from([
        (0x1000, 0x2003),
        (0x2000, 0x3003),
        (0x3000, 0x4003),
        (0x4000, 0x9003),
        (0x4008, 0xfee0_0003),
        (0x9ff8, 0x0102_0304_0506_0708),
    ]));
    let mut out = [0; 15];
    assert_eq!(read_linear(&tables, &LONG, GuestVirt(0xff8), &mut out), 8);
    assert_eq!(out[0], 8);
}

/// Memory in which every word is noise.
struct Noise(u64);

impl GuestPhysRead for Noise {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let mut state = self.0 ^ at.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in out.iter_mut() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = state.to_le_bytes()[7] | 1;
        }
        !state.is_multiple_of(16)
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_registers_panic_the_decoder(
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        gpr in any::<[u64; 16]>(), rip: u64, rflags: u64, value: u64, page_offset in 0u64..0x1000,
        mode in prop::sample::select(&[CpuMode::Long, CpuMode::Compat32, CpuMode::Real16][..]),
    ) {
        let mut regs = GuestRegs { gpr, rip, rflags };
        let _ = instruction_length(&bytes, mode, Trapped::Any);
        if let Ok(access) = decode(&bytes, mode, &regs, GuestPhys(APIC + page_offset)) {
            prop_assert!(usize::from(access.length) <= bytes.len() && access.length <= 15);
            if let Kind::Write { value } = access.kind {
                prop_assert_eq!(value & !access.size.mask(), 0);
            }
            let before = regs;
            let written = complete_read(&mut regs, &access, mode, value);
            prop_assert_eq!(regs.rip, mode.advance(before.rip, access.length));
            prop_assert!(written.is_none_or(|value| value & !access.size.mask() == 0));
            let status = 0x8d5;
            prop_assert_eq!(regs.rflags & !status, before.rflags & !status);
        }
    }

    #[test]
    fn no_page_table_contents_panic_the_walk(
        seed: u64, cr0: u64, cr3: u64, cr4: u64, efer: u64, at: u64, length in 0usize..9000,
    ) {
        let paging = Paging { cr0, cr3, cr4, efer };
        let _ = translate(&Noise(seed), &paging, GuestVirt(at));
        let mut out = std::vec![0; length];
        prop_assert!(read_linear(&Noise(seed), &paging, GuestVirt(at), &mut out) <= length);
    }
}

#[test]
fn the_plain_form_of_an_instruction_is_that_instruction() {
    for trapped in [Trapped::Cpuid, Trapped::Rdmsr, Trapped::Wrmsr] {
        let bytes = trapped.plain().expect("it has one");
        let length = instruction_length(&bytes, CpuMode::Long, trapped);
        assert_eq!(length, Ok(super::PLAIN_LENGTH));
    }
}
