//! Reading the memory of the stopped GPOS.

pub use darma_abi::memory::GuestPhysRead;

/// Bytes per page of the GPOS.
pub const PAGE_BYTES: usize = 4096;
/// The same, for address arithmetic.
pub const PAGE_BYTES_U64: u64 = 4096;

#[cfg(test)]
pub(crate) mod testing {
    extern crate std;
    use super::*;
    use darma_abi::units::GuestPhys;
    use std::vec::Vec;

    /// Guest memory made of one vector that starts at address zero.
    pub(crate) struct Flat(pub(crate) Vec<u8>);

    impl Flat {
        pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        pub(crate) fn put_u64(&mut self, at: usize, value: u64) {
            self.put(at, &value.to_le_bytes());
        }
    }

    impl GuestPhysRead for Flat {
        fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
            let Ok(start) = usize::try_from(at.0) else {
                return false;
            };
            let Some(end) = start.checked_add(out.len()) else {
                return false;
            };
            match self.0.get(start..end) {
                Some(bytes) => {
                    out.copy_from_slice(bytes);
                    true
                }
                None => false,
            }
        }
    }

    #[test]
    fn reading_past_the_end_says_no() {
        let memory = Flat(std::vec![1; 16]);
        assert_eq!(memory.read_u64(GuestPhys(9)), None);
        assert_eq!(memory.read_u64(GuestPhys(u64::MAX)), None);
        assert_eq!(memory.read_u64(GuestPhys(8)), Some(0x0101_0101_0101_0101));
    }
}
