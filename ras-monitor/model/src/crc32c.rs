//! CRC-32C (Castagnoli), the checksum of fault records and dumps.
//!
//! It is this one because the processor computes it eight bytes at a time (SSE4.2 `crc32`, which
//! works on general registers). The instruction belongs to the edge; formats here take the function
//! as an argument, and the host tools and tests use [`software`].

use darma_policy::boot::manifest::crc32c_continue;

/// Continues a checksum over more bytes. Start with 0; `crc(crc(0, a), b)` equals `crc(0, ab)`.
pub type Crc32c = fn(u32, &[u8]) -> u32;

/// CRC-32C without the instruction.
pub fn software(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c_continue(!crc, bytes)
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
