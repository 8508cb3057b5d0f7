extern crate std;
use super::*;
use darma_abi::units::Vector;
use proptest::prelude::*;
use std::vec::Vec;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const KINDS: &[&str] = &["cpuid", "port"];
const RIP: GuestVirt = GuestVirt(0xffff_ffff_8100_0000);

/// A GPOS by its rates: what it does in each millisecond of its running time.
#[derive(Clone, Copy)]
struct Guest {
    in_user_mode: bool,
    idle: bool,
    interrupts_on: bool,
    in_nmi: bool,
    waiting: Option<Vector>,
    vector: Vector,
    entered: bool,
    accepts: u64,
    switches: Option<u64>,
    ticks: Option<u64>,
    prints: Option<u64>,
    cpuids: u64,
    runnable: Option<u32>,
    state: Option<u32>,
    panicking: Option<bool>,
}

/// Does well: takes its tick, changes processes.
const WELL: Guest = Guest {
    in_user_mode: false,
    idle: false,
    interrupts_on: true,
    in_nmi: false,
    waiting: None,
    vector: Vector(236),
    entered: true,
    accepts: 1,
    switches: Some(1),
    ticks: Some(1),
    prints: Some(0),
    cpuids: 0,
    runnable: Some(2),
    state: Some(3),
    panicking: Some(false),
};

/// One process in the kernel, its tick beside it.
const STUCK: Guest = Guest {
    switches: Some(0),
    ..WELL
};

/// Interrupts off, the tick waits.
const DEAF: Guest = Guest {
    interrupts_on: false,
    waiting: Some(Vector(236)),
    accepts: 0,
    ticks: Some(0),
    ..STUCK
};

/// Nothing is known but what the hardware shows.
const fn unknown(guest: Guest) -> Guest {
    Guest {
        switches: None,
        ticks: None,
        prints: None,
        runnable: None,
        state: None,
        panicking: None,
        ..guest
    }
}

/// The detector beside a guest, with the clock and the counters.
struct Run {
    detector: Detector,
    now: u64,
    accepted: u64,
    entries: u64,
    halts: u64,
    exits: [u64; 2],
    vitals: Vitals,
    recorded: Vec<Verdict>,
}

impl Run {
    fn new(limits: Watch) -> Self {
        Self {
            detector: Detector::new(limits),
            now: 5 * SECOND,
            accepted: 0,
            entries: 0,
            halts: 0,
            exits: [0; 2],
            vitals: Vitals::default(),
            recorded: Vec::new(),
        }
    }

    /// A kernel of which the detector has seen that its scheduler and its time live.
    fn warm() -> Self {
        let mut run = Self::new(Watch::default());
        assert_eq!(run.pass(WELL, 300 * MS), None);
        run
    }

    /// Lets the guest live for `time`, with the looks that the detector asks for. The first fatal
    /// verdict and how long it took.
    fn pass(&mut self, guest: Guest, time: u64) -> Option<(Verdict, u64)> {
        let begin = self.now;
        while self.now < begin + time {
            let next = self.detector.next_look().0.min(begin + time - self.now);
            if let Some(verdict) = self.look_after(guest, next) {
                return Some((verdict, self.now - begin));
            }
        }
        None
    }

    fn look_after(&mut self, guest: Guest, distance: u64) -> Option<Verdict> {
        self.now += distance;
        let by = |rate: u64| rate * distance / MS;
        let add = |sign: &mut Option<u64>, rate: Option<u64>| {
            *sign = rate.map(|rate| sign.unwrap_or(0) + rate * distance.div_ceil(MS));
        };
        self.accepted += by(guest.accepts);
        self.exits[0] += by(guest.cpuids);
        self.entries += u64::from(guest.entered);
        self.halts += u64::from(guest.idle);
        add(&mut self.vitals.switches, guest.switches);
        add(&mut self.vitals.jiffies, guest.ticks);
        add(&mut self.vitals.log, guest.prints);
        self.vitals.runnable = guest.runnable;
        self.vitals.system_state = guest.state;
        self.vitals.panicking = guest.panicking;
        let look = Look {
            at: Nanos(self.now),
            rip: RIP,
            in_user_mode: guest.in_user_mode,
            idle: guest.idle,
            interrupts_on: guest.interrupts_on,
            in_nmi: guest.in_nmi,
            waiting: guest.waiting,
            accepted: self.accepted,
            last_vector: Some(guest.vector),
            entries: self.entries,
            halts: self.halts,
            exits: &self.exits,
            kinds: KINDS,
            vitals: self.vitals,
        };
        let verdict = self.detector.look(&look)?;
        if verdict.severity == Severity::Recorded {
            self.recorded.push(verdict);
            return None;
        }
        Some(verdict)
    }

