//! All wanted symbols in one pass over the table of names.
//!
//! Names are compressed, so none can be searched for directly, and there are some ninety thousand.
//! For each token it is worked out once which wanted names it can be part of; a name whose tokens
//! have no wanted name in common is passed with a look into a table per token, most after two.

use super::kallsyms::{PER_MARKER, Tables, Tokens, each_name};
use super::view::{Budget, View, Window};
use super::wanted::{SYMBOLS, Symbols};
use crate::memory::GuestPhysRead;

const _: () = assert!(SYMBOLS.len() <= 32, "a bit for each");

/// What working a token out costs, and passing the names of a marker.
const TOKEN_COST: u32 = 50;
const NAMES_COST: u32 = 200;
/// Longer than each wanted name.
const NAME: usize = 32;

/// For each token, the wanted names that it can be part of: a bit for each.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// If it stands first, its first character being the type's letter.
    first: [u32; 256],
    /// If it stands behind others.
    later: [u32; 256],
}

impl Parts {
    pub(super) const fn new() -> Self {
        Self {
            first: [0; 256],
            later: [0; 256],
        }
    }

    /// Works tokens out from `next` on; true when all are.
    pub(super) fn prepare(&mut self, tokens: &Tokens, next: &mut u16, budget: &mut Budget) -> bool {
        while let Ok(token) = u8::try_from(*next) {
            if !budget.spend(TOKEN_COST) {
                return false;
            }
            let text = tokens.get(token);
            let behind_letter = text.get(1..).unwrap_or(&[]);
            let (mut first, mut later) = (0, 0);
            for (name, index) in SYMBOLS.iter().zip(0u32..) {
                first |= u32::from(name.starts_with(behind_letter)) << index;
                later |= u32::from(holds(name, text)) << index;
            }
            let at = usize::from(token);
            if let (Some(a), Some(b)) = (self.first.get_mut(at), self.later.get_mut(at)) {
                (*a, *b) = (first, later);
            }
            *next += 1;
        }
        true
    }

    /// The wanted names that these tokens may spell.
    fn candidates(&self, codes: &[u8]) -> u32 {
        let Some((first, rest)) = codes.split_first() else {
            return 0;
        };
        let mut mask = self.first.get(usize::from(*first)).copied().unwrap_or(0);
        for code in rest {
            if mask == 0 {
                break;
            }
            mask &= self.later.get(usize::from(*code)).copied().unwrap_or(0);
        }
        mask
    }
}

/// Whether a name holds a text that is not empty.
fn holds(name: &[u8], text: &[u8]) -> bool {
    let Some(first) = text.first() else {
        return false;
    };
    let mut rest = name;
    while let Some((letter, behind)) = rest.split_first() {
        if letter == first && rest.starts_with(text) {
            return true;
        }
        rest = behind;
    }
    false
}

/// The pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    index: u32,
    at: u64,
}

impl Pass {
    pub(super) const fn new(tables: &Tables) -> Self {
        Self {
            index: 0,
            at: tables.names,
        }
    }

    /// Goes on; `Some(true)` when it is through, `None` if the table is damaged.
    pub(super) fn step<M: GuestPhysRead>(
        &mut self,
        view: &View<'_, M>,
        window: &mut Window,
        (tables, tokens, parts): (&Tables, &Tokens, &Parts),
        symbols: &mut Symbols,
        budget: &mut Budget,
    ) -> Option<bool> {
        while self.index < tables.count {
            if !budget.spend(NAMES_COST) {
                return Some(false);
            }
            let count = PER_MARKER.min(tables.count - self.index);
            let mut index = self.index;
            each_name(view, window, &mut self.at, count, |codes| {
                let mask = parts.candidates(codes);
                if mask != 0
                    && let Some(wanted) = spelled(codes, tokens, mask)
                    && let Some(address) = tables.address(view, index)
                {
                    symbols.set(wanted, address);
                }
                index += 1;
                true
            })?;
            self.index = index;
        }
        Some(true)
    }
}

/// The wanted name, of those in `mask`, that these tokens spell.
fn spelled(codes: &[u8], tokens: &Tokens, mask: u32) -> Option<usize> {
    let mut name = [0; NAME];
    let mut used = 0;
    for byte in codes.iter().flat_map(|code| tokens.get(*code)).skip(1) {
        *name.get_mut(used)? = *byte;
        used += 1;
    }
    let name = name.get(..used)?;
    let index = SYMBOLS.iter().position(|wanted| *wanted == name)?;
    (mask & 1 << index != 0).then_some(index)
}
