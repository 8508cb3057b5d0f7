//! What the GPOS may know about its processor: CPUID, filtered (APM3 appendix E).
//!
//! Every leaf starts as the hardware's and is then cut down. Leaves are let through by an
//! allowlist: one that is not named here reads zero, so a new processor cannot describe to Linux
//! something that nobody has thought about. Within a leaf, what is taken away has one of five reasons:
//!
//! - **ours**: SVM, SKINIT, memory encryption, MONITOR (a sleeping processor would be asleep for
//!   the real-time tasks too), frequency and power control (their timing is calibrated against it);
//! - **not virtualised**: performance counters, IBS, processor trace, last-branch records, quality of
//!   service, breakpoint masks, TSC_ADJUST, shadow stacks, protection keys of the kernel;
//! - **not there**: other processors, threads, cores, nodes; extended APIC space;
//! - **error reporting**: the scalable machine-check architecture and its recovery bits. Machine checks
//!   themselves stay announced, with banks that read empty (see [`crate::msr`]): a kernel that finds no MCE
//!   at all reports that as an error;
//! - **no gain**: five-level paging, one more step in each of the nested walks for a size of
//!   memory that no such machine has.
//!
//! Added are the hypervisor bit with KVM's signature, because stock kernels use x2APIC without
//! interrupt remapping only under a hypervisor they know, and what the virtual APIC brings:
//! x2APIC, TSC-deadline. KVM's feature word lists what we implement of its interface: nothing yet.

use core::ops::RangeInclusive;

/// The four registers that CPUID returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidLeaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// The first leaf of the hypervisor's own range.
pub const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// The features of KVM's interface that are implemented: bit by bit, none.
pub const KVM_FEATURES: u32 = 0;

const HYPERVISOR_LEAVES: RangeInclusive<u32> = HYPERVISOR_BASE..=0x4fff_ffff;
const EXTENDED_BASE: u32 = 0x8000_0000;

/// The highest leaves that are let through; a processor that has fewer says so itself.
const MAX_BASIC: u32 = 0x16;
const MAX_EXTENDED: u32 = 0x8000_0021;

const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_PKE: u64 = 1 << 22;

/// A word with the given bits set.
const fn bits(list: &[u32]) -> u32 {
    let mut word = 0;
    let mut rest = list;
    while let [bit, tail @ ..] = rest {
        word |= 1 << (*bit & 31);
        rest = tail;
    }
    word
}

/// 1.ECX: DTES64, MONITOR, DS-CPL, VMX, SMX, EST, TM2, SDBG, xTPR, PDCM, DCA, OSXSAVE (dynamic).
const LEAF_1_ECX_HIDDEN: u32 = bits(&[2, 3, 4, 5, 6, 7, 8, 11, 14, 15, 18, 27]);
/// 1.ECX: x2APIC, TSC-deadline, hypervisor.
const LEAF_1_ECX_ADDED: u32 = bits(&[21, 24, 31]);
const LEAF_1_ECX_OSXSAVE: u32 = 1 << 27;
/// 1.EDX: serial number, DS, clock control, HTT, TM, PBE.
const LEAF_1_EDX_HIDDEN: u32 = bits(&[18, 21, 22, 28, 29, 31]);
const LEAF_1_EDX_APIC: u32 = 1 << 9;

/// 6.EAX: the APIC timer runs in every sleep state. The virtual one does.
const LEAF_6_EAX_ARAT: u32 = 1 << 2;

/// 7.EBX: TSC_ADJUST, SGX, PQM, MPX, PQE, processor trace.
const LEAF_7_EBX_HIDDEN: u32 = bits(&[1, 2, 12, 14, 15, 25]);
/// 7.ECX: OSPKE (dynamic), WAITPKG, CET_SS, TME, LA57, key locker, bus lock, ENQCMD, SGX_LC, PKS.
const LEAF_7_ECX_HIDDEN: u32 = bits(&[4, 5, 7, 13, 16, 23, 24, 29, 30, 31]);
const LEAF_7_ECX_OSPKE: u32 = 1 << 4;
/// 7.EDX: UINTR, PCONFIG, LBR, IBT, AMX (its state needs MSRs), L1D_FLUSH, ARCH_ and CORE_CAPABILITIES.
const LEAF_7_EDX_HIDDEN: u32 = bits(&[5, 18, 19, 20, 22, 24, 25, 28, 29, 30]);
/// 7.1.EAX: vector instructions and fast strings; the rest needs registers of its own.
const LEAF_7_1_EAX_SHOWN: u32 = bits(&[4, 5, 10, 11, 12, 23]);

