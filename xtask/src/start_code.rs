//! Looks whether code that stays calls code that does not.
//!
//! `nanokernel/image.ld` lists by name what only the start needs, and the nanokernel unmaps it before
//! Linux runs. A name too many there would be a page fault of the nanokernel's own, in the one run that
//! gets there. So every instruction is decoded, and no function that stays may name one that goes, with
//! two exceptions: [`ONCE`], and functions that stay although only the start uses them, because no name
//! tells them apart. Calls through a table of functions are not seen.

use anyhow::{Context, Result, bail};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};

/// What is unmapped after the start.
const START: &str = ".text.start";

/// Parts of the names of a function that stays and of one that goes, which it calls during the start only.
const ONCE: [(&str, &str); 4] = [
    // The entry from the boot assembly; the call that follows it never comes back.
    ("darma_boot", "darma_nanokernel4boot5start"),
    // The decoder's tables are built at its first use, which the start makes.
    ("darma_policy4mmio6decode", ""),
    // Nothing is allocated or freed but by that construction.
    ("iced_x86..iced_error..IcedError", "alloc7raw_vec"),
    ("alloc..raw_vec..RawVec", "alloc7raw_vec"),
];

/// Part of the name of the function that follows the start and never comes back: all that it uses stays.
const AFTERWARDS: &str = "darma_nanokernel4host4Host3run";

/// The functions of an image and who names whom, by address.
#[derive(Debug, Default)]
struct Calls {
    names: BTreeMap<u64, (u64, String)>,
    /// Of each function, those that name it.
    callers: BTreeMap<u64, BTreeSet<u64>>,
    /// The functions that are unmapped.
    going: BTreeSet<u64>,
    /// Those whose address is taken, by code or by data: anybody may call them.
    taken: BTreeSet<u64>,
}

/// Checks the image in the ELF file `bytes`.
///
/// # Errors
/// It is no ELF file with a section of start-up code, or code that stays uses code that goes.
pub fn check(bytes: &[u8]) -> Result<()> {
    let wrong = Calls::of(bytes)?.wrong();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "code that stays uses code that is unmapped after the start; take the latter out of .text.start in \
         nanokernel/image.ld:\n  {}",
        wrong.join("\n  ")
    )
}

impl Calls {
    fn of(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes).context("the image is no ELF file")?;
        let start = file
            .section_by_name(START)
            .with_context(|| format!("the image has no section {START}"))?;
        let start = start.address()..start.address() + start.size();
        let mut calls = Self::default();
        for symbol in file.symbols() {
            if symbol.kind() == SymbolKind::Text && symbol.size() > 0 {
                let name = symbol.name().unwrap_or_default().to_owned();
                let end = symbol.address() + symbol.size();
                calls.names.insert(symbol.address(), (end, name));
            }
        }
        calls.going = calls.names.range(start).map(|(at, _)| *at).collect();
        for section in file.sections() {
            let data = section.data()?;
            match section.kind() {
                SectionKind::Text => {
                    for named in named_addresses(data, section.address()) {
                        calls.note(named);
                    }
                }
                SectionKind::Data | SectionKind::ReadOnlyData => {
                    let (words, _) = data.as_chunks::<8>();
                    let words = words.iter().map(|word| u64::from_le_bytes(*word));
                    let named = words.filter(|word| calls.names.contains_key(word));
                    calls.taken.extend(named);
                }
                _ => {}
            }
        }
        let afterwards = calls
            .names
            .iter()
            .find(|(_, (_, name))| name.contains(AFTERWARDS));
        let (at, _) =
            afterwards.with_context(|| format!("the image has no function {AFTERWARDS}"))?;
        let at = *at;
        calls.taken.insert(at);
        Ok(calls)
    }

    fn note(&mut self, named: Named) {
        if let (Some(caller), Some(callee)) =
            (self.function(named.by), self.function(named.address))
            && caller != callee
        {
            self.callers.entry(callee).or_default().insert(caller);
            if !named.branches {
                self.taken.insert(callee);
            }
        }
    }

    /// The function that `at` lies in.
    fn function(&self, at: u64) -> Option<u64> {
        let (first, (end, _)) = self.names.range(..=at).next_back()?;
        (at < *end).then_some(*first)
    }

    /// The functions that nothing but the start reaches, wherever they lie.
    fn of_the_start(&self) -> BTreeSet<u64> {
        let mut found = self.going.clone();
        loop {
            let more: Vec<u64> = self
                .callers
                .iter()
                .filter(|(callee, callers)| {
                    !found.contains(callee)
                        && !self.taken.contains(callee)
                        && callers.iter().all(|caller| found.contains(caller))
                })
                .map(|(callee, _)| *callee)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    fn wrong(&self) -> Vec<String> {
        let of_the_start = self.of_the_start();
        let mut wrong = Vec::new();
        for callee in &self.going {
            for caller in self.callers.get(callee).into_iter().flatten() {
                let (from, to) = (self.name(*caller), self.name(*callee));
                let known = ONCE
                    .iter()
                    .any(|(stays, goes)| from.contains(stays) && to.contains(goes));
                if !of_the_start.contains(caller) && !known {
                    wrong.push(format!("{from} names {to}"));
                }
            }
        }
        wrong
    }

    fn name(&self, function: u64) -> &str {
        self.names.get(&function).map_or("", |(_, name)| name)
    }
}

/// An instruction that names an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    by: u64,
    address: u64,
    /// It goes there; else it takes the address.
    branches: bool,
}

