//! The shared region: written by the nanokernel and, since it is the GPOS's to write as well, by
//! anybody.

use std::hint::black_box;
use std::mem::size_of;

use super::input::Input;
use darma_abi::shared::{
    Doorbell, MAX_TASKS, STATUS_OFFSET, StatusBlock, StatusSnapshot, StatusWriter,
};

/// The status block's reader, on the bytes as the region and as the block of a sound region.
pub fn status(bytes: &[u8]) {
    check_status(bytes);
    let mut region = vec![0; STATUS_OFFSET + size_of::<StatusBlock>()];
    StatusWriter::new().initialise(region.as_mut_slice());
    for (to, from) in region[STATUS_OFFSET..].iter_mut().zip(bytes) {
        *to = *from;
    }
    check_status(&region);
}

fn check_status(region: &[u8]) {
    match StatusSnapshot::read(region) {
        Ok(snapshot) => {
            assert!(snapshot.tasks().len() <= MAX_TASKS);
            for task in snapshot.tasks() {
                let name = task.name.as_str();
                assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
            black_box(snapshot.gpos_state());
            if let Some(fault) = snapshot.last_fault() {
                black_box((fault.known_cause(), fault.announced_kind()));
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}

/// Writes to the doorbell: offset and value each. What has a meaning has exactly one.
pub fn doorbell(bytes: &[u8]) {
    let mut input = Input(bytes);
    while !input.is_empty() {
        let (offset, value) = (input.quad(), input.word());
        if let Some(bell) = Doorbell::decode(offset, value) {
            assert_eq!(bell.encode(), (offset, value));
        }
    }
}
