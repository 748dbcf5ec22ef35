//! Batch norm with the batch's own statistics, and its gradient.

use super::super::BLOCK;
use super::super::activation::derivative;
use super::super::simd::Simd;
use super::{BatchParams, GradientParams};

/// [`Call::BatchMoments`](super::super::Call::BatchMoments): a few numbers a layer, so plain arithmetic, in `f64`.
///
/// # Safety
///
/// `p` is readable as far as [`BatchParams`] says, `g` for 16 elements, `v` readable and writable for 32, `y`
/// writable for 48.
#[inline(always)]
pub(in super::super) unsafe fn batch_moments<S: Simd>(
    _simd: S,
    params: &BatchParams,
    p: *mut f32,
    g: *mut f32,
    v: *mut f32,
    y: *mut f32,
) {
    let images = params.images as f64;
    let sample = images * params.pixels as f64;
    let (epsilon, momentum) = (f64::from(params.epsilon.get()), f64::from(params.momentum.get()));
    for lane in 0..BLOCK {
        // SAFETY: each image has a mean and a variance for each lane, and `g`, `v` and `y` have their
        // numbers for each.
        unsafe {
            let mean = sum(params, p, lane) / images;
            let mut variance = 0.0;
            for image in 0..params.images {
                let of_image = p.add(image * params.distance + lane);
                let over = f64::from(*of_image) - mean;
                variance += f64::from(*of_image.add(params.second)) + over * over;
            }
            variance /= images;
            let inverse = 1.0 / (variance + epsilon).sqrt();
            *y.add(lane) = mean as f32;
            *y.add(BLOCK + lane) = (f64::from(*g.add(lane)) * inverse) as f32;
            *y.add(2 * BLOCK + lane) = inverse as f32;
            let unbiased = variance * sample / (sample - 1.0).max(1.0);
            for (running, now) in [(v.add(lane), mean), (v.add(BLOCK + lane), unbiased)] {
                let old = f64::from(*running);
                *running = (old + momentum * (now - old)) as f32;
            }
        }
    }
}

/// [`Call::BatchGradient`](super::super::Call::BatchGradient): as [`batch_moments`].
///
/// # Safety
///
/// `p` is readable as far as [`BatchParams`] says, `m` for 48 elements, `w` and `b` writable for 16, `y` for 48.
#[inline(always)]
pub(in super::super) unsafe fn batch_gradient<S: Simd>(
    _simd: S,
    params: &BatchParams,
    p: *mut f32,
    m: *mut f32,
    w: *mut f32,
    b: *mut f32,
    y: *mut f32,
) {
    let sample = (params.images * params.pixels) as f64;
    for lane in 0..BLOCK {
        // SAFETY: each image has two sums for each lane, and `m`, `w`, `b` and `y` have their numbers for each.
        unsafe {
            let (shift, product) = (sum(params, p, lane), sum(params, p, params.second + lane));
            let scale = f64::from(*m.add(BLOCK + lane));
            let inverse = f64::from(*m.add(2 * BLOCK + lane));
            *w.add(lane) = (product * inverse) as f32;
            *b.add(lane) = shift as f32;
            *y.add(lane) = scale as f32;
            *y.add(BLOCK + lane) = (-scale * inverse * inverse * product / sample) as f32;
            *y.add(2 * BLOCK + lane) = (-scale * shift / sample) as f32;
        }
    }
}

/// [`Call::SumImages`](super::super::Call::SumImages).
///
/// # Safety
///
/// `p` is readable as far as [`BatchParams`] says, `y` writable for 16 elements.
#[inline(always)]
pub(in super::super) unsafe fn sum_images<S: Simd>(
    _simd: S,
    params: &BatchParams,
    p: *mut f32,
    y: *mut f32,
) {
    for lane in 0..BLOCK {
        // SAFETY: each image has a mean for each lane, and there is room for as many numbers.
        unsafe { *y.add(lane) = (sum(params, p, lane) * params.pixels as f64) as f32 };
    }
}

