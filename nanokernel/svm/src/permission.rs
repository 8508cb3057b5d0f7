//! The I/O and MSR permission maps (APM2 15.10.1 and 15.11): a set bit intercepts.

/// The I/O permission map: one bit per port, and a byte of slack for multi-byte accesses.
#[repr(C, align(4096))]
pub(crate) struct IoMap([u8; 12288]);

/// The MSR permission map: two bits per MSR (read, write) in three ranges; all others exit.
#[repr(C, align(4096))]
pub(crate) struct MsrMap([u8; 8192]);

impl IoMap {
    pub(crate) const fn pass_all() -> Self {
        Self([0; 12288])
    }

    pub(crate) fn intercept(&mut self, port: u16) {
        if let Some(byte) = self.0.get_mut(usize::from(port / 8)) {
            *byte |= 1 << (port % 8);
        }
    }
}

impl MsrMap {
    pub(crate) const fn intercept_all() -> Self {
        Self([0xff; 8192])
    }

    /// Lets reads of `msr` through, and writes if `writes`.
    pub(crate) fn pass(&mut self, msr: u32, writes: bool) {
        let slot = match msr {
            0..=0x1fff => msr,
            0xc000_0000..=0xc000_1fff => msr - 0xc000_0000 + 0x2000,
            0xc001_0000..=0xc001_1fff => msr - 0xc001_0000 + 0x4000,
            _ => return,
        };
        if let Some(byte) = self.0.get_mut((slot / 4) as usize) {
            let bits = if writes { 0b11 } else { 0b01 };
            *byte &= !(bits << (slot % 4 * 2));
        }
    }
}
