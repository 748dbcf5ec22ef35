//! Denormals as zeros, for the time of an inference.

use std::marker::PhantomData;

/// While it lives, its thread treats denormal numbers as zeros, in operands (DAZ) and in results
/// (FTZ); on drop the thread's former mode is back.
///
/// Arithmetic on denormals takes a CPU a hundred cycles or more, and trained networks produce
/// them. The mode is the thread's, so every thread that runs kernels holds one of its own, and
/// guards are dropped in the reverse of the order in which they were made.
///
/// On CPUs other than x86-64 it does nothing.
#[must_use = "the mode is restored when the guard is dropped"]
#[derive(Debug)]
pub struct FlushDenormals {
    #[cfg(target_arch = "x86_64")]
    former: u32,
    /// The mode belongs to a thread, so the guard may not leave it.
    not_send: PhantomData<*const ()>,
}

#[cfg(target_arch = "x86_64")]
mod mxcsr {
    use std::arch::asm;

    /// Results that would be denormal become zero.
    pub(super) const FLUSH_TO_ZERO: u32 = 1 << 15;
    /// Denormal operands are taken as zero.
    pub(super) const DENORMALS_ARE_ZERO: u32 = 1 << 6;

    pub(super) fn read() -> u32 {
        let mut value = 0u32;
        // SAFETY: stores the control register, which every x86-64 CPU has, to a variable.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
        }
        value
    }

    /// # Safety
    ///
    /// `value` was read from the register, but for the two bits above.
    pub(super) unsafe fn write(value: u32) {
        // SAFETY: a value from the register sets no reserved bit, so the load does not fault; and
        // the two bits change nothing but the treatment of denormals, on which no memory safety
        // and no assumption of this crate rests.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags));
        }
    }
}

impl FlushDenormals {
    /// Changes this thread's mode.
    #[cfg(target_arch = "x86_64")]
    pub fn new() -> Self {
        let former = mxcsr::read();
        // SAFETY: read just now, plus the two bits.
        unsafe { mxcsr::write(former | mxcsr::FLUSH_TO_ZERO | mxcsr::DENORMALS_ARE_ZERO) };
        Self { former, not_send: PhantomData }
    }

    /// Does nothing on this CPU.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn new() -> Self {
        Self { not_send: PhantomData }
    }
}

impl Default for FlushDenormals {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        // SAFETY: read from the register when the guard was made, on this thread: the guard is
        // not `Send`.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            mxcsr::write(self.former);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::FlushDenormals;

    fn halve(value: f32) -> f32 {
        black_box(value) * black_box(0.5)
    }

    fn double(value: f32) -> f32 {
        black_box(value) * black_box(2.0)
    }

    #[test]
    fn denormals_are_zero_while_a_guard_lives_and_after_it_no_longer() {
        let denormal = f32::MIN_POSITIVE / 4.0;
        {
            let _outer = FlushDenormals::new();
            {
                let _inner = FlushDenormals::new();
                assert_eq!(halve(f32::MIN_POSITIVE), 0.0);
            }
            assert_eq!(halve(f32::MIN_POSITIVE), 0.0, "flushed result");
            assert_eq!(double(denormal).to_bits(), 0, "flushed operand");
        }
        assert_eq!(halve(f32::MIN_POSITIVE).to_bits(), 1 << 22);
        assert_eq!(double(denormal), f32::MIN_POSITIVE / 2.0);
    }
}