/// The sum of the images' numbers.
///
/// # Safety
///
/// Each image has more than `at` numbers.
#[inline(always)]
unsafe fn sum(params: &BatchParams, p: *const f32, at: usize) -> f64 {
    let mut sum = 0.0;
    for image in 0..params.images {
        // SAFETY: an image has so many numbers, says the caller.
        sum += f64::from(unsafe { *p.add(image * params.distance + at) });
    }
    sum
}

/// [`Call::NormSums`](super::super::Call::NormSums).
///
/// # Safety
///
/// `x`, `z` and `g` are readable and `y` writable as far as [`GradientParams`] says, `m` readable for 16 elements, `s`
/// writable for 32.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as many as the kernel has operands")]
#[expect(clippy::needless_range_loop, reason = "the index also makes the addresses")]
pub(in super::super) unsafe fn norm_sums<S: Simd>(
    simd: S,
    params: &GradientParams,
    x: *mut f32,
    m: *mut f32,
    z: *mut f32,
    g: *mut f32,
    s: *mut f32,
    y: *mut f32,
) {
    const CHAINS: usize = 4;
    // SAFETY: `m` has 16 elements.
    let mean = unsafe { simd.load(m) };
    let mut total = [simd.splat(0.0); 2];
    for row in 0..params.rows {
        let (x, z) = (x.wrapping_add(row * params.x_row), z.wrapping_add(row * params.z_row));
        let (g, y) = (g.wrapping_add(row * params.g_row), y.wrapping_add(row * params.y_row));
        let mut sums = [[simd.splat(0.0); CHAINS]; 2];
        for first in (0..params.columns).step_by(CHAINS) {
            for k in 0..CHAINS {
                if first + k < params.columns {
                    let at = (first + k) * BLOCK;
                    // SAFETY: the row and column are the call's.
                    unsafe {
                        let gradient = derivative(
                            simd,
                            params.activation,
                            simd.load(z.add(at)),
                            simd.load(g.add(at)),
                        );
                        simd.store(y.add(at), gradient);
                        let over = simd.sub(simd.load(x.add(at)), mean);
                        sums[0][k] = simd.add(sums[0][k], gradient);
                        sums[1][k] = simd.mul_add(gradient, over, sums[1][k]);
                    }
                }
            }
        }
        for (total, [a, b, c, d]) in total.iter_mut().zip(sums) {
            *total = simd.add(*total, simd.add(simd.add(a, b), simd.add(c, d)));
        }
    }
    // SAFETY: `s` has room for 32 numbers.
    unsafe {
        simd.store(s, total[0]);
        simd.store(s.add(BLOCK), total[1]);
    }
}

/// [`Call::NormInput`](super::super::Call::NormInput).
///
/// # Safety
///
/// `x`, `g` and, with a residual, `r` are readable and `y` writable as far as [`GradientParams`] says, `m` readable for 16
/// elements, `c` for 48.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as many as the kernel has operands")]
pub(in super::super) unsafe fn norm_input<S: Simd>(
    simd: S,
    params: &GradientParams,
    x: *mut f32,
    m: *mut f32,
    g: *mut f32,
    c: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `m` has 16 elements and `c` 48.
    let (mean, [a, b, c]) = unsafe {
        (simd.load(m), [simd.load(c), simd.load(c.add(BLOCK)), simd.load(c.add(2 * BLOCK))])
    };
    for row in 0..params.rows {
        let (x, g) = (x.wrapping_add(row * params.x_row), g.wrapping_add(row * params.g_row));
        let (r, y) = (r.wrapping_add(row * params.r_row), y.wrapping_add(row * params.y_row));
        for column in 0..params.columns {
            let at = column * BLOCK;
            // SAFETY: the row and column are the call's; `r` is read if there is a residual.
            unsafe {
                let over = simd.sub(simd.load(x.add(at)), mean);
                let rest = simd.mul_add(b, over, c);
                let gradient = simd.mul_add(a, simd.load(g.add(at)), rest);
                let gradient = if params.residual {
                    simd.add(gradient, simd.load(r.add(at)))
                } else {
                    gradient
                };
                simd.store(y.add(at), gradient);
            }
        }
    }
}
