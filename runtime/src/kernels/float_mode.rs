//! Denormals as zeros, for the time of an inference.

use std::marker::PhantomData;

/// While it lives, its thread treats denormal numbers as zeros, in operands (DAZ) and in results
/// (FTZ); on drop the thread's former mode is back.
///
/// Arithmetic on denormals takes a CPU a hundred cycles or more, and trained networks produce
/// them. The mode is the thread's, so every thread that runs kernels holds one of its own, and
/// guards are dropped in the reverse of the order in which they were made.
///
/// On CPUs other than x86-64 and AArch64 it does nothing.
#[must_use = "the mode is restored when the guard is dropped"]
#[derive(Debug)]
pub struct FlushDenormals {
    former: control::Register,
    /// The mode belongs to a thread, so the guard may not leave it.
    not_send: PhantomData<*const ()>,
}

/// MXCSR.
#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u32;

    /// Results that would be denormal become zero, and denormal operands are taken as zero.
    pub(super) const FLUSH: Register = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Register {
        let mut value = 0;
        // SAFETY: stores the control register, which every x86-64 CPU has, to a variable.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
        }
        value
    }

    /// # Safety
    ///
    /// `value` was read from the register, but for the bits above.
    pub(super) unsafe fn write(value: Register) {
        // SAFETY: a value from the register sets no reserved bit, so the load does not fault; and
        // the bits change nothing but the treatment of denormals, on which no memory safety
        // and no assumption of this crate rests.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags));
        }
    }
}

/// FPCR.
#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub(super) type Register = u64;

    /// FZ: operands and results that are denormal are zero.
    pub(super) const FLUSH: Register = 1 << 24;

    pub(super) fn read() -> Register {
        let value;
        // SAFETY: reads a register that every AArch64 CPU lets programs read.
        unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }

    /// # Safety
    ///
    /// `value` was read from the register, but for the bit above.
    pub(super) unsafe fn write(value: Register) {
        // SAFETY: a value from the register sets no reserved bit; the bit changes nothing but the treatment of
        // denormals. Memory counts as touched, so that no arithmetic on what lies there moves across.
        unsafe { asm!("msr fpcr, {}", in(reg) value, options(nostack, preserves_flags)) };
    }
}

/// There is no such register that this crate knows.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) type Register = u32;

    pub(super) const FLUSH: Register = 0;

    pub(super) fn read() -> Register {
        0
    }

    /// # Safety
    ///
    /// None is asked for.
    pub(super) unsafe fn write(_: Register) {}
}

impl FlushDenormals {
    /// Changes this thread's mode.
    pub fn new() -> Self {
        let former = control::read();
        // SAFETY: read just now, plus the bits.
        unsafe { control::write(former | control::FLUSH) };
        Self { former, not_send: PhantomData }
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
        unsafe { control::write(self.former) };
    }
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
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
