//! Typed registers in memory.
//!
//! A block of registers is a `#[repr(C)]` structure whose fields say what may be done to them:
//! [`ReadPure`] and [`ReadPureWrite`] (reading changes nothing, so a shared pointer suffices),
//! [`ReadOnly`], [`ReadWrite`], [`WriteOnly`], each around `u8` to `u64`. [`layout!`](crate::layout)
//! holds the offsets against the manual at compile time, and [`field!`] goes from the block to one
//! register. The types are `safe-mmio`'s: no Rust reference to device memory ever exists, so the
//! compiler invents no reads of its own (decision 0020).
//!
//! ```
//! use darma_device::layout;
//! use darma_device::mmio::{ReadPure, ReadPureWrite, UniqueMmioPointer, field, field_shared};
//!
//! #[repr(C)]
//! struct Registers {
//!     identity: ReadPure<u32>,
//!     control: ReadPureWrite<u32>,
//! }
//! layout!(Registers, 8; identity @ 0, control @ 4);
//!
//! fn switch_on(mut registers: UniqueMmioPointer<'_, Registers>) -> u32 {
//!     field!(registers, control).write(1);
//!     field_shared!(registers, identity).read()
//! }
//! # let mut plain = Registers { identity: ReadPure(7), control: ReadPureWrite(0) };
//! # assert_eq!(switch_on(UniqueMmioPointer::from(&mut plain)), 7);
//! # assert_eq!(plain.control.0, 1);
//! ```

pub use safe_mmio::fields::{ReadOnly, ReadPure, ReadPureWrite, ReadWrite, WriteOnly};
pub use safe_mmio::{SharedMmioPointer, UniqueMmioPointer, field, field_shared, split_fields};

/// The registers of a device, which their owner keeps for as long as the machine runs.
pub type Mmio<R> = UniqueMmioPointer<'static, R>;

/// Asserts, when it is compiled, the size of a block of registers and the offset of each field.
#[macro_export]
macro_rules! layout {
    ($block:ty, $bytes:expr; $($field:ident @ $offset:expr),* $(,)?) => {
        const _: () = {
            assert!(::core::mem::size_of::<$block>() == $bytes, "the block's size");
            $(
                assert!(
                    ::core::mem::offset_of!($block, $field) == $offset,
                    concat!("the offset of ", stringify!($field)),
                );
            )*
        };
    };
}
