//! Message queues: order, times, and what a full one does, with senders that interrupt each other.

use crate::machine::{
    counter, device, idle, keep, kernel, on_every_schedule, pend, power_on, runs, sections, task,
};
use darma_executor::Queue;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

const RECEIVER: usize = 0;

/// A queue whose task writes down what it gets.
fn recorded<const N: usize>(priority: u8) -> (&'static Queue<u32, N>, Rc<RefCell<Vec<u32>>>) {
    let queue = keep(Queue::<u32, N>::new(kernel::<RECEIVER>()));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    task(RECEIVER, priority, move || {
        if let Some(message) = queue.receive() {
            record.borrow_mut().push(message.value);
        }
    });
    (queue, seen)
}

#[test]
fn each_message_is_one_run_and_knows_when_it_was_sent() {
    power_on();
    let queue = keep(Queue::<&str, 4>::new(kernel::<RECEIVER>()));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    task(RECEIVER, 1, move || {
        let message = queue.receive().expect("pended for a message");
        record.borrow_mut().push((message.value, message.sent.0));
    });
    // From a task of the receiver's own priority, so that it waits.
    task(1, 1, move || {
        for text in ["first", "second"] {
            assert_eq!(queue.send(text), Ok(()));
        }
    });
    let before = counter();
    pend(1);
    idle();
    let expected = [("first", before + 1), ("second", before + 2)];
    assert_eq!(*seen.borrow(), expected);
    assert_eq!(runs(RECEIVER), 2);
}

#[test]
fn whatever_touches_the_messages_does_so_in_a_section() {
    // The machine interrupts around sections only: without one it would not see the mistake.
    power_on();
    let queue = keep(Queue::<u32, 1>::new(kernel::<RECEIVER>()));
    for (opened, number) in [(1, 1), (2, 2)] {
        let _ = queue.send(number);
        assert_eq!(sections(), opened);
    }
    let _ = queue.receive();
    assert_eq!(sections(), 3);
    let _ = queue.waiting();
    queue.resume();
    assert_eq!(sections(), 5);
}

#[test]
fn a_full_queue_gives_the_message_back_and_counts_it() {
    power_on();
    let queue = keep(Queue::<String, 2>::new(kernel::<RECEIVER>()));
    // No task takes anything.
    assert_eq!(queue.send("a".into()), Ok(()));
    assert_eq!(queue.send("b".into()), Ok(()));
    assert_eq!(queue.send("c".into()), Err("c".into()));
    assert_eq!((queue.waiting(), queue.refused()), (2, 1));
    // What it had is untouched, and there is room again once one is taken.
    assert_eq!(queue.receive().map(|m| m.value), Some("a".into()));
    assert_eq!(queue.send("d".into()), Ok(()));
    assert_eq!(queue.receive().map(|m| m.value), Some("b".into()));
    assert_eq!(queue.receive().map(|m| m.value), Some("d".into()));
    assert_eq!(queue.receive(), None);
}

#[test]
fn a_fault_costs_the_message_that_was_handled_and_no_other() {
    power_on();
    let queue = keep(Queue::<u32, 4>::new(kernel::<RECEIVER>()));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    task(RECEIVER, 1, move || {
        let Some(message) = queue.receive() else {
            return;
        };
        if message.value == 2 {
            // Stopped by the kernel, which forgets the interrupt that was pending and restarts.
            queue.resume();
            return;
        }
        record.borrow_mut().push(message.value);
    });
    task(1, 1, move || {
        for number in [1, 2, 3, 4] {
            assert_eq!(queue.send(number), Ok(()));
        }
    });
    pend(1);
    idle();
    assert_eq!(*seen.borrow(), [1, 3, 4]);
}

#[test]
fn senders_of_all_priorities_lose_and_double_nothing_wherever_they_interrupt() {
    for receiver in 1..=3 {
        let schedules = on_every_schedule(|| {
            let (queue, seen) = recorded::<3>(receiver);
            let refused = Rc::new(RefCell::new(Vec::new()));
            for (sender, priority) in [(1, 2), (2, 3)] {
                let refused = Rc::clone(&refused);
                task(sender, priority, move || {
                    for part in 0..2 {
                        let number = u32::from(priority) * 10 + part;
                        if let Err(back) = queue.send(number) {
                            refused.borrow_mut().push(back);
                        }
                    }
                });
                device(sender);
            }
            for number in [10, 11] {
                if let Err(back) = queue.send(number) {
                    refused.borrow_mut().push(back);
                }
            }
            idle();
            let mut all = seen.borrow().clone();
            for of_one in [1, 2, 3] {
                let its: Vec<u32> = all.iter().copied().filter(|n| n / 10 == of_one).collect();
                assert!(
                    its.is_sorted(),
                    "one sender's messages stay in order: {all:?}"
                );
            }
            assert_eq!(refused.borrow().len(), queue.refused() as usize);
            all.extend(refused.borrow().iter());
            all.sort_unstable();
            assert_eq!(all, [10, 11, 20, 21, 30, 31]);
            assert_eq!(queue.waiting(), 0, "what is queued is handled");
        });
        assert!(schedules > 50, "{schedules} schedules");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]
    #[test]
    fn it_is_a_bounded_first_in_first_out_queue(steps in prop::collection::vec(any::<Option<u32>>(), 0..200)) {
        power_on();
        let queue = keep(Queue::<u32, 5>::new(kernel::<RECEIVER>()));
        let mut model = VecDeque::new();
        for step in steps {
            if let Some(value) = step {
                let expected = if model.len() < 5 { model.push_back(value); Ok(()) } else { Err(value) };
                prop_assert_eq!(queue.send(value), expected);
            } else {
                prop_assert_eq!(queue.receive().map(|message| message.value), model.pop_front());
            }
            prop_assert_eq!(queue.waiting(), model.len());
        }
    }
}
