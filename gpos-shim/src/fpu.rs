//! A stress of the floating-point and vector registers: does anybody below disturb them?
//!
//! Each thread has its own register state in the kernel. A thread fills every x87, SSE and AVX register
//! and the control and status words with a pattern, spins for about half a millisecond without touching
//! them, so that timer interrupts, other threads and the real-time tasks below come in between, and
//! compares. What it holds is different in each round and thread.

mod pattern;
mod registers;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use pattern::Pattern;

/// Turns of the loop in which a round waits: two instructions each.
const SPIN: u64 = 100_000;

/// What was held, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intact {
    /// Rounds of all threads.
    pub rounds: u64,
    /// Threads.
    pub threads: u32,
    /// The processor has AVX, and its registers were held as well.
    pub avx: bool,
}

impl fmt::Display for Intact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fpu: {} rounds in {} threads, all intact: x87, MXCSR, xmm0 to xmm15{}",
            self.rounds,
            self.threads,
            if self.avx {
                ", ymm0 to ymm15"
            } else {
                "; no AVX here"
            }
        )
    }
}

/// Runs `threads` threads for `seconds`, at least one round each.
///
/// # Errors
/// A register did not hold what was put into it: which, and the bytes.
pub fn run(threads: u32, seconds: u64) -> Result<Intact, Error> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let started: Vec<_> = (0..threads)
        .map(|thread| thread::spawn(move || hold(u64::from(thread), end)))
        .collect();
    let mut rounds = 0;
    for thread in started {
        rounds += thread.join().map_err(|_| Error::Worker { name: "fpu" })??;
    }
    Ok(Intact {
        rounds,
        threads,
        avx: registers::has_avx(),
    })
}

fn hold(thread: u64, end: Instant) -> Result<u64, Error> {
    let avx = registers::has_avx();
    let mut rounds = 0;
    loop {
        let put = Pattern::new(thread << 32 | rounds);
        let got = registers::hold(&put, SPIN, avx);
        if let Some(difference) = put.difference(&got, avx) {
            return Err(Error::Registers(difference));
        }
        rounds += 1;
        if Instant::now() >= end {
            return Ok(rounds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn on_a_sound_machine_the_registers_are_intact() {
        let intact = run(3, 0).expect("intact");
        assert!(intact.rounds >= 3 && intact.threads == 3);
    }
}
