//! Lines of text in a buffer of fixed size, without the machinery of `core::fmt`: whole lines or none.

/// A text that grows by lines.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    out: &'a mut [u8],
    /// The end of the last whole line.
    pub(super) whole: usize,
    used: usize,
    full: bool,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self {
            out,
            whole: 0,
            used: 0,
            full: false,
        }
    }

    /// Adds bytes to the line; what is not printable ASCII becomes a question mark.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.out.get_mut(self.used) {
                Some(room) => {
                    *room = if matches!(byte, b' '..=b'~') {
                        *byte
                    } else {
                        b'?'
                    };
                    self.used += 1;
                }
                None => self.full = true,
            }
        }
    }

    /// Adds a number to the line, hexadecimal with its prefix.
    pub(super) fn hexadecimal(&mut self, value: u64) {
        self.push(b"0x");
        self.digits(value, 16);
    }

    /// Adds a number to the line.
    pub(super) fn decimal(&mut self, value: u64) {
        self.digits(value, 10);
    }

    fn digits(&mut self, mut value: u64, radix: u64) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        loop {
            first = first.saturating_sub(1);
            let digit = usize::try_from(value % radix).unwrap_or(0);
            if let (Some(room), Some(digit)) = (digits.get_mut(first), DIGITS.get(digit)) {
                *room = *digit;
            }
            value /= radix;
            if value == 0 {
                break;
            }
        }
        self.push(digits.get(first..).unwrap_or(&[]));
    }

    /// What was used so far, if everything fitted.
    pub(super) fn fits(&self) -> Option<usize> {
        (!self.full).then_some(self.used)
    }

    /// Ends the line. One that does not fit whole is taken back, and those after it as well.
    pub(super) fn end(&mut self) {
        match self.out.get_mut(self.used) {
            Some(room) if !self.full => {
                *room = b'\n';
                self.used += 1;
                self.whole = self.used;
            }
            _ => {
                self.full = true;
                self.used = self.whole;
            }
        }
    }
}
