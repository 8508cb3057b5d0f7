//! CRC-32C (Castagnoli), the checksum of fault records and dumps.
//!
//! It is this one because the processor computes it eight bytes at a time (SSE4.2 `crc32`, which
//! works on general registers). The instruction belongs to the edge; formats here take the function
//! as an argument, and the host tools and tests use [`software`].

/// Continues a checksum over more bytes. Start with 0; `crc(crc(0, a), b)` equals `crc(0, ab)`.
pub type Crc32c = fn(u32, &[u8]) -> u32;

/// The reflected polynomial.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The remainders of the sixteen half-bytes: 64 bytes of table instead of a kilobyte.
const NIBBLES: [u32; 16] = {
    let mut table = [0; 16];
    let mut value: u32 = 0;
    while value < 16 {
        let mut remainder = value;
        let mut bit = 0;
        while bit < 4 {
            remainder = if remainder & 1 != 0 {
                remainder >> 1 ^ POLYNOMIAL
            } else {
                remainder >> 1
            };
            bit += 1;
        }
        table[value as usize] = remainder;
        value += 1;
    }
    table
};

/// CRC-32C without the instruction.
pub fn software(crc: u32, bytes: &[u8]) -> u32 {
    let mut state = !crc;
    for byte in bytes {
        state ^= u32::from(*byte);
        state = state >> 4 ^ nibble(state);
        state = state >> 4 ^ nibble(state);
    }
    !state
}

fn nibble(state: u32) -> u32 {
    let [low, ..] = (state & 0xf).to_le_bytes();
    NIBBLES.get(usize::from(low)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_castagnoli_checksum() {
        // The check value of the catalogue of parametrised CRC algorithms, and RFC 3720 B.4.
        assert_eq!(software(0, b"123456789"), 0xe306_9283);
        assert_eq!(software(0, &[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn it_continues_over_pieces() {
        assert_eq!(
            software(software(0, b"1234"), b"56789"),
            software(0, b"123456789")
        );
    }
}
