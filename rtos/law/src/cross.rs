//! What crosses between two compilations that pass floating-point arguments in different registers.

/// Data whose layout is the same in both compilations, and of which every initialised value of one is a
/// value of the other. Made by [`crate::data!`].
///
/// # Safety
/// FLOAT-STATE: the layout is C's, all the way down, and there are no references inside.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not data that a law and its caller can share",
    note = "declare it with darma_law::data!, of floats, integers, arrays and other such structs"
)]
pub unsafe trait Data {}

/// An argument or a result of a law.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result of a law",
    note = "floats, integers, and references to darma_law::data! can"
)]
pub trait Crosses: Sized {
    /// An integer or a pointer: what both compilations pass alike.
    type Raw;

    /// What is passed.
    fn into_raw(self) -> Self::Raw;

    /// What was meant by it.
    ///
    /// # Safety
    /// `raw` comes from [`Self::into_raw`] of the same type, and for a reference the borrow still lasts.
    unsafe fn from_raw(raw: Self::Raw) -> Self;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        // SAFETY: FLOAT-STATE: an integer is laid out as C's of the same size.
        unsafe impl Data for $integer {}

        impl Crosses for $integer {
            type Raw = Self;

            #[inline(always)]
            fn into_raw(self) -> Self {
                self
            }

            #[inline(always)]
            unsafe fn from_raw(raw: Self) -> Self {
                raw
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, bool);

macro_rules! floats {
    ($($float:ty => $bits:ty),*) => {$(
        // SAFETY: FLOAT-STATE: in memory a float is its IEEE 754 bits in both compilations.
        unsafe impl Data for $float {}

        impl Crosses for $float {
            type Raw = $bits;

            #[inline(always)]
            fn into_raw(self) -> $bits {
                self.to_bits()
            }

            #[inline(always)]
            unsafe fn from_raw(raw: $bits) -> Self {
                Self::from_bits(raw)
            }
        }
    )*};
}

floats!(f32 => u32, f64 => u64);

// SAFETY: FLOAT-STATE: an array is its elements, one behind the other.
unsafe impl<T: Data, const N: usize> Data for [T; N] {}

impl Crosses for () {
    type Raw = ();

    #[inline(always)]
    fn into_raw(self) {}

    #[inline(always)]
    unsafe fn from_raw((): ()) {}
}

impl<T: Data> Crosses for &T {
    type Raw = *const T;

    #[inline(always)]
    fn into_raw(self) -> *const T {
        self
    }

    #[inline(always)]
    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: FLOAT-STATE: made from a reference whose borrow still lasts, as the caller promises.
        unsafe { &*raw }
    }
}

impl<T: Data> Crosses for &mut T {
    type Raw = *mut T;

    #[inline(always)]
    fn into_raw(self) -> *mut T {
        self
    }

    #[inline(always)]
    unsafe fn from_raw(raw: *mut T) -> Self {
        // SAFETY: FLOAT-STATE: made from an exclusive reference whose borrow still lasts.
        unsafe { &mut *raw }
    }
}

#[cfg(test)]
mod tests {
    use super::Crosses;

    fn there_and_back<T: Crosses>(value: T) -> T {
        // SAFETY: FLOAT-STATE: the raw value was made of the same type one call before.
        unsafe { T::from_raw(value.into_raw()) }
    }

    #[test]
    fn a_float_crosses_bit_by_bit() {
        for bits in [0, 1, 0x7ff0_0000_0000_0001, 0xfff8_dead_beef_0000, u64::MAX] {
            assert_eq!(there_and_back(f64::from_bits(bits)).to_bits(), bits);
        }
        assert_eq!(there_and_back(-0.0_f32).to_bits(), 1 << 31);
    }

    #[test]
    fn what_is_behind_a_reference_is_the_callers() {
        let mut state = [1.0, 2.0];
        let there = there_and_back(&mut state);
        there[1] = 3.0;
        assert_eq!(*there_and_back(&state), [1.0, 3.0]);
    }
}
