//! A kernel of a few hundred KiB that is nothing but tables: page tables, symbols, type information,
//! ORC, variables, a module, a stack. Made by the rules of Linux 6.1, independently of the reader.
//!
//! | physical | holds |
//! |---|---|
//! | 0x0000 | page tables: the image by one large page, the direct map by another |
//! | 0x20_0000 | the image: its first page is code, tables behind it |
//!
//! The direct map shows physical 0 at [`DIRECT`].

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::missing_panics_doc,
    dead_code,
    unreachable_pub,
    reason = "a builder for tests: its numbers are small and its own, and not each test uses all"
)]

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;

/// Where the image is mapped, and where it lies.
pub const TEXT: u64 = 0xffff_ffff_9a00_0000;
pub const IMAGE: usize = 0x20_0000;
pub const DIRECT: u64 = 0xffff_9000_0000_0000;
pub const CR3: u64 = 0x1000;
pub const BYTES: usize = 0x40_0000;
/// Code: functions of 0x100 bytes each from [`TEXT`] on.
pub const FUNCTION: u64 = 0x100;
/// The module's memory.
pub const MODULE: u64 = DIRECT + 0x3_0000;
/// The top of the stack.
pub const STACK: u64 = DIRECT + 0x2_8000;

/// Offsets in the image.
const TABLES: usize = 0x2_1000;
const DATA: usize = 0x1_0000;
const PER_CPU: u64 = 0x100;

/// Names of the first functions; each is at [`TEXT`] + its place * [`FUNCTION`].
pub const FUNCTIONS: &[&str] = &[
    "_stext",
    "sys_write",
    "vfs_write",
    "panic",
    "asm_exc_fault",
    "idle",
];

/// Symbols with their addresses in the image's data.
const VARIABLES: &[(&str, usize)] = &[
    ("panic_cpu", DATA),
    ("die_counter", DATA + 8),
    ("tainted_mask", DATA + 16),
    ("system_state", DATA + 24),
    ("reboot_emergency", DATA + 28),
    ("jiffies_64", DATA + 32),
    ("prb", DATA + 40),
    ("page_offset_base", DATA + 48),
    ("__per_cpu_offset", DATA + 56),
    ("modules", DATA + 64),
    ("init_top_pgt", DATA + 0x1000),
    ("__start_orc_unwind_ip", DATA + 0x2000),
    ("__stop_orc_unwind_ip", DATA + 0x2000 + 4 * ORC.len()),
    ("__start_orc_unwind", DATA + 0x3000),
    ("__stop_orc_unwind", DATA + 0x3000 + 6 * ORC.len()),
    ("__start_BTF", DATA + 0x4000),
    ("__stop_BTF", DATA + 0x8000),
];

/// Per function: stack pointer's offset, base (5: stack pointer), kind, end.
const ORC: &[(i16, u8, u8, bool)] = &[
    (0, 0, 0, true),
    (16, 5, 0, false),
    (8, 5, 0, false),
    (24, 5, 0, false),
    (0, 5, 1, false),
    (8, 5, 0, false),
];

/// Structures and their members, offsets in bytes; of `orc_entry` in bits.
const STRUCTURES: &[(&str, &[(&str, u32)])] = &[
    (
        "rq",
        &[("other", 0), ("nr_running", 8), ("nr_switches", 24)],
    ),
    ("task_struct", &[("pid", 40), ("comm", 48)]),
    (
        "module",
        &[
            ("list", 8),
            ("name", 24),
            ("core_layout", 80),
            ("arch", 104),
            ("kallsyms", 128),
        ],
    ),
    (
        "module_layout",
        &[("base", 0), ("size", 8), ("text_size", 12)],
    ),
    (
        "mod_arch_specific",
        &[("num_orcs", 0), ("orc_unwind_ip", 8), ("orc_unwind", 16)],
    ),
    (
        "mod_kallsyms",
        &[("symtab", 0), ("num_symtab", 8), ("strtab", 16)],
    ),
    ("printk_ringbuffer", &[("desc_ring", 0)]),
    ("prb_desc_ring", &[("head_id", 24)]),
];

/// Memory from address 0 on.
#[derive(Clone)]
pub struct Memory(pub Vec<u8>);

impl GuestPhysRead for Memory {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let start = usize::try_from(at.0).ok();
        let bytes = start.and_then(|start| self.0.get(start..start.checked_add(out.len())?));
        bytes.is_some_and(|bytes| {
            out.copy_from_slice(bytes);
            true
        })
    }
}

