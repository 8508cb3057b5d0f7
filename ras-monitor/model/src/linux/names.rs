//! All wanted symbols in one pass over the table of names.
//!
//! Names are compressed, so none can be searched for directly. A token that no wanted name begins
//! with rules most symbols out at once; what is left is compared token by token.

use super::kallsyms::{Compressed, Tables, Tokens};
use super::view::{Budget, View, Window};
use super::wanted::{SYMBOLS, Symbols};
use crate::memory::GuestPhysRead;

const _: () = assert!(SYMBOLS.len() <= 32, "a bit for each");

/// For each token, the wanted names that may go on with it: a bit for each.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    /// If it stands first, its first character being the type's letter.
    first: [u32; 256],
    /// If it stands behind a type's letter that is a token of its own.
    second: [u32; 256],
}

impl Starts {
    pub(super) const fn new() -> Self {
        Self {
            first: [0; 256],
            second: [0; 256],
        }
    }

    /// Looks at all tokens.
    pub(super) fn prepare(&mut self, tokens: &Tokens) {
        for token in 0..=u8::MAX {
            let text = tokens.get(token);
            let behind_letter = text.get(1..).unwrap_or(&[]);
            let at = usize::from(token);
            if let (Some(first), Some(second)) = (self.first.get_mut(at), self.second.get_mut(at)) {
                *first = continuing(ALL, 0, behind_letter);
                *second = continuing(ALL, 0, text);
            }
        }
    }
}

/// A bit for each wanted name.
const ALL: u32 = u32::MAX >> (32 - SYMBOLS.len());

/// Of the wanted names in `mask`, those that hold `text` at `position`.
fn continuing(mask: u32, position: usize, text: &[u8]) -> u32 {
    let mut left = mask;
    let mut kept = 0;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left ^= bit;
        if wanted(bit)
            .get(position..)
            .is_some_and(|rest| rest.starts_with(text))
        {
            kept |= bit;
        }
    }
    kept
}

fn wanted(bit: u32) -> &'static [u8] {
    usize::try_from(bit.trailing_zeros())
        .ok()
        .and_then(|index| SYMBOLS.get(index))
        .copied()
        .unwrap_or(&[])
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
        (tables, tokens, starts): (&Tables, &Tokens, &Starts),
        symbols: &mut Symbols,
        budget: &mut Budget,
    ) -> Option<bool> {
        while self.index < tables.count {
            if self.index.is_multiple_of(4) && !budget.spend(3) {
                return Some(false);
            }
            let name = Compressed::at(view, window, self.at)?;
            let codes = window.get(view, name.tokens, name.count)?;
            let mask = matching(codes, tokens, starts);
            if mask != 0 {
                let address = tables.address(view, self.index)?;
                symbols.set(usize::try_from(mask.trailing_zeros()).ok()?, address);
            }
            self.at = name.next();
            self.index += 1;
        }
        Some(true)
    }
}

/// The wanted name that these tokens spell, as a bit, or zero.
fn matching(codes: &[u8], tokens: &Tokens, starts: &Starts) -> u32 {
    let Some((first, rest)) = codes.split_first() else {
        return 0;
    };
    let mut mask = starts.first.get(usize::from(*first)).copied().unwrap_or(0);
    if mask == 0 {
        return 0;
    }
    let mut position = tokens.get(*first).len().saturating_sub(1);
    for code in rest {
        mask = if position == 0 {
            starts.second.get(usize::from(*code)).copied().unwrap_or(0)
        } else {
            continuing(mask, position, tokens.get(*code))
        };
        if mask == 0 {
            return 0;
        }
        position += tokens.get(*code).len();
    }
    let mut left = mask;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left ^= bit;
        if wanted(bit).len() == position {
            return bit;
        }
    }
    0
}
