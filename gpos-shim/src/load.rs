//! The load under which latencies are taken: message-passing processes (the pattern of hackbench:
//! socket pairs, small messages, far more runnable processes than processors), the same over the
//! loopback network, disk input and output past the page cache, storms of page faults, and processes
//! that only burn the processor.
//!
//! Every worker is a process of its own, this program started again with an internal word, and dies with
//! its parent. At the end of the set time each prints what it has done as one number; the parent
//! adds the numbers up. Without a set time the load ends when it is killed.

mod disk;
mod memory;
mod messages;

use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::error::Error;

pub use disk::DiskUse;

/// How much of each kind of load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pairs of one sending and one receiving process.
    pub pairs: u32,
    /// Pairs of the same that talk over the loopback network, which must be up.
    pub network_pairs: u32,
    /// Processes that map memory, touch every page of it, and give it back.
    pub mappers: u32,
    /// Processes that compute.
    pub spinners: u32,
    /// A raw block device to read, and perhaps to overwrite.
    pub disk: Option<(PathBuf, DiskUse)>,
    /// How long; `None`: until killed.
    pub seconds: Option<u64>,
}

/// What the load has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Messages received, over sockets and network.
    pub messages: u64,
    /// Pages mapped, touched and given back.
    pub pages: u64,
    /// Blocks of 64 KiB moved from or to the disk.
    pub blocks: u64,
    /// Rounds of a spinner, 2^20 steps each.
    pub rounds: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "load: {} messages, {} disk blocks of 64 KiB, {} page faults, {} spin rounds",
            self.messages, self.blocks, self.pages, self.rounds
        )
    }
}

/// A worker's job: the internal word that starts this program as that worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// Sends on standard input, a socket.
    Send,
    /// Receives on standard input, a socket.
    Receive,
    /// Maps, touches and unmaps memory.
    Map,
    /// Computes.
    Spin,
    /// Reads the disk that is named next.
    ReadDisk,
    /// Overwrites it and reads it back.
    OverwriteDisk,
}

impl Worker {
    const ALL: [Self; 6] = [
        Self::Send,
        Self::Receive,
        Self::Map,
        Self::Spin,
        Self::ReadDisk,
        Self::OverwriteDisk,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Send => "worker-send",
            Self::Receive => "worker-receive",
            Self::Map => "worker-map",
            Self::Spin => "worker-spin",
            Self::ReadDisk => "worker-read-disk",
            Self::OverwriteDisk => "worker-overwrite-disk",
        }
    }

    /// The worker that this internal word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|worker| worker.word() == word)
    }
}

/// When a worker stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until(Option<Instant>);

impl Until {
    fn after(seconds: Option<u64>) -> Self {
        Self(seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds))))
    }

    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

/// Runs the load of `plan` to its end.
///
/// # Errors
/// A worker could not be started, or failed.
pub fn run(plan: &Plan) -> Result<Done, Error> {
    let mut workers: Vec<(Worker, Child)> = Vec::new();
    let started = start_all(plan, &mut workers);
    let mut done = Done::default();
    let mut failed = started.err();
    for (worker, mut child) in workers {
        if failed.is_some() {
            let _ = child.kill();
            let _ = child.wait();
            continue;
        }
        match collect(worker, &mut child) {
            Ok(count) => match worker {
                Worker::Send => {}
                Worker::Receive => done.messages += count,
                Worker::Map => done.pages += count,
                Worker::Spin => done.rounds += count,
                Worker::ReadDisk | Worker::OverwriteDisk => done.blocks += count,
            },
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(done), Err)
}

fn start_all(plan: &Plan, workers: &mut Vec<(Worker, Child)>) -> Result<(), Error> {
    for _ in 0..plan.pairs {
        let (sender, receiver) =
            UnixStream::pair().map_err(Error::file("make a socket pair in", "the kernel"))?;
        start(Worker::Send, Some(sender.into()), plan, workers)?;
        start(Worker::Receive, Some(receiver.into()), plan, workers)?;
    }
    for _ in 0..plan.network_pairs {
        let (sender, receiver) = network_pair()?;
        start(Worker::Send, Some(sender.into()), plan, workers)?;
        start(Worker::Receive, Some(receiver.into()), plan, workers)?;
    }
    for _ in 0..plan.mappers {
        start(Worker::Map, None, plan, workers)?;
    }
    for _ in 0..plan.spinners {
        start(Worker::Spin, None, plan, workers)?;
    }
    match &plan.disk {
        None => Ok(()),
        Some((_, DiskUse::Read)) => start(Worker::ReadDisk, None, plan, workers),
        Some((_, DiskUse::Overwrite)) => start(Worker::OverwriteDisk, None, plan, workers),
    }
}

/// Two ends of a connection over the loopback network.
fn network_pair() -> Result<(TcpStream, TcpStream), Error> {
    let failed = |act| Error::file(act, "the loopback network (is `lo` up?)");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("listen on"))?;
    let address = listener.local_addr().map_err(failed("listen on"))?;
    let sender = TcpStream::connect(address).map_err(failed("connect over"))?;
    let (receiver, _) = listener.accept().map_err(failed("connect over"))?;
    // Small messages at once, so that each costs its way through the network's code.
    sender.set_nodelay(true).map_err(failed("set up"))?;
    Ok((sender, receiver))
}

