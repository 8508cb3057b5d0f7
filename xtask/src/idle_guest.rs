//! A GPOS of a few hundred bytes: for runs that are about the real-time side and need below it
//! nothing but something that sleeps, spins, traps, says that it is still there, and powers off.
//!
//! A stock kernel takes a minute of the host's time to do that; this one takes none, because idle time
//! is skipped under instruction counting. What it does is a list of [`Step`]s, translated here into
//! machine code and put into a bzImage (`boot.rst`, protocol 2.15) that the nanokernel loads as it
//! loads any kernel. Nothing binary is kept in the source tree.
//!
//! The code knows the machine of [`crate::qemu`] and no other: its serial port, its soft-off register,
//! and that its time-stamp counter runs at 1 GHz under instruction counting, so that a nanosecond is
//! a cycle (docs/hardware-notes.md, 5). Whatever goes wrong in it ends in a triple fault, which the
//! nanokernel reports: it has no handler for exceptions.

mod acts;
mod machine_code;

use anyhow::{Context, Result, ensure};
use darma_abi::shared::Doorbell;
use darma_abi::units::Nanos;

use crate::cpio;
use crate::ramdisk::Parts;
pub use acts::Act;
use machine_code::{Code, Label};

/// One thing that the guest does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes text to the serial port, as it stands.
    Say(String),
    /// Writes to the nanokernel's doorbell: a mark, for instance.
    Ring(Doorbell),
    /// Sleeps (HLT, interrupts on) until its own timer wakes it; at most [`LONGEST_SLEEP`].
    Sleep(Nanos),
    /// Computes, interrupts on.
    Spin(Nanos),
    /// Computes, interrupts off.
    SpinDeaf(Nanos),
    /// Leaves for the nanokernel again and again (CPUID).
    Exit(Nanos),
    /// Does steps so many times.
    Repeat(u32, Vec<Step>),
    /// Powers off.
    PowerOff,
    /// Fails: an exception without a handler for it nor for the failure to find one.
    TripleFault,
    /// Sleeps for good, interrupts on, no timer set.
    SleepForever,
    /// Spins for good, interrupts on.
    SpinForever,
    /// Spins for good, interrupts off.
    SpinDeafForever,
    /// One of the acts of a guest that goes wrong.
    Do(Act),
}

/// The longest [`Step::Sleep`]: what the 32 bits of the APIC timer's count hold.
pub const LONGEST_SLEEP: Nanos = Nanos(u32::MAX as u64);

/// A guest that says `tick` each millisecond for `milliseconds`, and then powers off: the ticks are
/// the sign that the GPOS lives on whatever its host's tasks do.
#[must_use]
pub fn ticking(milliseconds: u32) -> Vec<Step> {
    vec![
        Step::Say("guest: up\n".into()),
        Step::Repeat(
            milliseconds,
            vec![
                Step::Sleep(Nanos(500_000)),
                Step::Spin(Nanos(450_000)),
                Step::Say("tick\n".into()),
            ],
        ),
        Step::Say("guest: done\n".into()),
        Step::PowerOff,
    ]
}

/// The parts of a RAM-disk image that runs `steps` and takes no dumps. Whether the emulator ends with
/// the guest is the caller's to configure.
///
/// # Errors
/// As [`bzimage`].
pub fn parts(steps: &[Step]) -> Result<Parts> {
    Ok(Parts {
        configuration: vec![("dump.size".into(), "0".into())],
        command_line: "idle-guest".into(),
        kernel: bzimage(steps)?,
        initrd: cpio::Writer::new().finish()?,
        rescue: None,
    })
}

