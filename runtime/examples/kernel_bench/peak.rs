//! Chains of multiply-adds in registers, as many as hide their latency.

use super::*;

const STEPS: usize = 100_000;

pub(super) fn gflops(isa: Isa) -> f64 {
    let lanes = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 16,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => 8,
        _ => 4,
    };
    let seconds = best(|| match isa {
        // SAFETY: the table of this instruction set exists, so the CPU has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86_64::avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86_64::avx2() },
        _ => portable(),
    });
    (2 * 10 * lanes * STEPS) as f64 / seconds * 1e-9
}

fn portable() {
    let mut sums = [[1.0f32; 4]; 10];
    let (a, b) = (black_box([0.5f32; 4]), black_box([1.0f32; 4]));
    for _ in 0..STEPS {
        for sum in &mut sums {
            for lane in 0..4 {
                sum[lane] = sum[lane] * a[lane] + b[lane];
            }
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{STEPS, black_box};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn avx512() {
        let mut sums = [_mm512_set1_ps(1.0); 10];
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2() {
        let mut sums = [_mm256_set1_ps(1.0); 10];
        let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(1.0)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }
}
