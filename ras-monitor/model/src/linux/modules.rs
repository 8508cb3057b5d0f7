//! Modules: whose code an address outside the kernel's image is, and what it is called there.
//!
//! Each module brings its own tables, in the kernel's list of modules. Their places come from the
//! type information; a kernel without it, or with other structures (from 6.4 on), shows addresses.

use super::orc::Orc;
use super::view::{View, Window};
use super::wanted::{Member, Members, Symbol, Symbols};
use crate::memory::GuestPhysRead;

/// Modules that are looked at: twice what a full distribution kernel loads, and more.
const MODULES_MAX: u32 = 1024;
/// Symbols of one module that are looked at.
const SYMBOLS_MAX: u32 = 1 << 15;
const SYMBOL_BYTES: u64 = 24;
/// A module's name: `MODULE_NAME_LEN`.
const NAME: usize = 56;

/// A module, as far as a backtrace needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module {
    base: u64,
    size: u64,
    text: u64,
    name: [u8; NAME],
    symbols: u64,
    pub(super) orc: Option<Orc>,
}

/// A symbol around an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Address of its name.
    pub(super) name: u64,
    /// The address, from its begin.
    pub(super) offset: u64,
    /// From its begin to the next one's.
    pub(super) size: u64,
}

impl Module {
    /// The module whose memory holds an address.
    pub(super) fn around<M: GuestPhysRead>(
        view: &View<'_, M>,
        symbols: &Symbols,
        members: &Members,
        address: u64,
    ) -> Option<Self> {
        let head = symbols.get(Symbol::Modules)?;
        let place = |member| members.bytes(member);
        let layout = place(Member::ModuleLayout)?;
        let base_at = layout.wrapping_add(place(Member::LayoutBase)?);
        let size_at = layout.wrapping_add(place(Member::LayoutSize)?);
        let mut node = view.u64(head)?;
        for _ in 0..MODULES_MAX {
            if node == head {
                return None;
            }
            let module = node.wrapping_sub(place(Member::ModuleList)?);
            let base = view.u64(module.wrapping_add(base_at))?;
            let size = u64::from(view.u32(module.wrapping_add(size_at))?);
            if address.wrapping_sub(base) < size {
                let text = layout.wrapping_add(place(Member::LayoutText)?);
                let symbols = module.wrapping_add(place(Member::ModuleSymbols)?);
                return Some(Self {
                    base,
                    size,
                    text: u64::from(view.u32(module.wrapping_add(text))?),
                    name: view.bytes(module.wrapping_add(place(Member::ModuleName)?))?,
                    symbols: view.u64(symbols)?,
                    orc: tables(view, members, module),
                });
            }
            node = view.u64(node)?;
        }
        None
    }

    /// Whether an address is in its memory.
    pub(super) const fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.size
    }

    /// Its name.
    pub(super) fn name(&self) -> &[u8] {
        let name = self.name.split(|byte| *byte == 0).next();
        name.unwrap_or(&[])
    }

    /// The symbol around an address, by the kernel's own rule (`find_kallsyms_symbol`): the greatest
    /// at or below it that has a name, up to the next one that has.
    pub(super) fn symbol<M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        members: &Members,
        address: u64,
    ) -> Option<Around> {
        let list = |member| {
            members
                .bytes(member)
                .map(|at| self.symbols.wrapping_add(at))
        };
        let table = view.u64(list(Member::ListTable)?)?;
        let count = view.u32(list(Member::ListCount)?)?.min(SYMBOLS_MAX);
        let names = view.u64(list(Member::ListNames)?)?;
        let mut window = Window::new();
        let mut best = None;
        let mut next = self.base.wrapping_add(self.text);
        for index in 1..count {
            let at = table.wrapping_add(u64::from(index) * SYMBOL_BYTES);
            let symbol = window.get(view, at, 24)?;
            let section = symbol.get(6..8)?;
            let value = u64::from_le_bytes(*symbol.get(8..)?.first_chunk()?);
            let better = if value <= address {
                best.is_none_or(|(greatest, _)| value > greatest)
            } else {
                value < next
            };
            if section == [0, 0] || !better {
                continue;
            }
            let name = u32::from_le_bytes(*symbol.first_chunk()?);
            let name = names.wrapping_add(u64::from(name));
            let [first, second] = view.bytes(name)?;
            // Unnamed, or a mark of the assembler or compiler.
            if first == 0 || first == b'$' || (first == b'.' && second == b'L') {
                continue;
            }
            if value <= address {
                best = Some((value, name));
            } else {
                next = value;
            }
        }
        best.map(|(value, name)| Around {
            name,
            offset: address.wrapping_sub(value),
            size: next.wrapping_sub(value),
        })
    }
}

/// A module's ORC tables.
fn tables<M: GuestPhysRead>(view: &View<'_, M>, members: &Members, module: u64) -> Option<Orc> {
    let arch = module.wrapping_add(members.bytes(Member::ModuleArch)?);
    let at = |member| members.bytes(member).map(|place| arch.wrapping_add(place));
    let count = view.u32(at(Member::ArchOrcs)?)?;
    let ips = view.u64(at(Member::ArchOrcIp)?)?;
    let entries = view.u64(at(Member::ArchOrc)?)?;
    Orc::new(ips, entries, u64::from(count))
}