const SECTOR: usize = 512;
/// From the payload's start to its 64-bit entry point (boot.rst, "64-bit Boot Protocol").
const ENTRY: usize = 0x200;
/// Room behind the payload, bytes: the stack is there.
const BEHIND: usize = 4096;
/// The guest's only interrupt: its timer.
const TIMER_VECTOR: u8 = 0x40;
/// Through the last gate that is used.
const IDT_BYTES: usize = (TIMER_VECTOR as usize + 1) * 16;
const COM1: u32 = 0x3f8;
const LOCAL_APIC: u32 = 0xfee0_0000;
const CONFIG_ADDRESS: u32 = 0xcf8;
const CONFIG_DATA: u32 = 0xcfc;
/// Inter-VM shared memory, 1af4:1110: the nanokernel's doorbell (`policy/src/devices/virtual_pci.rs`).
const DOORBELL_DEVICE: u32 = 0x1110_1af4;
/// PM1a control of the chip set as this machine's firmware places it, and soft-off: SLP_EN, SLP_TYP 0.
const SOFT_OFF: (u32, u32) = (0x604, 1 << 13);

/// The steps as a bzImage. After the last step the guest sleeps for good.
///
/// # Errors
/// A sleep is longer than [`LONGEST_SLEEP`], or the code is larger than a bzImage may be.
pub fn bzimage(steps: &[Step]) -> Result<Vec<u8>> {
    let mut payload = vec![0; ENTRY];
    payload.extend(code(steps)?);
    let init_size = (payload.len() + BEHIND).next_multiple_of(4096);
    let paragraphs = u32::try_from(payload.len().div_ceil(16))?;
    let mut file = vec![0; 2 * SECTOR];
    // Offsets and values: boot.rst, "The Real-Mode Kernel Header".
    let fields: [(usize, &[u8]); 12] = [
        (0x1f1, &[1]),                                     // set-up sectors
        (0x1f4, &paragraphs.to_le_bytes()),                // size of the rest
        (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]),                // mark; jump over the header
        (0x202, b"HdrS"),                                  // signature
        (0x206, &0x020f_u16.to_le_bytes()),                // protocol 2.15
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()),           // highest address of the initrd
        (0x230, &0x1000_u32.to_le_bytes()),                // alignment
        (0x234, &[1]),                                     // relocatable
        (0x236, &1_u16.to_le_bytes()),                     // 64-bit entry
        (0x238, &2047_u32.to_le_bytes()),                  // longest command line
        (0x258, &0x100_0000_u64.to_le_bytes()),            // preferred address
        (0x260, &u32::try_from(init_size)?.to_le_bytes()), // room that it needs
    ];
    for (at, bytes) in fields {
        file.get_mut(at..at + bytes.len())
            .context("the header lies in the first two sectors")?
            .copy_from_slice(bytes);
    }
    file.extend(payload);
    Ok(file)
}

/// Registers that keep their meaning: RDI the local APIC, R13 timer interrupts since the last sleep
/// began, R15 the doorbell. All code is independent of its place.
fn code(steps: &[Step]) -> Result<Vec<u8>> {
    let mut code = Code::default();
    let places = Places {
        say: code.label(),
        timer: code.label(),
        nmi: code.label(),
        nmi_spin: code.label(),
        zeros: code.label(),
        idt: code.label(),
        stack: code.label(),
    };
    code.put(&[0xfa, 0xfc]); // cli; cld
    code.put(&[0x48, 0x8d, 0x25]).relative(places.stack); // lea rsp, [stack]
    interrupts(&mut code, &places);
    if rings(steps) {
        find_doorbell(&mut code);
    }
    let mut texts = Vec::new();
    for step in steps {
        perform(&mut code, step, &places, &mut texts)?;
    }
    sleep_for_good(&mut code);
    routines(&mut code, &places);
    for (label, text) in texts {
        code.here(label).put(text.as_bytes());
    }
    code.align(16).here(places.idt).put(&[0; IDT_BYTES]);
    code.here(places.zeros).put(&[0; 256]);
    // Above the payload's end; the header asks for the room.
    code.align(16).here_and(places.stack, BEHIND - 64);
    code.finish()
}

struct Places {
    say: Label,
    timer: Label,
    nmi: Label,
    nmi_spin: Label,
    zeros: Label,
    idt: Label,
    stack: Label,
}

