use super::*;
use proptest::prelude::*;

/// A processor as QEMU's emulator presents it with `-cpu max`.
fn emulated(leaf: u32, subleaf: u32) -> CpuidLeaf {
    let (eax, ebx, ecx, edx) = match (leaf, subleaf) {
        (0, _) => (0x0d, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
        (1, _) => (0x0006_0fb1, 0x0001_0800, 0xfeda_320b, 0x1f8b_fbff),
        (4, 0) => (0x0000_0121, 0x01c0_003f, 0x3f, 1),
        (5, _) => (0, 0, 3, 0),
        (6, _) => (4, 0, 0, 0),
        (7, 0) => (1, 0x219d_47ab, 0x8001_021c, 0),
        (0xb, 0) => (0, 1, 0x100, 0),
        (0xd, 0) => (0x21f, 0x340, 0xa88, 0),
        (0xd, 1) => (5, 0, 0, 0),
        (0xd, 2) => (0x100, 0x240, 0, 0),
        (0x4000_0000, _) => (0x4000_0001, 0x5447_4354, 0x4354_4743, 0x4743_5447),
        (0x8000_0000, _) => (0x8000_000a, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
        (0x8000_0001, _) => (0x0006_0fb1, 0, 0x75, 0xee93_fbff),
        (0x8000_0008, _) => (0x3028, 0, 0, 0),
        (0x8000_000a, _) => (1, 16, 0, 0x0001_0001),
        _ => (0, 0, 0, 0),
    };
    CpuidLeaf { eax, ebx, ecx, edx }
}

/// A server processor of AMD's Zen 3 generation, as far as the leaves matter here.
fn server(leaf: u32, subleaf: u32) -> CpuidLeaf {
    let (eax, ebx, ecx, edx) = match (leaf, subleaf) {
        (0, _) => (0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
        (1, _) => (0x00a0_0f11, 0x5a80_0800, 0x7efa_320b, 0x178b_fbff),
        (5, _) => (0x40, 0x40, 3, 0x11),
        (6, _) => (4, 0, 1, 0),
        (7, 0) => (0, 0x219c_97a9, 0x0040_069c, 0x10),
        (0xb, 0) => (1, 2, 0x100, 0x5a),
        (0xb, 1) => (7, 0x80, 0x201, 0x5a),
        (0xd, 1) => (0xf, 0x348, 0x1800, 0),
        (0x8000_0000, _) => (0x8000_0023, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
        (0x8000_0001, _) => (0x00a0_0f11, 0x4000_0000, 0x75c2_37ff, 0x2fd3_fbff),
        (0x8000_0007, _) => (0, 0x3b, 0, 0x6799),
        (0x8000_0008, _) => (0x0030_3030, 0x111e_f757, 0x707f, 0x0001_0007),
        (0x8000_000a, _) => (1, 0x8000, 0, 0x1118_9fff),
        (0x8000_001d, 3) => (0x0003_c163, 0x03c0_003f, 0x7fff, 1),
        (0x8000_001e, _) => (0x5a, 0x012d, 0x0300, 0),
        (0x8000_001f, _) => (0x0001_780f, 0x172, 0x1fd, 1),
        (0x8000_0021, _) => (0x4d, 0, 0, 0),
        _ => (0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff),
    };
    CpuidLeaf { eax, ebx, ecx, edx }
}

const fn has(word: u32, bit: u32) -> bool {
    word & (1 << bit) != 0
}

#[test]
fn the_hypervisor_leaves_carry_kvms_signature_and_no_features() {
    let base = filter(0x4000_0000, 0, 0, emulated);
    assert_eq!(base.eax, 0x4000_0001);
    let name = [
        base.ebx.to_le_bytes(),
        base.ecx.to_le_bytes(),
        base.edx.to_le_bytes(),
    ];
    assert_eq!(name.as_flattened(), b"KVMKVMKVM\0\0\0");
    assert_eq!(filter(0x4000_0001, 0, 0, emulated), CpuidLeaf::default());
    assert_eq!(filter(0x4000_0100, 0, 0, emulated), CpuidLeaf::default());
}

#[test]
fn the_virtual_apic_is_announced_and_other_hypervisors_business_is_not() {
    for host in [emulated, server] {
        let leaf = filter(1, 0, 0, host);
        assert!(has(leaf.ecx, 21) && has(leaf.ecx, 24) && has(leaf.ecx, 31));
        assert!(!has(leaf.ecx, 3) && !has(leaf.ecx, 5) && !has(leaf.ecx, 27));
        assert!(has(leaf.edx, 9) && has(leaf.edx, 7) && has(leaf.edx, 14));
        assert!(!has(leaf.edx, 28));
        assert_eq!(leaf.ebx >> 16, 1);
        assert!(!has(filter(0x8000_0001, 0, 0, host).ecx, 2));
        assert_eq!(filter(0x8000_000a, 0, 0, host), CpuidLeaf::default());
    }
}

#[test]
fn bits_that_mirror_cr4_follow_the_guests() {
    assert!(has(filter(1, 0, 1 << 18, emulated).ecx, 27));
    assert!(!has(filter(7, 0, 0, server).ecx, 4));
    assert!(has(filter(7, 0, 1 << 22, server).ecx, 4));
}

#[test]
fn the_instruction_set_stays() {
    let before = server(1, 0);
    let after = filter(1, 0, 0, server);
    for bit in [0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30] {
        assert_eq!(has(before.ecx, bit), has(after.ecx, bit), "{bit}");
    }
    let leaf = filter(7, 0, 0, server);
    for bit in [0, 3, 5, 7, 8, 9, 18, 19, 20, 23, 24, 29] {
        assert_eq!(has(server(7, 0).ebx, bit), has(leaf.ebx, bit), "{bit}");
    }
    assert_eq!(filter(0xd, 0, 0, emulated), emulated(0xd, 0));
    assert_eq!(filter(0xd, 2, 0, emulated), emulated(0xd, 2));
}

#[test]
fn there_is_one_processor_by_every_way_of_counting() {
    let threads = filter(0xb, 0, 0, server);
    assert_eq!(
        (threads.eax, threads.ebx, threads.ecx, threads.edx),
        (0, 1, 0x100, 0)
    );
    let cores = filter(0xb, 1, 0, server);
    assert_eq!(
        (cores.eax, cores.ebx, cores.ecx, cores.edx),
        (0, 1, 0x201, 0)
    );
    assert_eq!(filter(0xb, 2, 0, server).ebx, 0);
    assert_eq!(filter(0x8000_0008, 0, 0, server).ecx, 0);
    assert_eq!(filter(0x8000_001e, 0, 0, server), CpuidLeaf::default());
    assert_eq!(filter(0x8000_001d, 3, 0, server).eax, 0x163);
    assert!(!has(filter(0x8000_0001, 0, 0, server).ecx, 1));
}

#[test]
fn power_counters_encryption_and_new_leaves_are_hidden() {
    for leaf in [
        3,
        5,
        9,
        0xa,
        0xf,
        0x10,
        0x8000_001b,
        0x8000_001f,
        0x8000_0022,
        0x8000_0026,
    ] {
        assert_eq!(
            filter(leaf, 0, 0, server),
            CpuidLeaf::default(),
            "{leaf:#x}"
        );
    }
    assert_eq!(filter(6, 0, 0, server).eax, 4);
    assert_eq!(filter(6, 0, 0, server).ecx, 0);
    assert_eq!(
        filter(0x8000_0007, 0, 0, server),
        CpuidLeaf {
            edx: 0x100,
            ..Default::default()
        }
    );
    assert_eq!(filter(0x8000_0000, 0, 0, server).eax, 0x8000_0021);
    assert_eq!(filter(0, 0, 0, server).eax, 0x10);
    assert_eq!(filter(0xd, 1, 0, server).ecx, 0);
}

#[test]
fn five_level_paging_is_not_offered() {
    assert!(has(emulated(7, 0).ecx, 16));
    assert!(!has(filter(7, 0, 0, emulated).ecx, 16));
}

#[test]
fn leaves_above_the_processors_own_limit_read_zero() {
    let chatty = |l, s| {
        if l == 0x15 {
            emulated(1, s)
        } else {
            emulated(l, s)
        }
    };
    assert_eq!(filter(0x15, 0, 0, chatty), CpuidLeaf::default());
    assert_eq!(filter(0x8000_0021, 0, 0, emulated), CpuidLeaf::default());
}

#[test]
fn efer_offers_what_the_shown_leaves_announce() {
    assert_eq!(optional_efer_bits(emulated), 1 << 14);
    assert_eq!(optional_efer_bits(server), 1 << 14 | 1 << 15);
}

proptest! {
    #[test]
    fn no_leaf_of_any_processor_shows_what_is_ours(
        leaf in prop_oneof![0..0x40u32, 0x8000_0000..0x8000_0040u32, any::<u32>()],
        subleaf in 0..8u32, cr4 in any::<u64>()
    ) {
        let all = |_, _| CpuidLeaf { eax: !0, ebx: !0, ecx: !0, edx: !0 };
        let out = filter(leaf, subleaf, cr4, all);
        match leaf {
            1 => prop_assert_eq!(out.ecx & (1 << 3 | 1 << 5), 0),
            0x8000_0001 => prop_assert_eq!(out.ecx & (1 << 2 | 1 << 12 | 1 << 29), 0),
            0x8000_000a | 0x8000_001f | 5 | 0xa => prop_assert_eq!(out, CpuidLeaf::default()),
            _ => {}
        }
    }
}