fn start(
    worker: Worker,
    input: Option<OwnedFd>,
    plan: &Plan,
    workers: &mut Vec<(Worker, Child)>,
) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(Error::file("find", "this program"))?;
    let mut command = Command::new(&program);
    command.arg(worker.word());
    if let Some(seconds) = plan.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    if let Some((device, _)) = &plan.disk {
        command.arg("--disk").arg(device);
    }
    command
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped());
    let child = command.spawn().map_err(Error::file("start", program))?;
    workers.push((worker, child));
    Ok(())
}

fn collect(worker: Worker, child: &mut Child) -> Result<u64, Error> {
    let failed = || Error::Worker {
        name: worker.word(),
    };
    let mut text = String::new();
    child
        .stdout
        .take()
        .ok_or_else(failed)?
        .read_to_string(&mut text)
        .map_err(|_| failed())?;
    let status = child.wait().map_err(|_| failed())?;
    if !status.success() {
        return Err(failed());
    }
    text.trim().parse().map_err(|_| failed())
}

/// Does a worker's job, in the process that was started for it; gives the number to print.
///
/// # Errors
/// What the job ran into.
pub fn work(worker: Worker, seconds: Option<u64>, device: Option<&PathBuf>) -> Result<u64, Error> {
    // Without this a load whose parent is killed would go on for ever. If the kernel refuses, a set
    // time still ends it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let until = Until::after(seconds);
    let named = || device.ok_or_else(|| Error::Usage("the disk worker needs --disk".into()));
    match worker {
        Worker::Send => messages::send(until),
        Worker::Receive => messages::receive(),
        Worker::Map => Ok(memory::storm(until)),
        Worker::Spin => Ok(spin(until)),
        Worker::ReadDisk => disk::run(named()?, DiskUse::Read, until),
        Worker::OverwriteDisk => disk::run(named()?, DiskUse::Overwrite, until),
    }
}

fn spin(until: Until) -> u64 {
    let mut rounds = 0;
    let mut state = 1_u64;
    while !until.is_over() {
        for _ in 0..1 << 20 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ 1);
        }
        rounds += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_word_leads_back_to_it() {
        for worker in Worker::ALL {
            assert_eq!(Worker::from_word(worker.word()), Some(worker));
        }
        assert_eq!(Worker::from_word("status"), None);
    }

    #[test]
    fn a_connection_over_the_loopback_network_carries_what_is_sent() {
        use std::io::Write;
        let (mut sender, mut receiver) = network_pair().expect("loopback is up");
        sender.write_all(b"word").expect("connected");
        let mut word = [0; 4];
        receiver.read_exact(&mut word).expect("connected");
        assert_eq!(&word, b"word");
    }

    #[test]
    fn a_spinner_ends_when_its_time_is_over() {
        assert_eq!(spin(Until::after(Some(0))), 0);
    }
}