/// `lea rcx, [idt]`, and in it the gate of `vector` to `handler`.
fn gate(code: &mut Code, places: &Places, vector: u8, handler: Label) {
    let gate = u32::from(vector) * 16;
    code.put(&[0x48, 0x8d, 0x05]).relative(handler); // lea rax, [handler]
    code.put(&[0x48, 0x8d, 0x0d]).relative(places.idt); // lea rcx, [idt]
    code.put(&[0x66, 0x89, 0x81]).u32(gate); // mov [rcx + gate], ax
    code.put(&[0x66, 0xc7, 0x81]).u32(gate + 2).put(&[0x10, 0]); // code selector of the boot protocol
    code.put(&[0x66, 0xc7, 0x81]).u32(gate + 4).put(&[0, 0x8e]); // present, interrupt gate
    code.put(&[0x48, 0xc1, 0xe8, 16]); // shr rax, 16
    code.put(&[0x66, 0x89, 0x81]).u32(gate + 6); // mov [rcx + gate + 6], ax
    code.put(&[0x48, 0xc1, 0xe8, 16]); // shr rax, 16
    code.put(&[0x89, 0x81]).u32(gate + 8); // mov [rcx + gate + 8], eax
}

/// Sets up the timer's gate, the local APIC with its timer in one-shot mode, and silences the old
/// interrupt controllers.
fn interrupts(code: &mut Code, places: &Places) {
    gate(code, places, TIMER_VECTOR, places.timer);
    code.put(&[0x51, 0x48, 0x83, 0xec, 2]); // push rcx; sub rsp, 2
    #[allow(clippy::cast_possible_truncation, reason = "the table has 1040 bytes")]
    let limit = (IDT_BYTES - 1) as u16;
    code.put(&[0x66, 0xc7, 0x04, 0x24])
        .put(&limit.to_le_bytes()); // mov word [rsp], limit
    code.put(&[0x0f, 0x01, 0x1c, 0x24]); // lidt [rsp]
    code.put(&[0x48, 0x83, 0xc4, 10]); // add rsp, 10
    code.put(&[0xb0, 0xff, 0xe6, 0x21, 0xe6, 0xa1]); // mov al, 0xff; out 0x21, al; out 0xa1, al
    code.put(&[0xbf]).u32(LOCAL_APIC); // mov edi, LOCAL_APIC
    apic(code, 0xf0, 0x1ff); // software enable
    apic(code, 0x320, u32::from(TIMER_VECTOR)); // one-shot
    apic(code, 0x3e0, 0b1011); // undivided
}

/// `mov dword [rdi + register], value`
fn apic(code: &mut Code, register: u32, value: u32) {
    code.put(&[0xc7, 0x87]).u32(register).u32(value);
}

/// Looks through bus 0 for the doorbell's function and switches its memory on.
fn find_doorbell(code: &mut Code) {
    let (next, found) = (code.label(), code.label());
    code.put(&[0x41, 0xb8]).u32(1 << 31); // mov r8d, bus 0, device 0
    code.here(next).put(&[0x44, 0x89, 0xc0]); // mov eax, r8d
    configuration(code);
    code.put(&[0xed, 0x3d]).u32(DOORBELL_DEVICE); // in eax, dx; cmp eax, DOORBELL_DEVICE
    code.put(&[0x0f, 0x84]).relative(found); // je found
    code.put(&[0x41, 0x81, 0xc0]).u32(1 << 11); // add r8d, one device
    code.put(&[0x41, 0x81, 0xf8]).u32(1 << 31 | 1 << 16); // cmp r8d, bus 1
    code.put(&[0x0f, 0x82]).relative(next); // jb next
    code.put(&[0x0f, 0x0b]); // ud2
    code.here(found).put(&[0x41, 0x8d, 0x40, 0x10]); // lea eax, [r8 + base address 0]
    configuration(code);
    code.put(&[0xed, 0x83, 0xe0, 0xf0, 0x41, 0x89, 0xc7]); // in eax, dx; and eax, ~15; mov r15d, eax
    code.put(&[0x41, 0x8d, 0x40, 4]); // lea eax, [r8 + command]
    configuration(code);
    code.put(&[0xb8]).u32(2).put(&[0xef]); // mov eax, memory space; out dx, eax
}

