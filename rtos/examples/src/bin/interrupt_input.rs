//! Input that comes by interrupt: a task that owns a device, and one that does the work.
//!
//! `binds = pci(vendor, device)` gives the function to this application: Linux does not see it any more,
//! and its interrupt releases the task directly, with no driver model between. The driver is taken out
//! of `cx.devices` in `init` and becomes a local resource of the task, so no other can touch it.
//!
//! The urgent half only fetches what the device has and passes it on; the long half runs at a lower
//! priority. The device is QEMU's teaching device `edu`: it answers a request after a tenth of a second
//! and tells when exactly that was, so `cx.run.answers` lets the latency in the report count from the
//! device's interrupt and not from the moment at which the processor took it.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::device::edu::Edu;

    /// Inputs after which the example is over.
    const INPUTS: u32 = 3;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        device: Edu,
    }

    #[init]
    fn init(cx: init::Context) -> (Shared, Local) {
        // A machine without the device is refused before `init`; a device that does not work ends here.
        let mut device = match Edu::take(cx.devices) {
            Ok(device) => device,
            Err(error) => panic!("{error}"),
        };
        device.start();
        (Shared {}, Local { device })
    }

    /// `every` is a promise for the analysis: inputs do not come closer than that.
    #[task(priority = 3, binds = pci(0x1234, 0x11e8), every = 50.millis(), budget = 50.micros(),
           local = [device, inputs: u32 = 0])]
    fn input(cx: input::Context) {
        // The interrupt may have been for something else.
        let Some(ended) = cx.local.device.ended() else {
            return;
        };
        if let Some(due) = ended.due {
            cx.run.answers(due);
        }
        *cx.local.inputs += 1;
        if *cx.local.inputs < INPUTS {
            cx.local.device.start();
        }
        // Room for two: an input that finds no place was not processed in a tenth of a second.
        if let Err(lost) = process::spawn(*cx.local.inputs) {
            rtos::mark(lost);
        }
    }

    #[task(priority = 1, capacity = 2)]
    fn process(_: process::Context, number: u32) {
        if number == INPUTS {
            rtos::exit();
        }
    }
}