    fn dies_of(&mut self, guest: Guest, within: u64) -> Cause {
        let (verdict, _) = self.pass(guest, within).expect("a verdict");
        assert_eq!(verdict.severity, Severity::Fatal);
        verdict.cause
    }

    fn recorded_causes(&self) -> Vec<Cause> {
        self.recorded.iter().map(|verdict| verdict.cause).collect()
    }
}

fn judged(event: Event, vitals: &Vitals) -> Option<(Cause, Severity)> {
    Detector::new(Watch::default())
        .observe(event, vitals)
        .map(|verdict| (verdict.cause, verdict.severity))
}

const RUNNING: Vitals = signs(3, false);
const RESTARTING: Vitals = signs(6, false);

const fn signs(system_state: u32, panicking: bool) -> Vitals {
    Vitals {
        panicking: Some(panicking),
        dies: None,
        taint: None,
        system_state: Some(system_state),
        emergency: None,
        switches: None,
        runnable: None,
        jiffies: None,
        log: None,
    }
}

const HALT: Event = Event::Halt { nmi_pending: false };

#[test]
fn every_way_to_die_has_its_cause() {
    let pages = Ruin::Pages {
        cr3: 1,
        unmapped: RIP,
    };
    let descriptors = Ruin::Descriptors {
        idt: RIP,
        vector: 8,
    };
    for (event, cause) in [
        (Event::PvPanic(1), Cause::Panic),
        (Event::PvPanic(3), Cause::Panic),
        (Event::Shutdown(Ruin::Nothing), Cause::TripleFault),
        (Event::Shutdown(Ruin::NoHandlers), Cause::TripleFault),
        (Event::Shutdown(pages), Cause::PageTablesDestroyed),
        (
            Event::Shutdown(descriptors),
            Cause::DescriptorTablesDestroyed,
        ),
        (HALT, Cause::HaltedInterruptsOff),
        (Event::Reset(ResetRoute::Keyboard), Cause::SelfResetKeyboard),
        (Event::Reset(ResetRoute::Cf9), Cause::SelfResetCf9),
        (Event::Reset(ResetRoute::Acpi), Cause::SelfResetAcpi),
        (Event::Reset(ResetRoute::Port92), Cause::SelfResetPort92),
        (Event::InvalidState { exit_code: 9 }, Cause::InvalidState),
    ] {
        let expected = Some((cause, Severity::Fatal));
        assert_eq!(judged(event, &Vitals::default()), expected, "{event:?}");
        assert_eq!(judged(event, &RUNNING), expected, "{event:?}");
    }
}

#[test]
fn a_halt_that_something_can_end_is_idling() {
    let halt = Event::Halt { nmi_pending: true };
    assert_eq!(judged(halt, &RUNNING), None);
}

#[test]
fn an_orderly_end_is_no_failure() {
    let restart = Some((Cause::Reboot, Severity::Restart));
    let reset = Event::Reset(ResetRoute::Acpi);
    assert_eq!(judged(reset, &RESTARTING), restart);
    assert_eq!(
        judged(Event::Shutdown(Ruin::NoHandlers), &RESTARTING),
        restart,
        "a triple fault on purpose"
    );
    for state in [4, 5] {
        let halted = Some((Cause::OrderedHalt, Severity::PowerOff));
        assert_eq!(judged(HALT, &signs(state, false)), halted);
    }
}

#[test]
fn a_power_off_is_no_failure() {
    let off = Some((Cause::PowerOff, Severity::PowerOff));
    assert_eq!(judged(Event::PowerOff, &Vitals::default()), off);
}

#[test]
fn a_restart_that_ends_in_a_real_fault_is_a_failure() {
    let died = Some((Cause::TripleFault, Severity::Fatal));
    assert_eq!(judged(Event::Shutdown(Ruin::Nothing), &RESTARTING), died);
}

#[test]
fn a_reset_that_skips_the_way_down_is_a_failure() {
    let reset = Event::Reset(ResetRoute::Acpi);
    let in_order = Some((Cause::Reboot, Severity::Restart));
    assert_eq!(judged(reset, &RESTARTING), in_order);
    let emergency = Vitals {
        emergency: Some(true),
        ..RESTARTING
    };
    let failed = Some((Cause::SelfResetAcpi, Severity::Fatal));
    assert_eq!(
        judged(reset, &emergency),
        failed,
        "sysrq-b says restart, too"
    );
}