/// Selects the configuration register in EAX; leaves the data port in EDX.
fn configuration(code: &mut Code) {
    code.put(&[0xba]).u32(CONFIG_ADDRESS).put(&[0xef]); // mov edx, ..; out dx, eax
    code.put(&[0xba]).u32(CONFIG_DATA); // mov edx, ..
}

/// Whether the doorbell is used anywhere.
fn rings(steps: &[Step]) -> bool {
    steps.iter().any(|step| match step {
        Step::Ring(_) => true,
        Step::Repeat(_, inner) => rings(inner),
        _ => false,
    })
}

fn perform<'a>(
    code: &mut Code,
    step: &'a Step,
    places: &Places,
    texts: &mut Vec<(Label, &'a str)>,
) -> Result<()> {
    match step {
        Step::Say(text) if text.is_empty() => {}
        Step::Say(text) => {
            let label = code.label();
            texts.push((label, text));
            code.put(&[0x48, 0x8d, 0x35]).relative(label); // lea rsi, [text]
            code.put(&[0xb9]).u32(u32::try_from(text.len())?); // mov ecx, length
            code.put(&[0xe8]).relative(places.say); // call say
        }
        Step::Ring(bell) => {
            let (offset, value) = bell.encode();
            // mov dword [r15 + offset], value
            code.put(&[0x41, 0xc7, 0x87])
                .u32(u32::try_from(offset)?)
                .u32(value);
        }
        Step::Sleep(time) => {
            ensure!(
                *time <= LONGEST_SLEEP,
                "a sleep of {} ns: the guest's timer takes {} at most",
                time.0,
                LONGEST_SLEEP.0
            );
            sleep(code, u32::try_from(time.0)?);
        }
        Step::Spin(time) => {
            code.put(&[0xfb]); // sti
            until(code, *time, &[]);
            code.put(&[0xfa]); // cli
        }
        Step::SpinDeaf(time) => until(code, *time, &[]),
        Step::Exit(time) => until(code, *time, &[0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2]), // cpuid of leaf 0
        Step::Repeat(0, _) => {}
        Step::Repeat(times, inner) => {
            code.put(&[0xb8]).u32(*times).put(&[0x50]); // mov eax, times; push rax
            let again = code.label();
            code.here(again);
            for step in inner {
                perform(code, step, places, texts)?;
            }
            code.put(&[0xff, 0x0c, 0x24]); // dec dword [rsp]
            code.put(&[0x0f, 0x85]).relative(again); // jnz again
            code.put(&[0x58]); // pop rax
        }
        Step::PowerOff => {
            let (port, value) = SOFT_OFF;
            code.put(&[0xba]).u32(port).put(&[0xb8]).u32(value); // mov edx, port; mov eax, value
            code.put(&[0x66, 0xef]); // out dx, ax
        }
        Step::TripleFault => {
            code.put(&[0x6a, 0, 0x6a, 0]); // push 0; push 0
            code.put(&[0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b]); // lidt [rsp]; ud2
        }
        Step::SleepForever => sleep_for_good(code),
        Step::SpinForever => {
            code.put(&[0xfb, 0xeb, 0xfe]); // sti; jmp itself
        }
        Step::SpinDeafForever => {
            code.put(&[0xeb, 0xfe]); // jmp itself
        }
        Step::Do(act) => acts::perform(code, *act, places)?,
    }
    Ok(())
}

/// Arms the timer and halts until its handler has counted. The look and the HLT have interrupts off
/// between them (STI's shadow), so the one interrupt is not slept over.
fn sleep(code: &mut Code, ticks: u32) {
    let (again, awake) = (code.label(), code.label());
    code.put(&[0x45, 0x31, 0xed]); // xor r13d, r13d
    apic(code, 0x380, ticks.max(1));
    code.here(again).put(&[0xfa, 0x4d, 0x85, 0xed]); // cli; test r13, r13
    code.put(&[0x0f, 0x85]).relative(awake); // jnz awake
    code.put(&[0xfb, 0xf4, 0xe9]).relative(again); // sti; hlt; jmp again
    code.here(awake);
}

