//! Message passing: a sender fills a socket with small messages, a receiver drains it. Both block
//! and wake all the time, which is what loads the scheduler.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use super::Until;
use crate::error::Error;

/// As hackbench: small enough that the system calls cost more than the copying.
const MESSAGE_BYTES: usize = 100;
/// Messages between two looks at the clock.
const MESSAGES_PER_LOOK: u64 = 64;

pub(super) fn send(until: Until) -> Result<u64, Error> {
    let mut socket = standard_input()?;
    let message = [0x5a; MESSAGE_BYTES];
    let mut sent = 0;
    while !until.is_over() {
        for _ in 0..MESSAGES_PER_LOOK {
            match socket.write_all(&message) {
                Ok(()) => sent += 1,
                // The receiver is gone: so is the load.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(sent),
                Err(error) => return Err(Error::file("send on", "the socket")(error)),
            }
        }
    }
    Ok(sent)
}

pub(super) fn receive() -> Result<u64, Error> {
    let mut socket = standard_input()?;
    let mut message = [0; MESSAGE_BYTES];
    let mut received = 0;
    loop {
        match socket.read_exact(&mut message) {
            Ok(()) => received += 1,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(received),
            Err(error) => return Err(Error::file("receive on", "the socket")(error)),
        }
    }
}

/// The socket that the parent gave as standard input, without standard input's buffer.
fn standard_input() -> Result<File, Error> {
    let fd = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::file("use", "standard input"))?;
    Ok(File::from(fd))
}