/// 0xD.1.EAX: XSAVEOPT, XSAVEC, XGETBV with ECX=1, XSAVES; not XFD.
const LEAF_D_1_EAX_SHOWN: u32 = 0xf;

/// 8000_0001.ECX: CmpLegacy, SVM, ExtApicSpace, IBS, SKINIT, WDT, LWP, NodeId, PerfCtrExtCore,
/// PerfCtrExtNB, DataBkptExt, PerfTsc, PerfCtrExtLLC, MONITORX, AddrMaskExt.
const EXT_1_ECX_HIDDEN: u32 = bits(&[1, 2, 3, 10, 12, 13, 15, 19, 23, 24, 26, 27, 28, 29, 30]);
/// 8000_0001.EDX: multiprocessor capable.
const EXT_1_EDX_HIDDEN: u32 = 1 << 19;

/// 8000_0007.EDX: the time-stamp counter runs at one rate.
const EXT_7_EDX_SHOWN: u32 = 1 << 8;

/// 8000_0008.EBX: CLZERO, error pointers, WBNOINVD, IBPB, IBRS, STIBP and their preferences, SSBD,
/// SSB_NO, PSFD, BTC_NO, IBPB_RET: instructions, and what the passed-through SPEC_CTRL offers.
const EXT_8_EBX_SHOWN: u32 = bits(&[0, 2, 9, 12, 14, 15, 16, 17, 18, 19, 20, 24, 26, 28, 29, 30]);

/// 8000_0021.EAX: LFENCE serialises, null selector clears base, automatic IBRS, the branch barrier
/// variants. No part of it is control.
const EXT_21_EAX_SHOWN: u32 = bits(&[2, 6, 8, 27, 28, 29]);

/// What the GPOS reads for (`leaf`, `subleaf`) with `cr4` in its CR4.
///
/// `host` is CPUID as the hardware answers it while the guest's XCR0 is loaded, which is all the time:
/// the image does not use extended state, so XCR0 stays the guest's across exits.
pub fn filter(
    leaf: u32,
    subleaf: u32,
    cr4: u64,
    mut host: impl FnMut(u32, u32) -> CpuidLeaf,
) -> CpuidLeaf {
    if HYPERVISOR_LEAVES.contains(&leaf) {
        return hypervisor(leaf);
    }
    let (base, limit) = if leaf < EXTENDED_BASE {
        (0, MAX_BASIC)
    } else {
        (EXTENDED_BASE, MAX_EXTENDED)
    };
    let top = host(base, 0);
    let limit = top.eax.min(limit);
    if leaf == base {
        return CpuidLeaf { eax: limit, ..top };
    }
    if leaf > limit {
        return CpuidLeaf::default();
    }
    let raw = host(leaf, subleaf);
    if leaf < EXTENDED_BASE {
        basic(leaf, subleaf, cr4, raw)
    } else {
        extended(leaf, raw)
    }
}

