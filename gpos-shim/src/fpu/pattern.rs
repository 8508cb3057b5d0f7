//! What is put into the registers: the image that FXRSTOR64 loads, and the upper halves of the YMM
//! registers, which it does not know (APM2 11.4).

/// Where things are in the image.
const CONTROL: usize = 0;
const STATUS: usize = 2;
const TAGS: usize = 4;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;

/// Masks of every x87 exception, and a bit that reads 1; masks of every SIMD exception. A pattern that
/// raised one would end us.
const X87_MASKED: u16 = 0x7f;
const SIMD_MASKED: u32 = 0x1f80;

/// The content of all registers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(32))]
pub(super) struct Pattern {
    pub(super) legacy: [u8; 512],
    /// Bits 128 to 255 of ymm0 to ymm15.
    pub(super) upper: [[u8; 16]; 16],
}

impl Pattern {
    /// Registers that hold nothing yet.
    pub(super) const fn empty() -> Self {
        Self {
            legacy: [0; 512],
            upper: [[0; 16]; 16],
        }
    }

    /// A content of its own for each `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut made = Self::empty();
        let [a, b, c, d, e, f, ..] = next().to_le_bytes();
        // Precision and rounding at random; the reserved precision 01 is left out.
        let precision = [0, 2, 3][usize::from(a % 3)] << 8;
        let control = X87_MASKED | precision | u16::from(b & 3) << 10;
        // Flags, condition codes and the top of the stack at random.
        let status = u16::from(c & 0x3f) | u16::from(d & 0x7f) << 8;
        // Flags, rounding, flush to zero.
        let mxcsr = SIMD_MASKED | u32::from(e & 0x3f) | u32::from(f & 7) << 13;
        made.put(CONTROL, &control.to_le_bytes());
        made.put(STATUS, &status.to_le_bytes());
        made.put(TAGS, &[0xff]);
        made.put(MXCSR, &mxcsr.to_le_bytes());
        for register in 0..8 {
            // A normal number: the leading bit is explicit, the exponent neither all zeros nor all ones.
            let significand = next() | 1 << 63;
            let [low, high, ..] = next().to_le_bytes();
            let exponent = u16::from_le_bytes([low | 1, high & 0xbf]);
            made.put(ST + 16 * register, &significand.to_le_bytes());
            made.put(ST + 16 * register + 8, &exponent.to_le_bytes());
        }
        for half in 0..32 {
            made.put(XMM + 8 * half, &next().to_le_bytes());
        }
        for upper in &mut made.upper {
            upper[..8].copy_from_slice(&next().to_le_bytes());
            upper[8..].copy_from_slice(&next().to_le_bytes());
        }
        made
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.legacy[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The first register of `got` that is not as here, in words; the upper halves count if `avx`.
    pub(super) fn difference(&self, got: &Self, avx: bool) -> Option<String> {
        let words = [
            ("the x87 control word".to_owned(), CONTROL, 2),
            ("the x87 status word".to_owned(), STATUS, 2),
            ("the x87 tags".to_owned(), TAGS, 1),
            ("MXCSR".to_owned(), MXCSR, 4),
        ];
        let x87 = (0..8).map(|number| (format!("st({number})"), ST + 16 * number, 10));
        let xmm = (0..16).map(|number| (format!("xmm{number}"), XMM + 16 * number, 16));
        for (name, at, length) in words.into_iter().chain(x87).chain(xmm) {
            let (put, got) = (&self.legacy[at..at + length], &got.legacy[at..at + length]);
            if put != got {
                return Some(format!("{name} held {put:02x?} and then {got:02x?}"));
            }
        }
        let mut uppers = self.upper.iter().zip(&got.upper).enumerate();
        uppers
            .find(|(_, (put, got))| avx && put != got)
            .map(|(number, (put, got))| {
                format!("the upper half of ymm{number} held {put:02x?} and then {got:02x?}")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, XMM};

    #[test]
    fn every_seed_has_a_content_of_its_own() {
        assert_ne!(Pattern::new(1), Pattern::new(2));
        assert_ne!(Pattern::new(1).upper[3], Pattern::new(1 << 32).upper[3]);
    }

    #[test]
    fn a_difference_names_the_register() {
        let put = Pattern::new(7);
        assert_eq!(put.difference(&put.clone(), true), None);
        let mut got = put.clone();
        got.legacy[XMM + 16 * 5 + 3] ^= 1;
        assert!(
            put.difference(&got, true)
                .is_some_and(|words| words.starts_with("xmm5 held"))
        );
        let mut got = put.clone();
        got.upper[15][15] ^= 1;
        assert!(
            put.difference(&got, true)
                .is_some_and(|words| words.contains("ymm15"))
        );
        assert_eq!(put.difference(&got, false), None);
    }
}