#[test]
fn what_follows_a_panic_is_its_panic() {
    let panic = Some((Cause::Panic, Severity::Fatal));
    for event in [
        HALT,
        Event::Reset(ResetRoute::Keyboard),
        Event::Shutdown(Ruin::NoHandlers),
    ] {
        assert_eq!(judged(event, &signs(3, true)), panic);
        assert_eq!(judged(event, &signs(6, true)), panic, "panic() restarts");
    }
}

#[test]
fn a_guest_with_a_crash_kernel_of_its_own_is_left_to_it() {
    let noted = Some((Cause::Panic, Severity::Recorded));
    assert_eq!(judged(Event::PvPanic(2), &RUNNING), noted);
    assert_eq!(judged(Event::PvPanic(0), &RUNNING), None);
}

#[test]
fn the_first_fatal_event_decides_and_a_restart_starts_over() {
    let mut detector = Detector::new(Watch::default());
    let mut observe = |event| {
        let verdict = detector.observe(event, &Vitals::default());
        let severity = verdict.map(|verdict| verdict.severity);
        if event == Event::PowerOff {
            detector.restarted();
        }
        severity
    };
    for _ in 0..2 {
        assert_eq!(observe(Event::PvPanic(1)), Some(Severity::Fatal));
        let reset = Event::Reset(ResetRoute::Cf9);
        assert_eq!(observe(reset), Some(Severity::Recorded));
        assert_eq!(observe(Event::PowerOff), Some(Severity::Recorded));
    }
}

#[test]
fn interrupts_off_while_one_waits_is_a_hard_lockup() {
    let mut run = Run::warm();
    let (verdict, after) = run.pass(DEAF, SECOND).expect("a verdict");
    assert_eq!(verdict.cause, Cause::HardLockup);
    assert!((100 * MS..=200 * MS).contains(&after), "{after}");
    assert!(
        matches!(verdict.evidence, Evidence::Deaf { waiting: Vector(236), interrupts_on: false, looks, .. } if looks > 1)
    );
}

#[test]
fn a_handler_that_never_ends_is_a_hard_lockup_with_interrupts_on_too() {
    let guest = Guest {
        interrupts_on: true,
        ..DEAF
    };
    assert_eq!(Run::warm().dies_of(guest, SECOND), Cause::HardLockup);
}

#[test]
fn the_same_in_a_non_maskable_interrupt_has_its_own_name() {
    let guest = Guest {
        in_nmi: true,
        ..DEAF
    };
    assert_eq!(Run::warm().dies_of(guest, SECOND), Cause::NmiHang);
}

#[test]
fn a_hard_lockup_needs_no_vital_signs() {
    let mut run = Run::new(Watch::default());
    assert_eq!(run.pass(unknown(WELL), SECOND), None);
    assert_eq!(run.dies_of(unknown(DEAF), SECOND), Cause::HardLockup);
}

#[test]
fn interrupts_off_with_none_waiting_is_an_early_boot() {
    let early = Guest {
        waiting: None,
        state: Some(0),
        switches: Some(0),
        ..DEAF
    };
    let mut run = Run::new(Watch::default());
    assert_eq!(run.pass(early, 25 * SECOND), None);
    assert_eq!(run.pass(unknown(early), 4 * SECOND), None);
}

#[test]
fn one_process_in_the_kernel_for_two_seconds_is_a_soft_lockup() {
    let (verdict, after) = Run::warm().pass(STUCK, 10 * SECOND).expect("a verdict");
    assert_eq!(verdict.cause, Cause::SoftLockup);
    assert!((2 * SECOND..=4 * SECOND).contains(&after), "{after}");
}

#[test]
fn nobody_waits_for_a_lonely_process_but_not_for_ever() {
    let lonely = Guest {
        runnable: Some(1),
        ..STUCK
    };
    let mut run = Run::warm();
    assert_eq!(run.pass(lonely, 15 * SECOND), None);
    assert_eq!(run.dies_of(lonely, 10 * SECOND), Cause::SoftLockup);
}

#[test]
fn time_that_stands_still_on_a_busy_processor_is_no_tick() {
    let guest = Guest {
        ticks: Some(0),
        in_user_mode: true,
        ..STUCK
    };
    assert_eq!(Run::warm().dies_of(guest, 5 * SECOND), Cause::NoTick);
}

