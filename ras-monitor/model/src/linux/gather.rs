//! Gathering the facts of a running kernel in slices, each of a bounded size.
//!
//! ```text
//!   Image ──► Search ──► Tokens ──► Names ──► Types ──► Complete
//!     ▲         │                     │                    │
//!     └─────────┴─────────────────────┴── another kernel ──┘   after some attempts: GaveUp
//! ```
//! A look at the running system pays for one slice. The image is found by the page tables that the
//! processor uses, so this begins with the kernel's first own page table, long before any part of
//! it could help. At a failure [`Gatherer::finish`] does what is left.

use super::facts::Facts;
use super::names::{self, Parts};
use super::shape::{Found, Search};
use super::view::{Budget, View, Window};
use super::wanted::{Members, Symbol, Symbols};
use super::{btf, kallsyms};
use crate::kernel_map::KernelMap;
use crate::memory::GuestPhysRead;

/// How often it is begun anew: the page tables may be those of the decompressor, of a firmware.
const ATTEMPTS_MAX: u32 = 16;
/// What looking for the image costs, at most.
const IMAGE_COST: u32 = 1200;
/// What copying the tokens costs.
const TOKENS_COST: u32 = 300;

/// The registers that say how the processor sees memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlRegisters {
    /// The page-table root.
    pub cr3: u64,
    /// Bit 12: five levels.
    pub cr4: u64,
}

/// What a slice brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No kernel is there yet: try again later.
    Waiting,
    /// There is more to do.
    Working,
    /// Everything is known that this kernel tells.
    Complete,
    /// This kernel has no tables that could be read, and is not looked at again.
    GaveUp,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Image,
    Search(u64, Search),
    Tokens(u16),
    Names(names::Pass),
    Types(btf::Pass),
    Complete,
    GaveUp,
}

/// Gathers [`Facts`]. 10 KiB: keep it in place.
#[derive(Clone, Debug)]
pub struct Gatherer {
    facts: Facts,
    stage: Stage,
    attempts: u32,
    window: Window,
    parts: Parts,
}

impl Default for Gatherer {
    fn default() -> Self {
        Self::new()
    }
}

impl Gatherer {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            facts: Facts::new(),
            stage: Stage::Image,
            attempts: 0,
            window: Window::new(),
            parts: Parts::new(),
        }
    }

    /// Another kernel is started: forget everything.
    pub const fn restarted(&mut self) {
        self.stage = Stage::Image;
        self.attempts = 0;
        self.facts.map = None;
    }

    /// The facts, as soon as the symbols are known; offsets of members come after them.
    pub const fn facts(&self) -> Option<&Facts> {
        match self.stage {
            Stage::Types(_) | Stage::Complete => Some(&self.facts),
            _ => None,
        }
    }

    /// Does a slice of the work: `units`, each in the order of a hundred instructions, and at most
    /// a few thousand more.
    pub fn step(
        &mut self,
        memory: &impl GuestPhysRead,
        control: ControlRegisters,
        units: u32,
    ) -> Progress {
        let mut budget = Budget(units);
        self.window.clear();
        loop {
            let Some(next) = self.advance(memory, control, &mut budget) else {
                return match self.stage {
                    Stage::Image => Progress::Waiting,
                    Stage::Complete => Progress::Complete,
                    Stage::GaveUp => Progress::GaveUp,
                    _ => Progress::Working,
                };
            };
            self.stage = next;
            if budget.0 == 0 && !matches!(self.stage, Stage::Complete | Stage::GaveUp) {
                return Progress::Working;
            }
        }
    }

    /// Brings the gathering to its end at a failure: some tens of milliseconds, nothing if it was
    /// complete.
    pub fn finish(&mut self, memory: &impl GuestPhysRead, control: ControlRegisters) -> Progress {
        // More steps than all tables of their greatest size need.
        const STEPS_MAX: u32 = 1 << 10;
        const UNITS: u32 = 1 << 14;
        if let Stage::GaveUp = self.stage {
            self.restarted();
        }
        for _ in 0..STEPS_MAX {
            match self.step(memory, control, UNITS) {
                Progress::Working => {}
                end => return end,
            }
        }
        Progress::GaveUp
    }

    /// The next stage, or `None` if this slice is over or there is nothing to do.
    fn advance<M: GuestPhysRead>(
        &mut self,
        memory: &M,
        control: ControlRegisters,
        budget: &mut Budget,
    ) -> Option<Stage> {
        let facts = &mut self.facts;
        match &mut self.stage {
            Stage::Image => {
                if budget.0 == 0 {
                    return None;
                }
                budget.charge(IMAGE_COST);
                let map = KernelMap::of_tables(memory, control.cr3, control.cr4)?;
                let image = map.text().0;
                facts.map = Some(map);
                Some(Stage::Search(image, Search::new(image)))
            }
            Stage::Search(image, search) => {
                let view = facts.view(memory)?;
                match search.step(&view, &mut self.window, *image, budget) {
                    Found::More => None,
                    Found::Tables(tables, tokens) => {
                        facts.tables = tables;
                        budget.charge(TOKENS_COST);
                        if !read_tokens(facts, &view, tokens) {
                            return Some(self.retry());
                        }
                        facts.symbols = Symbols::new();
                        facts.members = Members::new();
                        Some(Stage::Tokens(0))
                    }
                    Found::Nothing => Some(self.retry()),
                }
            }
            Stage::Tokens(next) => self
                .parts
                .prepare(&facts.tokens, next, budget)
                .then(|| Stage::Names(names::Pass::new(&facts.tables))),
            Stage::Names(pass) => {
                let view = facts.view(memory)?;
                let tables = (&facts.tables, &facts.tokens, &self.parts);
                match pass.step(&view, &mut self.window, tables, &mut facts.symbols, budget) {
                    Some(false) => None,
                    Some(true) => Some(symbols_known(facts, memory)),
                    None => Some(self.retry()),
                }
            }
            Stage::Types(pass) => {
                let view = facts.view(memory)?;
                match pass.step(&view, &mut self.window, &mut facts.members, budget) {
                    Some(false) => None,
                    // Damaged: what was found before still helps.
                    Some(true) | None => Some(Stage::Complete),
                }
            }
            // A kernel may have started another by itself.
            Stage::Complete => (!facts.is_of(memory)).then(|| self.retry()),
            Stage::GaveUp => None,
        }
    }

    fn retry(&mut self) -> Stage {
        self.facts.map = None;
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX {
            Stage::GaveUp
        } else {
            Stage::Image
        }
    }
}

/// Behind the markers, or behind a table of three bytes per symbol that kernels from 6.2 on have
/// between.
fn read_tokens<M: GuestPhysRead>(facts: &mut Facts, view: &View<'_, M>, at: u64) -> bool {
    let sequence = u64::from(facts.tables.count) * 3;
    let behind = kallsyms::align(at.wrapping_add(sequence));
    facts.tokens.read(view, at) || facts.tokens.read(view, behind)
}

/// The reference page table is known now, and where the type information is.
fn symbols_known<M: GuestPhysRead>(facts: &mut Facts, memory: &M) -> Stage {
    if let (Some(map), Some(root)) = (&mut facts.map, facts.symbols.get(Symbol::RootTable)) {
        map.use_root(root);
    }
    let types = facts.view(memory).and_then(|view| {
        let start = facts.symbols.get(Symbol::BtfStart)?;
        let end = facts.symbols.get(Symbol::BtfEnd)?;
        btf::Pass::new(&view, start, end)
    });
    types.map_or(Stage::Complete, Stage::Types)
}
