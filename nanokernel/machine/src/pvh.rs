//! What a PVH loader hands over: `hvm_start_info` version 1 (Xen, `arch-x86/hvm/start_info.h`).
//!
//! The structures lie in memory that the loader chose. They are copied out once at boot, before
//! anything is placed in memory.

use crate::memory;
use darma_abi::units::HostPhys;

const MAGIC: u32 = 0x336e_c578;
const MEMORY_MAP_ENTRY: u64 = 24;

/// The loader's hand-over, as addresses and counts.
#[derive(Clone, Copy, Debug)]
pub struct StartInfo {
    /// Where the first module (the RAM-disk image) lies, and its length in bytes.
    pub module: Option<(HostPhys, u64)>,
    /// The ACPI root pointer, 0 if the loader gave none.
    pub rsdp: HostPhys,
    map: HostPhys,
    map_entries: u32,
}

/// One range of the firmware's memory map (E820 types).
#[derive(Clone, Copy, Debug)]
pub struct MapEntry {
    /// First byte.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// E820 type: 1 RAM, 2 reserved, 3 ACPI tables, 4 ACPI NVS.
    pub kind: u32,
}

impl StartInfo {
    /// Reads the structure at `at`, or `None` if it is not a version-1 `hvm_start_info`.
    ///
    /// # Safety
    /// `at` is the pointer that the PVH loader gave in EBX, and nothing has been overwritten yet.
    pub unsafe fn read(at: HostPhys) -> Option<Self> {
        // SAFETY: the PVH ABI places these structures in RAM below 4 GiB (IDENTITY-MAP).
        unsafe {
            if read_u32(at.0) != MAGIC || read_u32(at.0 + 4) < 1 {
                return None;
            }
            let modules = read_u32(at.0 + 12);
            let list = read_u64(at.0 + 16);
            let module = (modules > 0).then(|| (HostPhys(read_u64(list)), read_u64(list + 8)));
            Some(Self {
                module,
                rsdp: HostPhys(read_u64(at.0 + 32)),
                map: HostPhys(read_u64(at.0 + 40)),
                map_entries: read_u32(at.0 + 48),
            })
        }
    }

    /// The firmware's memory map, at most 128 entries of it.
    pub fn memory_map(&self) -> impl Iterator<Item = MapEntry> {
        let map = self.map.0;
        (0..u64::from(self.map_entries.min(128))).map(move |index| {
            let at = map + index * MEMORY_MAP_ENTRY;
            // SAFETY: the loader's table, in RAM below 4 GiB (IDENTITY-MAP); `read` checked its owner.
            unsafe {
                MapEntry {
                    base: read_u64(at),
                    size: read_u64(at + 8),
                    kind: read_u32(at + 16),
                }
            }
        })
    }
}

unsafe fn read_u32(at: u64) -> u32 {
    let mut bytes = [0; 4];
    // SAFETY: promised by the caller.
    unsafe { memory::read(HostPhys(at), &mut bytes) };
    u32::from_le_bytes(bytes)
}

unsafe fn read_u64(at: u64) -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: promised by the caller.
    unsafe { memory::read(HostPhys(at), &mut bytes) };
    u64::from_le_bytes(bytes)
}