/// Does `what` until `time` has passed, at least once.
fn until(code: &mut Code, time: Nanos, what: &[u8]) {
    const NOW: [u8; 9] = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0]; // rdtsc into rax
    code.put(&NOW).put(&[0x49, 0xbe]).put(&time.0.to_le_bytes()); // mov r14, time
    code.put(&[0x49, 0x01, 0xc6]); // add r14, rax
    let again = code.label();
    code.here(again).put(what).put(&NOW);
    code.put(&[0x4c, 0x39, 0xf0, 0x0f, 0x82]).relative(again); // cmp rax, r14; jb again
}

fn sleep_for_good(code: &mut Code) {
    let again = code.label();
    code.here(again).put(&[0xfb, 0xf4, 0xe9]).relative(again); // sti; hlt; jmp again
}

fn routines(code: &mut Code, places: &Places) {
    // The timer's handler: count, end of interrupt.
    code.here(places.timer).put(&[0x49, 0xff, 0xc5]); // inc r13
    apic(code, 0xb0, 0);
    code.put(&[0x48, 0xcf]); // iretq
    code.here(places.nmi).put(&[0x48, 0xcf]); // iretq
    code.here(places.nmi_spin).put(&[0xeb, 0xfe]); // jmp itself
    // Sends ECX bytes from RSI; each waits for the transmitter's holding register.
    code.here(places.say).put(&[0xba]).u32(COM1 + 5); // mov edx, line status
    code.put(&[0xec, 0xa8, 0x20]); // in al, dx; test al, empty
    code.put(&[0x0f, 0x84]).relative(places.say); // jz say
    code.put(&[0xba]).u32(COM1).put(&[0xac, 0xee]); // mov edx, data; lodsb; out dx, al
    code.put(&[0xff, 0xc9, 0x0f, 0x85]).relative(places.say); // dec ecx; jnz say
    code.put(&[0xc3]); // ret
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, LONGEST_SLEEP, Step, bzimage, parts, ticking};
    use crate::ramdisk;
    use darma_abi::shared::{Doorbell, Mark};
    use darma_abi::units::Nanos;
    use darma_policy::boot::bzimage::BzImage;

    #[test]
    fn the_nanokernel_takes_it_for_a_kernel_with_room_for_its_stack() {
        let file = bzimage(&ticking(3)).expect("a sound program");
        let image = BzImage::parse(&file).expect("a bzImage");
        assert!(image.init_size >= image.payload.len() as u64 + 1024);
        assert_eq!(image.payload[ENTRY], 0xfa);
        assert!(ramdisk::build(&parts(&ticking(3)).expect("sound")).is_ok());
    }

    #[test]
    fn the_same_steps_are_the_same_bytes() {
        assert_eq!(
            bzimage(&ticking(5)).expect("sound"),
            bzimage(&ticking(5)).expect("sound")
        );
    }

    #[test]
    fn a_sleep_longer_than_the_timer_counts_is_refused() {
        assert!(bzimage(&[Step::Sleep(LONGEST_SLEEP)]).is_ok());
        let error = bzimage(&[Step::Sleep(Nanos(LONGEST_SLEEP.0 + 1))]).expect_err("too long");
        assert!(error.to_string().contains("4294967296 ns"), "{error}");
    }

    #[test]
    fn the_doorbell_is_looked_for_where_it_is_used_only() {
        let mark = Step::Ring(Doorbell::Mark(Mark::UserspaceUp));
        let length = |steps: &[Step]| bzimage(steps).expect("sound").len();
        let inside = length(&[Step::Repeat(1, vec![mark.clone()])]);
        assert!(inside > length(&[Step::Repeat(1, vec![Step::SpinForever])]) + 40);
    }
}
