//! Tasks that devices release, and how late they are: from the moment at which the device had to
//! interrupt to the task's first instruction.
//!
//! `edu` answers the message of a PCI function (QEMU's `-device edu`), ten times a second; `hpet`
//! an edge on a pin of the I/O APIC, a thousand times a second. Both devices know when their
//! interrupt was due ([`Ended::due`](rtos::device::edu::Ended),
//! [`HpetTimer::fired`](rtos::device::hpet::HpetTimer::fired)), and the tasks say so to the kernel, so
//! the latencies in the report count from there. Linux sees neither.
//!
//! A device that is not there is refused before `init` is called. What can still go wrong is said in
//! the log, and the task then has nothing to do.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::Nanos;
    use rtos::device::edu::Edu;
    use rtos::device::hpet::HpetTimer;

    /// A pin that the HPET reaches and that no device of the emulated machine uses; `hpet` binds it.
    const PIN: u8 = 23;
    const PERIOD: Nanos = Nanos(1_000_000);

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        function: Option<Edu>,
        timer: Option<HpetTimer>,
    }

    #[init]
    fn init(cx: init::Context) -> (Shared, Local) {
        let function = match Edu::take(cx.devices) {
            Ok(mut function) => {
                log::info!("edu: end of transfers known: {}", function.is_exact());
                function.start();
                Some(function)
            }
            Err(error) => {
                log::error!("edu: {error}");
                None
            }
        };
        let timer = cx.devices.hpet().and_then(|hpet| hpet.start(PIN, PERIOD));
        if let Err(error) = &timer {
            log::error!("hpet: {error}");
        }
        let timer = timer.ok();
        (Shared {}, Local { function, timer })
    }

    #[task(binds = pin(23), priority = 3, deadline = 500.micros(), budget = 50.micros(),
           on_fault = stop_all, local = [timer])]
    fn hpet(cx: hpet::Context) {
        if let Some(due) = cx.local.timer.as_mut().and_then(HpetTimer::fired) {
            cx.run.answers(due);
        }
    }

    #[task(binds = pci(0x1234, 0x11e8), priority = 2, deadline = 500.micros(), budget = 50.micros(),
           on_fault = stop_all, local = [function])]
    fn edu(cx: edu::Context) {
        let Some(function) = cx.local.function else {
            return;
        };
        if let Some(due) = function.ended().and_then(|ended| ended.due) {
            cx.run.answers(due);
        }
        function.start();
    }
}