/// What names an address in `code`, which lies at `base`. Immediate numbers are not taken for addresses.
fn named_addresses(code: &[u8], base: u64) -> Vec<Named> {
    let mut decoder = Decoder::with_ip(64, code, base, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut found = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        for operand in 0..instruction.op_count() {
            let (address, branches) = match instruction.op_kind(operand) {
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
                    (instruction.near_branch_target(), true)
                }
                OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
                    (instruction.ip_rel_memory_address(), false)
                }
                _ => continue,
            };
            found.push(Named {
                by: instruction.ip(),
                address,
                branches,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Calls, Named, named_addresses};

    #[test]
    fn branches_and_addresses_count_and_numbers_do_not() {
        let code = [
            0xe8, 0xfb, 0xef, 0xff, 0xff, // 201000: call 200000
            0x48, 0x8d, 0x05, 0xf4, 0xef, 0xff, 0xff, // 201005: lea rax, [rip - 100c]: 200000
            0xb8, 0xff, 0x0f, 0x20, 0x00, // 20100c: mov eax, 200fff
            0xeb, 0xfe, // 201011: jmp 201011
        ];
        let found = named_addresses(&code, 0x20_1000);
        let found = found
            .iter()
            .map(|named| (named.by, named.address, named.branches));
        assert!(found.eq([
            (0x20_1000, 0x20_0000, true),
            (0x20_1005, 0x20_0000, false),
            (0x20_1011, 0x20_1011, true)
        ]));
    }

    /// Functions of one byte: 1 and 2 go, the rest stays.
    fn calls(pairs: &[(u64, u64)]) -> Calls {
        let mut calls = Calls {
            names: (1..9).map(|at| (at, (at + 1, format!("f{at}")))).collect(),
            going: [1, 2].into(),
            ..Calls::default()
        };
        for (from, to) in pairs {
            calls.note(Named {
                by: *from,
                address: *to,
                branches: true,
            });
        }
        calls
    }

    #[test]
    fn what_stays_may_not_use_what_goes_unless_only_the_start_uses_it() {
        let used_by_the_start = [(1, 2), (1, 3), (3, 4), (4, 2), (5, 6)];
        let mut good = calls(&used_by_the_start);
        assert!(good.wrong().is_empty());
        good.taken.insert(4);
        assert_eq!(good.wrong(), ["f4 names f2"]);

        let mut with_another_user = used_by_the_start.to_vec();
        with_another_user.push((5, 3));
        assert_eq!(calls(&with_another_user).wrong(), ["f4 names f2"]);
        assert_eq!(calls(&[(1, 2), (5, 1)]).wrong(), ["f5 names f1"]);
    }
}
