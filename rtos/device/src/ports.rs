//! Ports that a task's driver owns.
//!
//! Port instructions are `darma-machine`'s; here is who may use which. A [`Ports`] comes from a base
//! address register of an owned function, and every [`Port`] taken from it lies inside. The GPOS's
//! accesses to these ports are intercepted and answered as absent.

use core::marker::PhantomData;

use darma_machine::port::{self, Width};

/// A range of ports of one function.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    count: u16,
}

impl Ports {
    /// The ports `first..first + count`.
    ///
    /// # Safety
    /// They are one device's, nobody else touches them (invariant `DEVICE-OWNER`), and no value
    /// that the caller lets be written there makes the device touch memory that is not its driver's
    /// (invariant `DEVICE-DMA`).
    pub(crate) const unsafe fn new(first: u16, count: u16) -> Self {
        Self { first, count }
    }

    /// The port at `offset` as a register of type `T`; `None` if it does not lie inside.
    pub fn port<T: PortValue>(&self, offset: u16) -> Option<Port<T>> {
        let bytes = match T::WIDTH {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        };
        let inside = offset.checked_add(bytes)? <= self.count;
        let number = self.first.checked_add(offset)?;
        inside.then_some(Port {
            number,
            value: PhantomData,
        })
    }
}

/// One port register of one, two or four bytes.
#[derive(Debug)]
pub struct Port<T> {
    number: u16,
    value: PhantomData<T>,
}

impl<T: PortValue> Port<T> {
    /// Reads it, with whatever effect reading has on the device.
    pub fn read(&mut self) -> T {
        // SAFETY: DEVICE-OWNER: inside the range that `Ports::new` was promised.
        T::narrow(unsafe { port::read(self.number, T::WIDTH) })
    }

    /// Writes it.
    pub fn write(&mut self, value: T) {
        // SAFETY: DEVICE-OWNER and DEVICE-DMA, promised at `Ports::new`.
        unsafe { port::write(self.number, T::WIDTH, value.into()) };
    }
}

/// What a port can carry: `u8`, `u16` or `u32`.
pub trait PortValue: Into<u32> + sealed::Sealed {
    /// Its width.
    const WIDTH: Width;
    /// The low bytes of what was read.
    fn narrow(read: u32) -> Self;
}

mod sealed {
    /// Keeps other types out.
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

impl PortValue for u8 {
    const WIDTH: Width = Width::Byte;
    fn narrow(read: u32) -> Self {
        read.to_le_bytes()[0]
    }
}

impl PortValue for u16 {
    const WIDTH: Width = Width::Word;
    fn narrow(read: u32) -> Self {
        let [low, high, ..] = read.to_le_bytes();
        Self::from_le_bytes([low, high])
    }
}

impl PortValue for u32 {
    const WIDTH: Width = Width::Dword;
    fn narrow(read: u32) -> Self {
        read
    }
}
