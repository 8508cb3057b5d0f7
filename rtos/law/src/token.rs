//! The permission to compute with the FPU.

use core::marker::PhantomData;

/// Given to a task that is declared with hard floating point, for one activation.
///
/// It is neither `Send` nor `Sync` and lives no longer than the activation, so it can be left in no
/// shared resource where a task without it would find it.
#[derive(Clone, Copy, Debug)]
pub struct HardFloat<'run> {
    activation: PhantomData<*mut &'run ()>,
}

impl HardFloat<'_> {
    /// The token of the running activation; for the RTOS.
    ///
    /// # Safety
    /// FLOAT-STATE: the activation that runs is of a task with hard floating point, and the token does
    /// not outlive it.
    #[must_use]
    pub const unsafe fn of_activation() -> Self {
        Self {
            activation: PhantomData,
        }
    }
}

#[cfg(not(target_os = "none"))]
impl HardFloat<'static> {
    /// The token of tests and simulations on the host, where everything computes with the FPU.
    #[must_use]
    pub const fn host() -> Self {
        Self {
            activation: PhantomData,
        }
    }
}