impl Memory {
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    /// Stores a value on the stack, by its address there.
    pub fn push(&mut self, at: u64, value: u64) {
        self.put_u64((at - DIRECT) as usize, value);
    }
}

/// Where an address of the image or of the direct map lies.
pub fn place(address: u64) -> usize {
    if address >= TEXT {
        IMAGE + (address - TEXT) as usize
    } else {
        (address - DIRECT) as usize
    }
}

/// Begin of a function, by name.
pub fn function(name: &str) -> u64 {
    let index = FUNCTIONS.iter().position(|function| *function == name);
    TEXT + index.expect("one of the list") as u64 * FUNCTION
}

/// The whole kernel.
pub fn kernel() -> Memory {
    let mut memory = Memory(vec![0; BYTES]);
    page_tables(&mut memory);
    symbols(&mut memory);
    variables(&mut memory);
    orc(&mut memory);
    types(&mut memory);
    module(&mut memory);
    memory
}

fn page_tables(memory: &mut Memory) {
    let index = |address: u64, level: u32| (address >> (12 + 9 * level) & 511) as usize * 8;
    for (address, target, tables) in [
        (TEXT, IMAGE as u64, 0x2000),
        (DIRECT, 0, 0x4000),
        (DIRECT + 0x20_0000, 0x20_0000, 0x4000),
    ] {
        for root in [CR3 as usize, IMAGE + DATA + 0x1000] {
            memory.put_u64(root + index(address, 3), tables as u64 | 3);
        }
        memory.put_u64(tables + index(address, 2), (tables as u64 + 0x1000) | 3);
        memory.put_u64(tables + 0x1000 + index(address, 1), target | 0x83);
    }
}

/// kallsyms: 20 000 symbols, tokens that are the characters themselves and one of two.
fn symbols(memory: &mut Memory) {
    const COUNT: usize = 20_000;
    let mut all: Vec<(i32, String)> =
        vec![(0x20, "Arunqueues".into()), (0x80, "Acurrent_task".into())];
    let relative = |offset: usize| -1 - i32::try_from(offset).expect("small");
    for (index, name) in FUNCTIONS.iter().enumerate() {
        all.push((relative(index * FUNCTION as usize), format!("T{name}")));
    }
    let text_end = FUNCTIONS.len() * FUNCTION as usize;
    all.push((relative(text_end), "T_etext".into()));
    for (name, at) in VARIABLES {
        all.push((relative(*at), format!("D{name}")));
    }
    for index in all.len()..COUNT {
        all.push((relative(0x10_0000 + index * 8), format!("tother_{index:x}")));
    }
    all[2..].sort_by_key(|(offset, _)| -offset);
    let mut offsets = Vec::new();
    let (mut names, mut markers) = (Vec::new(), Vec::new());
    for (index, (offset, name)) in all.iter().enumerate() {
        offsets.extend(offset.to_le_bytes());
        if index % 256 == 0 {
            markers.extend((names.len() as u32).to_le_bytes());
        }
        let mut codes = Vec::new();
        // The token 1 is "te", with a type's letter at its begin.
        let mut rest = name.as_bytes();
        if let Some(behind) = rest.strip_prefix(b"to") {
            codes.push(1);
            rest = behind;
        }
        codes.extend(rest);
        names.push(codes.len() as u8);
        names.extend(codes);
    }
    let mut at = IMAGE + TABLES;
    let mut add = |memory: &mut Memory, bytes: &[u8]| {
        memory.put(at, bytes);
        at = (at + bytes.len() + 7) & !7;
    };
    add(memory, &offsets);
    add(memory, &TEXT.to_le_bytes());
    add(memory, &(COUNT as u32).to_le_bytes());
    add(memory, &names);
    add(memory, &markers);
    let (mut tokens, mut index) = (Vec::new(), Vec::new());
    for code in 0..=255u8 {
        index.extend((tokens.len() as u16).to_le_bytes());
        match code {
            1 => tokens.extend(b"to"),
            b'!'..=b'~' => tokens.push(code),
            _ => {}
        }
        tokens.push(0);
    }
    add(memory, &tokens);
    add(memory, &index);
}

