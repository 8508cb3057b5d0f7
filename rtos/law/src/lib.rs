//! Control laws in hard floating point.
//!
//! The image is compiled without SSE, so an `f64` in a task costs a library call per operation. A *law*
//! is a small crate of its own that exists twice: once as an ordinary dependency of the application,
//! which brings its types and the way to call it, and once compiled for a target with SSE2 by
//! `darma_build::hard_float`, which brings the machine code. On the host, in tests and simulations, it is
//! just a crate: the same source gives the same bits.
//!
//! ```
//! darma_law::data! {
//!     /// A low-pass filter of first order.
//!     #[derive(Clone, Copy, Debug, Default)]
//!     pub struct Filter {
//!         /// What came out last.
//!         pub out: f64,
//!     }
//! }
//!
//! darma_law::law! {
//!     /// Takes a sample, returns the filtered one.
//!     pub fn smooth(filter: &mut Filter, sample: f64) -> f64 {
//!         filter.out += (sample - filter.out) / 8.0;
//!         filter.out
//!     }
//! }
//!
//! let mut filter = Filter::default();
//! assert_eq!(smooth(darma_law::HardFloat::host(), &mut filter, 16.0), 2.0);
//! ```
//!
//! The two compilations disagree about where a floating-point argument lies: in a general register
//! or in a vector register. So nothing floating crosses as such: [`Crosses`] turns it into its bits, and
//! only integers and pointers are in the signature on which both agree. What pointers lead to
//! is made of [`data!`], whose layout is C's.
//!
//! [`HardFloat`] is the permission: a task that is declared with hard floating point is given one, and a
//! law cannot be called without. Decision 0021 has the alternatives.
#![no_std]

mod cross;
#[cfg(darma_hard_float)]
mod panic;
mod token;

pub use cross::{Crosses, Data};
pub use token::HardFloat;

/// Declares data that a law and its caller share: a struct of floats, integers, arrays of them, and
/// other such structs, laid out as C does.
#[macro_export]
macro_rules! data {
    ($(#[$about:meta])* $vis:vis struct $name:ident {
        $($(#[$field_about:meta])* $field_vis:vis $field:ident: $kind:ty),* $(,)?
    }) => {
        $(#[$about])*
        #[repr(C)]
        $vis struct $name {
            $($(#[$field_about])* $field_vis $field: $kind,)*
        }

        const _: () = {
            const fn is_data<T: $crate::Data>() {}
            $(is_data::<$kind>();)*
        };

        // SAFETY: FLOAT-STATE: laid out by C's rules, and every field is such data (checked above).
        unsafe impl $crate::Data for $name {}
    };
}

/// Declares a law: a function that runs with SSE2 and is called with a [`HardFloat`] before its own
/// arguments.
///
/// Arguments are floats, integers, and references to [`data!`]; so is the result, but for references.
/// A panic inside is the calling task's panic.
#[macro_export]
macro_rules! law {
    ($(#[$about:meta])* $vis:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$about])*
        $vis fn $name(float: $crate::HardFloat<'_>, $($argument: $kind),*) $(-> $result)? {
            #[allow(dead_code, reason = "in the image the hard-float compilation of it is called")]
            fn law($($argument: $kind),*) $(-> $result)? $body
            $($crate::__crosses::<$kind>();)*
            $crate::__export!($name, ($($argument: $kind),*) $(-> $result)?);
            let _: $crate::HardFloat<'_> = float;
            $crate::__call!($name, ($($argument: $kind),*) $(-> $result)?)
        }
    };
}

/// Refuses, on every target, a type that cannot cross.
#[doc(hidden)]
#[inline(always)]
pub const fn __crosses<T: Crosses>() {}

/// Calls the hard-float compilation by its symbol.
#[cfg(target_os = "none")]
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ($name:ident, ($($argument:ident: $kind:ty),*)) => {
        $crate::__call!($name, ($($argument: $kind),*) -> ())
    };
    ($name:ident, ($($argument:ident: $kind:ty),*) -> $result:ty) => {{
        unsafe extern "C" {
            #[link_name = concat!(module_path!(), "::", stringify!($name))]
            fn hard($($argument: <$kind as $crate::Crosses>::Raw),*) -> <$result as $crate::Crosses>::Raw;
        }
        // SAFETY: FLOAT-STATE: the token says that a task with hard floating point runs. The symbol is this
        // very function, compiled with the same types from the same source by `darma_build`.
        unsafe {
            <$result as $crate::Crosses>::from_raw(hard($($crate::Crosses::into_raw($argument)),*))
        }
    }};
}

/// Calls the law, which this compilation holds itself.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ($name:ident, ($($argument:ident: $kind:ty),*) $(-> $result:ty)?) => {
        law($($argument),*)
    };
}

/// Gives the hard-float compilation of a law its symbol.
#[cfg(darma_hard_float)]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($name:ident, ($($argument:ident: $kind:ty),*)) => {
        $crate::__export!($name, ($($argument: $kind),*) -> ());
    };
    ($name:ident, ($($argument:ident: $kind:ty),*) -> $result:ty) => {
        #[unsafe(export_name = concat!(module_path!(), "::", stringify!($name)))]
        extern "C" fn hard(
            $($argument: <$kind as $crate::Crosses>::Raw),*
        ) -> <$result as $crate::Crosses>::Raw {
            // SAFETY: FLOAT-STATE: the only caller is the image's `law!`, which made these raw values of
            // the same types and holds its borrows until this returns.
            $(let $argument = unsafe { <$kind as $crate::Crosses>::from_raw($argument) };)*
            $crate::Crosses::into_raw(law($($argument),*))
        }
    };
}

/// Elsewhere a law needs no symbol.
#[cfg(not(darma_hard_float))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($($anything:tt)*) => {};
}
