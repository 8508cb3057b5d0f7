//! Port writes that end the GPOS.

use super::*;

#[test]
fn every_way_to_reset_or_power_off_is_recognised() {
    let facts = PowerFacts {
        pm1a_control: Some(0x604),
        soft_off: Some((0, 0)),
        reset: Some((0xcf9, 0x0f)),
        ..PowerFacts::default()
    };
    let mut ports = PowerPorts::new(facts);
    let reset = |route| PowerAct::SelfReset { route };
    for (port, width, value, act) in [
        (0x604, Width::Two, 0x2001, PowerAct::PowerOff),
        (0x605, Width::One, 0x20, PowerAct::PowerOff),
        (0x604, Width::Two, 0x2401, PowerAct::Sleep { kind: 1 }),
        (0x604, Width::Two, 0x0001, PowerAct::Pass),
        (0xcf9, Width::One, 0x0f, reset(ResetRoute::Acpi)),
        (0xcf9, Width::One, 0x02, PowerAct::Pass),
        (0xcf9, Width::One, 0x06, reset(ResetRoute::Cf9)),
        (0xcf8, Width::Two, 0x0600, reset(ResetRoute::Cf9)),
        (0xcf8, Width::Four, 0x8000_0600, PowerAct::Pass),
        (0x64, Width::One, 0xfe, reset(ResetRoute::Keyboard)),
        (0x64, Width::One, 0xff, PowerAct::Pass),
        (0x64, Width::One, 0xdd, PowerAct::Refused),
        (0x60, Width::One, 0x00, PowerAct::Pass),
        (0x64, Width::One, 0xd1, PowerAct::Pass),
        (0x60, Width::One, 0x02, reset(ResetRoute::Keyboard)),
        (0x92, Width::One, 0x03, reset(ResetRoute::Port92)),
        (0x91, Width::Two, 0x0100, reset(ResetRoute::Port92)),
        (0x92, Width::One, 0x02, PowerAct::Pass),
        (0x92, Width::One, 0x00, PowerAct::Refused),
        (0xb2, Width::One, 0x03, PowerAct::Refused),
        (0x3f8, Width::One, 0x55, PowerAct::Pass),
    ] {
        assert_eq!(
            ports.classify(port, width, value),
            act,
            "{port:#x} {value:#x}"
        );
    }
    assert!(
        [0x60, 0x64, 0x92, 0xb2, 0x604, 0x605, 0xcf9]
            .iter()
            .all(|port| ports.intercepted().any(|other| other == *port))
    );
}