fn basic(leaf: u32, subleaf: u32, cr4: u64, raw: CpuidLeaf) -> CpuidLeaf {
    let mut out = raw;
    match (leaf, subleaf) {
        (1, _) => {
            // Initial APIC identifier 0, one logical processor.
            out.ebx = raw.ebx & 0xffff | 1 << 16;
            out.ecx = raw.ecx & !LEAF_1_ECX_HIDDEN | LEAF_1_ECX_ADDED;
            if cr4 & CR4_OSXSAVE != 0 {
                out.ecx |= LEAF_1_ECX_OSXSAVE;
            }
            out.edx = raw.edx & !LEAF_1_EDX_HIDDEN | LEAF_1_EDX_APIC;
        }
        (2 | 0x15 | 0x16, _) => {}
        // Caches: shared with nobody, one core in the package.
        (4, _) => out.eax = raw.eax & 0x3fff,
        (6, _) => {
            out = CpuidLeaf {
                eax: LEAF_6_EAX_ARAT,
                ..CpuidLeaf::default()
            }
        }
        (7, 0) => {
            out.eax = raw.eax.min(1);
            out.ebx = raw.ebx & !LEAF_7_EBX_HIDDEN;
            out.ecx = raw.ecx & !LEAF_7_ECX_HIDDEN;
            if cr4 & CR4_PKE != 0 {
                out.ecx |= LEAF_7_ECX_OSPKE;
            }
            out.edx = raw.edx & !LEAF_7_EDX_HIDDEN;
        }
        (7, 1) => {
            out = CpuidLeaf {
                eax: raw.eax & LEAF_7_1_EAX_SHOWN,
                ..CpuidLeaf::default()
            };
        }
        (0xb, _) => out = topology(subleaf),
        (0xd, 1) => {
            // No supervisor state: its features are hidden.
            out = CpuidLeaf {
                eax: raw.eax & LEAF_D_1_EAX_SHOWN,
                ebx: raw.ebx,
                ecx: 0,
                edx: 0,
            };
        }
        (0xd, _) => {}
        _ => out = CpuidLeaf::default(),
    }
    out
}

fn extended(leaf: u32, raw: CpuidLeaf) -> CpuidLeaf {
    let nothing = CpuidLeaf::default();
    match leaf & 0xffff {
        1 => CpuidLeaf {
            ecx: raw.ecx & !EXT_1_ECX_HIDDEN,
            edx: raw.edx & !EXT_1_EDX_HIDDEN,
            ..raw
        },
        // Name; caches and TLBs; TLBs of 1 GiB pages; optimisation hints.
        2..=6 | 0x19 | 0x1a => raw,
        7 => CpuidLeaf {
            edx: raw.edx & EXT_7_EDX_SHOWN,
            ..nothing
        },
        // Address sizes; one core.
        8 => CpuidLeaf {
            eax: raw.eax,
            ebx: raw.ebx & EXT_8_EBX_SHOWN,
            ..nothing
        },
        // Caches: shared with nobody.
        0x1d => CpuidLeaf {
            eax: raw.eax & 0x3fff,
            ..raw
        },
        // 0x1E: processor 0, core 0 with one thread, node 0 of one.
        0x21 => CpuidLeaf {
            eax: raw.eax & EXT_21_EAX_SHOWN,
            ..nothing
        },
        _ => nothing,
    }
}

/// Leaf 0xB: one thread in one core.
fn topology(subleaf: u32) -> CpuidLeaf {
    let (count, kind) = match subleaf {
        0 => (1, 1 << 8),
        1 => (1, 2 << 8),
        _ => (0, 0),
    };
    CpuidLeaf {
        eax: 0,
        ebx: count,
        ecx: subleaf & 0xff | kind,
        edx: 0,
    }
}

fn hypervisor(leaf: u32) -> CpuidLeaf {
    match leaf - HYPERVISOR_BASE {
        // "KVMKVMKVM", padded with zeros.
        0 => CpuidLeaf {
            eax: HYPERVISOR_BASE + 1,
            ebx: u32::from_le_bytes(*b"KVMK"),
            ecx: u32::from_le_bytes(*b"VMKV"),
            edx: u32::from_le_bytes(*b"M\0\0\0"),
        },
        1 => CpuidLeaf {
            eax: KVM_FEATURES,
            ..CpuidLeaf::default()
        },
        _ => CpuidLeaf::default(),
    }
}

/// The bits that a guest may set in EFER besides those of every 64-bit processor: what the leaves
/// it sees announce. Fast FXSAVE, translation cache extension, automatic IBRS (APM2 3.1.7).
pub fn optional_efer_bits(mut host: impl FnMut(u32, u32) -> CpuidLeaf) -> u64 {
    let features = filter(0x8000_0001, 0, 0, &mut host);
    let more = filter(0x8000_0021, 0, 0, &mut host);
    let mut allowed = 0;
    for (announced, efer_bit) in [
        (features.edx & 1 << 25, 14),
        (features.ecx & 1 << 17, 15),
        (more.eax & 1 << 8, 21),
    ] {
        if announced != 0 {
            allowed |= 1 << efer_bit;
        }
    }
    allowed
}

#[cfg(test)]
#[path = "cpuid_tests.rs"]
mod tests;