fn variables(memory: &mut Memory) {
    let data = IMAGE + DATA;
    memory.put_u32(data, u32::MAX);
    memory.put_u32(data + 8, 2);
    memory.put_u64(data + 16, 0x280);
    memory.put_u32(data + 24, 3);
    memory.put_u64(data + 32, 0x1_0000_0005);
    memory.put_u64(data + 40, TEXT + DATA as u64 + 0x800);
    memory.put_u64(data + 0x800 + 24, 77);
    memory.put_u64(data + 48, DIRECT);
    memory.put_u64(data + 56, DIRECT + 0x1_0000 - PER_CPU);
    // The processor's area: its run queue at 0x20, its task at 0x80.
    let area = 0x1_0000 - PER_CPU as usize;
    memory.put_u32(area + 0x20 + 8, 4);
    memory.put_u64(area + 0x20 + 24, 1234);
    memory.put_u64(area + 0x80, DIRECT + 0x1_8000);
    memory.put_u32(0x1_8000 + 40, 42);
    memory.put(0x1_8000 + 48, b"sh\x07\0");
}

fn entry((sp, base, kind, end): (i16, u8, u8, bool)) -> [u8; 6] {
    let [low, high] = sp.to_le_bytes();
    [low, high, 0, 0, base, kind | u8::from(end) << 2]
}

fn orc(memory: &mut Memory) {
    for (index, line) in ORC.iter().enumerate() {
        let at = DATA + 0x2000 + 4 * index;
        let distance = index as i32 * FUNCTION as i32 - at as i32;
        memory.put(IMAGE + at, &distance.to_le_bytes());
        memory.put(IMAGE + DATA + 0x3000 + 6 * index, &entry(*line));
    }
}

fn types(memory: &mut Memory) {
    let mut strings = vec![0];
    let mut string = |name: &str| {
        let at = strings.len() as u32;
        strings.extend(name.bytes());
        strings.push(0);
        at
    };
    let mut types: Vec<u32> = vec![
        // An integer, and an enumeration with one value: passed over.
        string("int"),
        1 << 24,
        4,
        32, //
        string("kind"),
        6 << 24 | 1,
        4,
        0,
        0,
    ];
    for (structure, members) in STRUCTURES {
        types.extend([string(structure), 4 << 24 | members.len() as u32, 64]);
        for (member, bytes) in *members {
            types.extend([string(member), 1, bytes * 8]);
        }
    }
    // With bit fields, sizes stand in the upper eight bits of a place.
    types.extend([string("orc_entry"), 1 << 31 | 4 << 24 | 3, 6]);
    for (member, bits, size) in [("sp_reg", 32, 4), ("type", 40, 2), ("end", 42, 1)] {
        types.extend([string(member), 1, size << 24 | bits]);
    }
    let bytes: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let at = IMAGE + DATA + 0x4000;
    memory.put(at, &[0x9f, 0xeb, 1, 0]);
    let length = bytes.len() as u32;
    let words = [24, 0, length, length, strings.len() as u32];
    for (index, word) in words.into_iter().enumerate() {
        memory.put_u32(at + 4 + 4 * index, word);
    }
    memory.put(at + 24, &bytes);
    memory.put(at + 24 + bytes.len(), &strings);
}

/// A module `mod`, whose function `fails` is 0x40 bytes long from 0x20 on.
fn module(memory: &mut Memory) {
    let head = TEXT + DATA as u64 + 64;
    let base = place(MODULE);
    let own = base + 0x1000;
    let address = |at: usize| DIRECT + at as u64;
    memory.put_u64(place(head), address(own + 8));
    memory.put_u64(own + 8, head);
    memory.put(own + 24, b"mod\0");
    memory.put_u64(own + 80, MODULE);
    memory.put_u32(own + 88, 0x1000);
    memory.put_u32(own + 92, 0x60);
    memory.put_u32(own + 104, 1);
    memory.put_u64(own + 112, address(own + 0x100));
    memory.put_u64(own + 120, address(own + 0x110));
    memory.put_u64(own + 128, address(own + 0x120));
    let distance = base as i32 - (own + 0x100) as i32;
    memory.put(own + 0x100, &distance.to_le_bytes());
    memory.put(own + 0x110, &entry((16, 5, 0, false)));
    memory.put_u64(own + 0x120, address(own + 0x200));
    memory.put_u32(own + 0x128, 4);
    memory.put_u64(own + 0x130, address(own + 0x300));
    memory.put(own + 0x300, b"\0fails\0$x\0");
    for (index, (name, section, value)) in [(0, 0, 0), (1, 1, 0x20), (7, 1, 0x24), (0, 1, 0x28)]
        .into_iter()
        .enumerate()
    {
        let at = own + 0x200 + 24 * index;
        memory.put_u32(at, name);
        memory.put(at + 6, &[section, 0]);
        memory.put_u64(at + 8, MODULE + value);
    }
}
