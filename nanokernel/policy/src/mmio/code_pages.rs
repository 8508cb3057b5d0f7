//! Where the guest's last trapped instructions lay, so that skipping one needs no page walk.
//!
//! Entries are not invalidated when the guest changes its page tables, which would need more exits
//! than the walk is worth. A stale entry is harmless: it names the guest's own RAM, and whoever uses it
//! accepts the bytes there only if they are exactly the plain form of the instruction that the exit
//! names; everything else takes the long way, which walks and decodes.

use darma_abi::units::GuestVirt;

const ENTRIES: usize = 8;
const OFFSET: u64 = 0xfff;

#[derive(Clone, Copy, Debug)]
struct Entry<P> {
    root: u64,
    page: u64,
    at: Option<P>,
}

/// Where an instruction lay: an offset in a page that was found to be the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeAddress<P> {
    /// The page, as its finder vouches for it.
    pub page: P,
    /// The offset in it, below 4096.
    pub offset: u64,
}

/// The last translations of code addresses, by page-table root and page.
#[derive(Clone, Copy, Debug)]
pub struct CodePages<P> {
    entries: [Entry<P>; ENTRIES],
}

impl<P: Copy> Default for CodePages<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Copy> CodePages<P> {
    /// None known.
    pub const fn new() -> Self {
        let vacant = Entry {
            root: 0,
            page: 0,
            at: None,
        };
        Self {
            entries: [vacant; ENTRIES],
        }
    }

    /// Where `at` lay under the page tables at `root` when it was last looked for.
    #[inline]
    pub fn find(&self, root: u64, at: GuestVirt) -> Option<CodeAddress<P>> {
        let entry = self.entries.get(place(at))?;
        let page = entry.at?;
        (entry.root == root && entry.page == at.0 & !OFFSET).then_some(CodeAddress {
            page,
            offset: at.0 & OFFSET,
        })
    }

    /// Remembers that `at` lies in `page`, and returns where.
    pub fn remember(&mut self, root: u64, at: GuestVirt, page: P) -> CodeAddress<P> {
        if let Some(entry) = self.entries.get_mut(place(at)) {
            *entry = Entry {
                root,
                page: at.0 & !OFFSET,
                at: Some(page),
            };
        }
        CodeAddress {
            page,
            offset: at.0 & OFFSET,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "three bits")]
const fn place(at: GuestVirt) -> usize {
    (at.0 >> 12) as usize & (ENTRIES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_under_its_root_only() {
        let mut pages = CodePages::new();
        pages.remember(0x1000, GuestVirt(0x7fff_1234), 'a');
        let again = pages.find(0x1000, GuestVirt(0x7fff_1fff));
        let expected = CodeAddress {
            page: 'a',
            offset: 0xfff,
        };
        assert_eq!(again, Some(expected));
        assert_eq!(pages.find(0x2000, GuestVirt(0x7fff_1234)), None);
        assert_eq!(pages.find(0x1000, GuestVirt(0x7fff_2234)), None);
    }

    #[test]
    fn nothing_is_known_at_first() {
        let pages = CodePages::<char>::new();
        for at in [0, 1, 0x1000, u64::MAX] {
            assert_eq!(pages.find(0, GuestVirt(at)), None);
        }
    }
}