#[test]
fn a_standstill_in_a_storm_is_named_after_it() {
    let interrupts = Guest {
        accepts: 50,
        vector: Vector(33),
        ..STUCK
    };
    let (verdict, after) = Run::warm().pass(interrupts, 10 * SECOND).expect("storm");
    assert_eq!(verdict.cause, Cause::InterruptStorm);
    assert!(
        matches!(verdict.evidence, Evidence::Interrupts { rate, vector: Some(Vector(33)), .. } if rate.abs_diff(50_000) < 1_000),
        "{}",
        verdict.evidence
    );
    assert!(after <= 4 * SECOND);
    let exits = Guest {
        cpuids: 100,
        ..STUCK
    };
    let (verdict, _) = Run::warm().pass(exits, 10 * SECOND).expect("storm");
    assert_eq!(verdict.cause, Cause::ExitStorm);
    assert!(matches!(
        verdict.evidence,
        Evidence::Exits { kind: "cpuid", .. }
    ));
}

#[test]
fn a_storm_that_lets_the_system_live_is_recorded_a_few_times() {
    let guest = Guest {
        cpuids: 300,
        ..WELL
    };
    let mut run = Run::warm();
    assert_eq!(run.pass(guest, 60 * SECOND), None);
    assert_eq!(run.recorded_causes(), [Cause::ExitStorm; 8]);
    assert_eq!(run.recorded[7].count, 8);
}

#[test]
fn a_kernel_that_does_well_is_left_alone_for_an_hour() {
    let mut run = Run::warm();
    for _ in 0..360 {
        assert_eq!(run.pass(WELL, 9 * SECOND), None);
        // A user process that computes alone: no change of process, no sleep.
        let computing = Guest {
            in_user_mode: true,
            ..STUCK
        };
        assert_eq!(run.pass(computing, SECOND / 2), None);
        let idle = Guest {
            idle: true,
            accepts: 0,
            ticks: Some(0),
            ..STUCK
        };
        assert_eq!(run.pass(idle, SECOND / 2), None);
    }
    assert_eq!(
        run.pass(
            Guest {
                in_user_mode: true,
                ..STUCK
            },
            60 * SECOND
        ),
        None
    );
    assert_eq!(run.recorded_causes(), []);
}

#[test]
fn a_kernel_that_prints_with_interrupts_off_is_given_time() {
    let printing = Guest {
        prints: Some(1),
        ..DEAF
    };
    let mut run = Run::warm();
    assert_eq!(run.pass(printing, 800 * MS), None);
    assert_eq!(run.pass(WELL, SECOND), None);
    assert_eq!(run.dies_of(printing, 2 * SECOND), Cause::HardLockup);
}

#[test]
fn a_slow_boot_is_no_hang() {
    let mut run = Run::new(Watch::default());
    // Unpacking, then setting up memory: no interrupt, no scheduler, nothing to see.
    let unpacking = unknown(Guest {
        accepts: 0,
        interrupts_on: false,
        ..STUCK
    });
    assert_eq!(run.pass(unpacking, 20 * SECOND), None);
    let setting_up = Guest {
        state: Some(0),
        ticks: Some(0),
        ..STUCK
    };
    assert_eq!(run.pass(setting_up, 20 * SECOND), None);
    let drivers = Guest {
        state: Some(1),
        ..WELL
    };
    assert_eq!(run.pass(drivers, SECOND), None);
    let self_test = Guest {
        state: Some(1),
        ..STUCK
    };
    assert_eq!(run.pass(self_test, 15 * SECOND), None);
    assert_eq!(run.pass(drivers, SECOND), None);
    assert_eq!(run.pass(WELL, 200 * SECOND), None);
}

#[test]
fn a_debugger_stop_is_two_looks_long_whatever_the_clock_says() {
    let mut run = Run::warm();
    for _ in 0..50 {
        assert_eq!(run.look_after(DEAF, 5 * SECOND), None, "a late look");
        assert_eq!(run.pass(WELL, 100 * MS), None);
        assert_eq!(run.look_after(STUCK, 3_600 * SECOND), None);
        assert_eq!(run.pass(WELL, 100 * MS), None);
    }
}

#[test]
fn a_gpos_that_tasks_keep_from_the_processor_is_not_blamed() {
    let kept = Guest {
        entered: false,
        ..DEAF
    };
    assert_eq!(Run::warm().pass(kept, 60 * SECOND), None);
}

