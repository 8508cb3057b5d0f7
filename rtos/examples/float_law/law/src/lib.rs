//! A PID controller in `f64`, and the motor that it turns.
//!
//! The motor is a linear state-space model with a load that grows with the square of the speed; the
//! controller brings its angle to a set point. [`ControlLoop::advance`] is plain Rust: the host runs it as
//! it stands, the image compiles it to library calls for comparison, and [`control`] is the same function
//! compiled for SSE2.
#![no_std]

/// Time between two steps, s.
pub const STEP: f64 = 0.001;

darma_law::data! {
    /// The controller's memory and the motor's state.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct ControlLoop {
        /// Proportional, integral and differential gain, V/rad, V/(rad s), V s/rad.
        pub gains: [f64; 3],
        /// The sum of the errors, rad s.
        pub integral: f64,
        /// The last error, rad.
        pub error: f64,
        /// Angle, rad; speed, rad/s; current, A.
        pub motor: [f64; 3],
        /// Steps taken.
        pub steps: u64,
        /// A sum over every state that the motor has been in, bit by bit.
        pub digest: u64,
    }
}

darma_law::law! {
    /// One step towards `set_point` (rad); returns the voltage.
    pub fn control(state: &mut ControlLoop, set_point: f64) -> f64 {
        state.advance(set_point)
    }
}

darma_law::law! {
    /// `steps` steps at once: work that is long enough to be preempted.
    pub fn simulate(state: &mut ControlLoop, set_point: f64, steps: u32) {
        for _ in 0..steps {
            state.advance(set_point);
        }
    }
}

darma_law::law! {
    /// What element `index` of the motor's state is; panics past the last: a mistake in a law.
    pub fn element(state: &ControlLoop, index: usize) -> f64 {
        state.motor[index]
    }
}

impl ControlLoop {
    /// A motor at rest.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gains: [24.0, 6.0, 0.6],
            integral: 0.0,
            error: 0.0,
            motor: [0.0; 3],
            steps: 0,
            digest: 0,
        }
    }

    /// One step towards `set_point`, rad; returns the voltage.
    pub fn advance(&mut self, set_point: f64) -> f64 {
        /// Back-EMF and torque constant, V s/rad; winding resistance, ohm, and inductance, H.
        const CONSTANT: f64 = 0.05;
        const RESISTANCE: f64 = 0.5;
        const INDUCTANCE: f64 = 0.0015;
        /// Rotor inertia, kg m^2; friction, N m s/rad; load, N m s^2/rad^2.
        const INERTIA: f64 = 0.000_25;
        const FRICTION: f64 = 0.000_1;
        const LOAD: f64 = 0.000_002;
        /// What the supply gives, V.
        const SUPPLY: f64 = 24.0;

        let [angle, speed, current] = self.motor;
        let error = set_point - angle;
        let change = (error - self.error) / STEP;
        let [proportional, integral, differential] = self.gains;
        let wanted = proportional * error + integral * self.integral + differential * change;
        let voltage = wanted.clamp(-SUPPLY, SUPPLY);
        // Only while the supply can follow: else the integral would wind up.
        if wanted == voltage {
            self.integral += error * STEP;
        }
        self.error = error;

        let torque = CONSTANT * current - FRICTION * speed - LOAD * speed * speed.abs();
        let next = [
            angle + STEP * speed,
            speed + STEP * torque / INERTIA,
            current + STEP * (voltage - RESISTANCE * current - CONSTANT * speed) / INDUCTANCE,
        ];
        self.motor = next;
        self.steps += 1;
        for value in next {
            self.digest = (self.digest ^ value.to_bits())
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(23);
        }
        voltage
    }
}

impl Default for ControlLoop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlLoop, control, simulate};
    use darma_law::HardFloat;

    #[test]
    fn the_motor_turns_to_its_set_point_and_stays_there() {
        let mut state = ControlLoop::new();
        for _ in 0..20_000 {
            let voltage = control(HardFloat::host(), &mut state, 1.5);
            assert!(voltage.abs() <= 24.0, "{voltage} V");
        }
        assert!((state.motor[0] - 1.5).abs() < 0.01, "{:?}", state.motor);
        assert!(state.motor[1].abs() < 0.01, "{:?}", state.motor);
    }

    #[test]
    fn many_steps_at_once_are_as_many_single_ones() {
        let (mut one, mut many) = (ControlLoop::new(), ControlLoop::new());
        for _ in 0..500 {
            control(HardFloat::host(), &mut one, -0.7);
        }
        simulate(HardFloat::host(), &mut many, -0.7, 500);
        assert_eq!(one, many);
    }
}
