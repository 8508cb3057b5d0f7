//! The memory type range registers as the guest sees them (APM2 7.7).
//!
//! A copy: it starts as firmware left the hardware's and takes what the guest writes. Under nested
//! paging the processor does not look at the guest's ranges (APM2 15.25.8), and the hardware's own stay
//! firmware's, so the copy is there to be read back and decides nothing.

/// Ranges with a base and a mask of their own.
const MAX_VARIABLE: usize = 8;
const FIXED: usize = 11;

const CAPABILITY: u32 = 0xfe;
const DEFAULT_TYPE: u32 = 0x2ff;
const FIRST_VARIABLE: u32 = 0x200;

/// The registers, and which of them there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mtrrs {
    capability: u64,
    default_type: u64,
    fixed: [u64; FIXED],
    variable: [[u64; 2]; MAX_VARIABLE],
}

impl Mtrrs {
    /// The hardware's registers, by RDMSR. At most eight variable ranges are shown.
    pub fn capture(mut read: impl FnMut(u32) -> u64) -> Self {
        let hardware = read(CAPABILITY);
        let count = (hardware & 0xff).min(MAX_VARIABLE as u64);
        let mut mtrrs = Self {
            capability: hardware & !0xff | count,
            default_type: read(DEFAULT_TYPE),
            fixed: [0; FIXED],
            variable: [[0; 2]; MAX_VARIABLE],
        };
        for msr in FIRST_VARIABLE..=0x26f {
            if let Some(register) = mtrrs.register(msr) {
                *register = read(msr);
            }
        }
        mtrrs
    }

    /// The value of register `msr`; `None` if there is none.
    pub(super) fn read(&mut self, msr: u32) -> Option<u64> {
        match msr {
            CAPABILITY => Some(self.capability),
            _ => self.register(msr).copied(),
        }
    }

    /// Writes register `msr`; false if there is none or it is read-only.
    pub(super) fn write(&mut self, msr: u32, value: u64) -> bool {
        match self.register(msr) {
            Some(register) => {
                *register = value;
                true
            }
            None => false,
        }
    }

    fn register(&mut self, msr: u32) -> Option<&mut u64> {
        let place = match msr {
            DEFAULT_TYPE => return Some(&mut self.default_type),
            0x200..=0x20f => {
                let index = msr - FIRST_VARIABLE;
                if u64::from(index / 2) >= self.capability & 0xff {
                    return None;
                }
                let [base, mask] = self.variable.get_mut(usize::try_from(index / 2).ok()?)?;
                return Some(if index & 1 == 0 { base } else { mask });
            }
            0x250 => 0,
            0x258 | 0x259 => 1 + msr - 0x258,
            0x268..=0x26f => 3 + msr - 0x268,
            _ => return None,
        };
        self.fixed.get_mut(usize::try_from(place).ok()?)
    }
}