#[test]
fn of_an_unknown_kernel_only_a_long_silence_counts() {
    let mut run = Run::new(Watch::default());
    let spinning = Guest {
        accepts: 0,
        ..unknown(STUCK)
    };
    assert_eq!(run.pass(spinning, 25 * SECOND), None);
    assert_eq!(run.pass(unknown(WELL), SECOND), None);
    assert_eq!(
        run.pass(unknown(STUCK), 60 * SECOND),
        None,
        "it takes ticks"
    );
    assert_eq!(run.dies_of(spinning, 40 * SECOND), Cause::NoProgress);
}

#[test]
fn a_panic_that_no_driver_tells_is_found_once_it_has_printed() {
    let early = Guest {
        panicking: Some(true),
        prints: Some(1),
        state: Some(0),
        accepts: 0,
        ticks: Some(0),
        interrupts_on: false,
        ..STUCK
    };
    let mut run = Run::new(Watch::default());
    assert_eq!(run.pass(early, 500 * MS), None, "it still prints");
    let silent = Guest {
        prints: Some(0),
        ..early
    };
    let (verdict, after) = run.pass(silent, SECOND).expect("a verdict");
    assert_eq!(verdict.cause, Cause::Panic);
    assert!(matches!(verdict.evidence, Evidence::PanicFlag(_)));
    assert!(after <= 300 * MS, "{after}");
}

#[test]
fn a_crash_kernel_is_not_taken_for_the_panic_that_it_deals_with() {
    let mut run = Run::warm();
    run.detector.observe(Event::PvPanic(2), &RUNNING);
    let taken_over = Guest {
        panicking: Some(true),
        ..WELL
    };
    assert_eq!(run.pass(taken_over, 10 * SECOND), None);
}

#[test]
fn death_on_the_way_back_and_again_after_that_is_seen_each_time() {
    let mut run = Run::warm();
    for _ in 0..3 {
        assert_eq!(run.dies_of(DEAF, SECOND), Cause::HardLockup);
        run.detector.restarted();
        run.vitals = Vitals::default();
        assert_eq!(run.pass(unknown(WELL), SECOND), None);
    }
}

#[test]
fn an_oops_is_recorded_and_lived_with() {
    let mut run = Run::warm();
    run.vitals.dies = Some(1);
    run.vitals.taint = Some(vitals::TAINT_DIE | 1 << 12);
    assert_eq!(run.pass(WELL, SECOND), None);
    assert_eq!(run.recorded_causes(), [Cause::Oops], "and once");
    run.vitals.dies = Some(2);
    run.vitals.taint = Some(vitals::TAINT_DIE | vitals::TAINT_WARN | vitals::TAINT_SOFT_LOCKUP);
    assert_eq!(run.pass(WELL, SECOND), None);
    let expected = [
        Cause::Oops,
        Cause::Oops,
        Cause::ReportedLockup,
        Cause::KernelWarning,
    ];
    assert_eq!(run.recorded_causes(), expected);
    assert_eq!(run.recorded[1].count, 2);
}

#[test]
fn an_oops_that_becomes_a_panic_is_told_by_the_panic() {
    let mut run = Run::warm();
    run.vitals.dies = Some(1);
    let panicking = Guest {
        panicking: Some(true),
        ..WELL
    };
    assert_eq!(run.dies_of(panicking, SECOND), Cause::Panic);
    assert_eq!(run.recorded_causes(), []);
}

#[test]
fn a_start_without_user_space_ends_at_its_limit() {
    let limits = Watch {
        boot: Some(Nanos(10 * SECOND)),
        ..Watch::default()
    };
    let idle = unknown(Guest { idle: true, ..WELL });
    assert_eq!(
        Run::new(limits).dies_of(idle, 11 * SECOND),
        Cause::BootTimeout
    );
    for sign in [
        Guest {
            in_user_mode: true,
            ..idle
        },
        Guest {
            state: Some(3),
            ..idle
        },
    ] {
        let mut run = Run::new(limits);
        assert_eq!(run.pass(sign, 100 * MS), None);
        assert_eq!(run.pass(idle, 60 * SECOND), None);
    }
    let mut run = Run::new(limits);
    run.detector.observe(Event::UserSpace, &Vitals::default());
    assert_eq!(run.pass(idle, 60 * SECOND), None);
}

