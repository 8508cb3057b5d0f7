//! A PCI function that a task owns.
//!
//! The nanokernel took it over before: it decodes nothing, interrupts by no wire, and its message,
//! if a task is bound to it, goes to that task's vector. A driver asks for the memory and ports
//! that it needs; decoding is switched on with the first of each kind.
//!
//! Concurrency: `init` only, interrupts off, because configuration space has one address port.

use core::marker::PhantomData;
use core::ptr::NonNull;

use darma_machine::{pci, port::Width};
use darma_policy::devices::functions::{Bdf, FunctionFacts};
use darma_policy::devices::task_function::{
    BUS_MASTER, BarError, COMMAND, DECODE_MEMORY, DECODE_PORTS,
};

use crate::mmio::Mmio;
use crate::ports::Ports;

/// A function, for its driver, during `init`.
#[derive(Debug)]
pub struct PciFunction<'init> {
    facts: FunctionFacts,
    /// Where the identity map ends.
    reach: u64,
    /// The registers that were taken.
    taken: u8,
    /// Borrowed, so that it ends with `init`; and of one context, like the address port.
    init: PhantomData<(&'init (), *const ())>,
}

impl PciFunction<'_> {
    /// # Safety
    /// The function is the caller's alone, for as long as the machine runs, and this value is the
    /// only one of it (invariant `DEVICE-OWNER`). No other context touches configuration space
    /// while it lives. The identity map ends at `reach`.
    pub(crate) const unsafe fn new(facts: FunctionFacts, reach: u64) -> Self {
        Self {
            facts,
            reach,
            taken: 0,
            init: PhantomData,
        }
    }

    /// Vendor and device.
    pub const fn id(&self) -> (u16, u16) {
        (self.facts.vendor, self.facts.device)
    }

    /// Where it stands.
    pub const fn bdf(&self) -> Bdf {
        self.facts.bdf
    }

    /// Class, subclass and programming interface, 24 bits.
    pub const fn class(&self) -> u32 {
        self.facts.class
    }

    /// Reads four bytes of configuration space; the low two bits of `offset` are ignored.
    pub fn config(&self, offset: u8) -> u32 {
        pci::read(self.facts.bdf.0, offset & 0xfc, Width::Dword)
    }

    /// The registers behind a base address register, as an `R`, and switches the decoding of memory
    /// on. Each can be taken once.
    ///
    /// # Safety
    /// `R` describes the device's registers: reading a field has the effects that its type tells,
    /// and no value that the caller lets be written to a field makes the device read or write memory
    /// that is not its driver's, or send an interrupt message (invariant `DEVICE-DMA`).
    ///
    /// # Errors
    /// [`BarError`]: there is no such register, it is smaller than `R`, taken, or `R` would cover the
    /// MSI-X table.
    pub unsafe fn bar<R>(&mut self, bar: u8) -> Result<Mmio<R>, BarError> {
        const { assert!(align_of::<R>() <= 4096, "pages are what is aligned") };
        let bytes = u64::try_from(size_of::<R>()).unwrap_or(u64::MAX);
        let at = self.facts.block(bar, bytes)?;
        let end = at.0.checked_add(bytes).filter(|end| *end <= self.reach);
        // A base address is aligned to what it decodes, which is at least as much as `R`.
        let registers = end.and_then(|_| NonNull::new(at.0 as *mut R));
        let registers = registers
            .filter(|at| at.is_aligned())
            .ok_or(BarError::OutOfReach {
                bdf: self.facts.bdf,
                bar,
            })?;
        self.take(bar)?;
        self.allow(DECODE_MEMORY);
        // SAFETY: DEVICE-OWNER: the function's own registers, at least as many as `R` has, inside
        // the identity map (IDENTITY-MAP), as checked above; taken once. What the fields may be
        // used for is the caller's promise.
        Ok(unsafe { Mmio::new(registers) })
    }

    /// The ports behind a base address register, and switches the decoding of ports on. Each can be
    /// taken once.
    ///
    /// # Safety
    /// As [`PciFunction::bar`], for values written to ports.
    ///
    /// # Errors
    /// [`BarError`].
    pub unsafe fn ports(&mut self, bar: u8) -> Result<Ports, BarError> {
        let (first, count) = self.facts.port_range(bar)?;
        self.take(bar)?;
        self.allow(DECODE_PORTS);
        // SAFETY: DEVICE-OWNER: the function's own ports, taken once; the rest is the caller's promise.
        Ok(unsafe { Ports::new(first, count) })
    }

    /// Lets the function read and write memory by itself. One whose interrupt a task takes may do so
    /// already, because its message is such a write.
    ///
    /// # Safety
    /// The driver gives it addresses of memory that is its own alone, for as long as the function
    /// may use them: no IOMMU checks them (invariant `DEVICE-DMA`).
    pub unsafe fn master_bus(&mut self) {
        self.allow(BUS_MASTER);
    }

    fn take(&mut self, bar: u8) -> Result<(), BarError> {
        let bit = 1_u8.checked_shl(u32::from(bar)).unwrap_or(0);
        if self.taken & bit != 0 {
            return Err(BarError::Taken {
                bdf: self.facts.bdf,
                bar,
            });
        }
        self.taken |= bit;
        Ok(())
    }

    /// Sets bits of Command; the upper half of the register is Status, whose bits a write clears.
    fn allow(&mut self, bits: u16) {
        let bdf = self.facts.bdf.0;
        let command = pci::read(bdf, COMMAND, Width::Word) | u32::from(bits);
        // SAFETY: DEVICE-DMA: the function is the driver's, its registers are where the firmware put
        // them, and bus mastering is either a message's or vouched for by `master_bus`'s caller.
        unsafe { pci::write(bdf, COMMAND, Width::Word, command) };
    }
}