#[test]
fn a_heartbeat_is_missed_only_after_the_first_and_before_the_last() {
    let mut run = Run::warm();
    let tell = |run: &mut Run, beat| {
        let event = Event::Heartbeat(beat);
        assert_eq!(run.detector.observe(event, &RUNNING), None);
    };
    assert_eq!(run.pass(WELL, 60 * SECOND), None);
    for _ in 0..3 {
        tell(&mut run, Heartbeat::Beat);
        assert_eq!(run.pass(WELL, 29 * SECOND), None);
    }
    tell(&mut run, Heartbeat::End);
    assert_eq!(run.pass(WELL, 60 * SECOND), None);
    tell(&mut run, Heartbeat::Beat);
    assert_eq!(run.dies_of(WELL, 31 * SECOND), Cause::UserSpaceHang);
}

#[test]
fn an_attempt_on_what_is_not_its_own_is_recorded_or_fatal_as_configured() {
    let attempt = |what| Event::Foreign {
        what,
        at: 0x510,
        rip: RIP,
    };
    let mut detector = Detector::new(Watch::default());
    let severities: Vec<_> = (0..20)
        .filter_map(|_| detector.observe(attempt(Foreign::Port), &RUNNING))
        .map(|verdict| (verdict.cause, verdict.severity))
        .collect();
    assert_eq!(severities, [(Cause::ForeignPort, Severity::Recorded); 8]);
    let mut strict = Detector::new(Watch {
        violations: Violations::Fatal,
        ..Watch::default()
    });
    let verdict = strict
        .observe(attempt(Foreign::Memory), &RUNNING)
        .expect("one");
    assert_eq!(verdict.cause, Cause::PartitionViolation);
    assert_eq!(verdict.severity, Severity::Fatal);
    assert_eq!(verdict.evidence.number(), 0x510);
}

#[test]
fn every_cause_can_be_counted() {
    let most = Cause::ALL.iter().map(|cause| cause.code()).max();
    assert!(most < u32::try_from(CAUSES).ok());
}

proptest! {
    #[test]
    fn a_lockup_is_found_within_twice_its_limit_whenever_it_begins(
        limit_ms in 5u64..2_000, begins_us in 0u64..200_000, tick_ms in 1u64..10,
    ) {
        let limit = limit_ms * MS;
        let limits = Watch {
            hard_lockup: Some(Nanos(limit)),
            soft_lockup: Some(Nanos(100 * limit)),
            ..Watch::default()
        };
        let mut run = Run::new(limits);
        prop_assert_eq!(run.pass(WELL, 300 * MS), None);
        // Somewhere between two looks, and the tick that waits comes later still.
        let begins = begins_us * 1_000 % run.detector.next_look().0;
        let before_tick = Guest { waiting: None, ..DEAF };
        prop_assert_eq!(run.look_after(before_tick, run.detector.next_look().0 - begins), None);
        let begun = run.now;
        let mut found = None;
        while found.is_none() && run.now < begun + 10 * limit + SECOND {
            let waits = run.now + run.detector.next_look().0 >= begun + tick_ms * MS;
            let guest = if waits { DEAF } else { before_tick };
            found = run.look_after(guest, run.detector.next_look().0);
        }
        prop_assert_eq!(found.map(|verdict| verdict.cause), Some(Cause::HardLockup));
        let most = (2 * limit).max(limit + tick_ms * MS + 5 * MS);
        prop_assert!(run.now - begun <= most, "{} ns for {limit}", run.now - begun);
    }

    #[test]
    fn no_sequence_of_looks_makes_it_panic_or_fail_a_guest_that_changes_process(
        looks in proptest::collection::vec(
            (any::<[bool; 4]>(), any::<[u64; 4]>(), any::<u32>(), any::<u8>()), 1..200),
    ) {
        let mut detector = Detector::new(Watch::default());
        for (index, ([user, idle, on, nmi], [at, log, taint, exits], dies, vector)) in (1..).zip(looks) {
            let counts = [exits, 0];
            let look = Look {
                at: Nanos(at), rip: RIP, in_user_mode: user, idle, interrupts_on: on, in_nmi: nmi,
                waiting: Some(Vector(vector)), accepted: index, last_vector: Some(Vector(vector)),
                entries: index, halts: 0, exits: &counts, kinds: KINDS,
                vitals: Vitals {
                    panicking: Some(false), dies: Some(dies), taint: Some(taint),
                    system_state: Some(3), switches: Some(index), runnable: Some(2),
                    emergency: None,
                    jiffies: Some(index), log: Some(log),
                },
            };
            let verdict = detector.look(&look);
            prop_assert!(verdict.is_none_or(|verdict| verdict.severity == Severity::Recorded));
        }
    }
}
