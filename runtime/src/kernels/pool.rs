//! Pools, one channel block at a time: 16 lanes side by side, no arithmetic across lanes.

use std::ops::Range;

use super::simd::{Real, Simd, Stored};
use super::{BLOCK, Bf16, LARGEST_BLUR, MeanParams, PoolParams};

/// [`Call::MaxPool`](super::Call::MaxPool). NaN where the window has one, as in PyTorch.
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn max_pool<S: Simd>(simd: S, params: &PoolParams, x: *mut f32, y: *mut f32) {
    // SAFETY: `largest` asks for what this function does, of the same operands.
    unsafe { largest(simd, params, x, y) }
}

/// [`Call::MaxPoolU8`](super::Call::MaxPoolU8).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn max_pool_u8<S: Simd>(simd: S, params: &PoolParams, x: *mut u8, y: *mut u8) {
    // SAFETY: `largest` asks for what this function does, of the same operands.
    unsafe { largest(simd, params, x, y) }
}

/// [`Call::MaxPoolBf16`](super::Call::MaxPoolBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn max_pool_bf16<S: Simd>(
    simd: S,
    params: &PoolParams,
    x: *mut Bf16,
    y: *mut Bf16,
) {
    // SAFETY: `largest` asks for what this function does, of the same operands.
    unsafe { largest(simd, params, x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
unsafe fn largest<S: Simd, T: Ordered>(simd: S, params: &PoolParams, x: *mut T, y: *mut T) {
    for row in 0..params.out_rows {
        let rows = rows(params, row);
        for column in 0..params.out_columns {
            let columns = columns(params, column);
            let mut largest = T::least(simd);
            for row in rows.clone() {
                for column in columns.clone() {
                    // SAFETY: the window is cut to the input's rows and columns.
                    let value =
                        unsafe { T::read(simd, x.add(row * params.x_row + column * BLOCK)) };
                    largest = T::larger(simd, largest, value);
                }
            }
            // SAFETY: the row and column are the output's.
            unsafe { T::write(simd, y.add(row * params.y_row + column * BLOCK), largest) };
        }
    }
}

/// Elements of which a block's larger ones can be taken, as they are.
trait Ordered: Copy {
    /// A block of them.
    type Block<S: Simd>: Copy;

    /// What nothing is smaller than.
    fn least<S: Simd>(simd: S) -> Self::Block<S>;

    /// The larger ones; NaN where one of them is.
    fn larger<S: Simd>(simd: S, a: Self::Block<S>, b: Self::Block<S>) -> Self::Block<S>;

    /// # Safety
    ///
    /// `from` is readable for 16 elements.
    unsafe fn read<S: Simd>(simd: S, from: *const Self) -> Self::Block<S>;

    /// # Safety
    ///
    /// `to` is writable for 16 elements.
    unsafe fn write<S: Simd>(simd: S, to: *mut Self, block: Self::Block<S>);
}

impl<T: Real> Ordered for T {
    type Block<S: Simd> = S::F32x16;

    #[inline(always)]
    fn least<S: Simd>(simd: S) -> S::F32x16 {
        simd.splat(f32::NEG_INFINITY)
    }

    #[inline(always)]
    fn larger<S: Simd>(simd: S, a: S::F32x16, b: S::F32x16) -> S::F32x16 {
        simd.max_or_nan(a, b)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(simd: S, from: *const Self) -> S::F32x16 {
        // SAFETY: readable for 16 elements, says the caller.
        unsafe { T::load(simd, from) }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(simd: S, to: *mut Self, block: S::F32x16) {
        // SAFETY: writable for 16 elements, says the caller.
        unsafe { T::store(simd, to, block) }
    }
}

impl Ordered for u8 {
    type Block<S: Simd> = [u8; BLOCK];

    #[inline(always)]
    fn least<S: Simd>(_: S) -> [u8; BLOCK] {
        [0; BLOCK]
    }

    #[inline(always)]
    fn larger<S: Simd>(simd: S, a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
        simd.larger_bytes(a, b)
    }

    #[inline(always)]
    unsafe fn read<S: Simd>(_: S, from: *const Self) -> [u8; BLOCK] {
        // SAFETY: readable for 16 elements, says the caller; bytes have no alignment.
        unsafe { from.cast::<[u8; BLOCK]>().read() }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(_: S, to: *mut Self, block: [u8; BLOCK]) {
        // SAFETY: writable for 16 elements, says the caller; bytes have no alignment.
        unsafe { to.cast::<[u8; BLOCK]>().write(block) }
    }
}

/// [`Call::AveragePool`](super::Call::AveragePool).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn average_pool<S: Simd>(simd: S, params: &PoolParams, x: *mut f32, y: *mut f32) {
    // SAFETY: the same is asked for.
    unsafe { averages(simd, params, x, y) }
}

/// [`Call::AveragePoolBf16`](super::Call::AveragePoolBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn average_pool_bf16<S: Simd>(
    simd: S,
    params: &PoolParams,
    x: *mut Bf16,
    y: *mut Bf16,
) {
    // SAFETY: the same is asked for.
    unsafe { averages(simd, params, x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
unsafe fn averages<S: Simd, T: Real>(simd: S, params: &PoolParams, x: *const T, y: *mut T) {
    for row in 0..params.out_rows {
        let rows = rows(params, row);
        for column in 0..params.out_columns {
            let columns = columns(params, column);
            let mut sum = simd.splat(0.0);
            for row in rows.clone() {
                // Row by row, so that a large window's error stays small.
                let mut line = simd.splat(0.0);
                for column in columns.clone() {
                    // SAFETY: the window is cut to the input's rows and columns.
                    let value =
                        unsafe { T::load(simd, x.add(row * params.x_row + column * BLOCK)) };
                    line = simd.add(line, value);
                }
                sum = simd.add(sum, line);
            }
            let pixels = rows.len() * columns.len();
            let mean = simd.div(sum, simd.splat(pixels as f32));
            // SAFETY: the row and column are the output's.
            unsafe { T::store(simd, y.add(row * params.y_row + column * BLOCK), mean) };
        }
    }
}

/// [`Call::Blur`](super::Call::Blur).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn blur<S: Simd>(simd: S, params: &PoolParams, x: *mut f32, y: *mut f32) {
    // SAFETY: the same is asked for.
    unsafe { blurred(simd, params, x, y) }
}

/// [`Call::BlurBf16`](super::Call::BlurBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn blur_bf16<S: Simd>(simd: S, params: &PoolParams, x: *mut Bf16, y: *mut Bf16) {
    // SAFETY: the same is asked for.
    unsafe { blurred(simd, params, x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
unsafe fn blurred<S: Simd, T: Real>(simd: S, params: &PoolParams, x: *const T, y: *mut T) {
    let row_weights = binomial(params.kernel_rows);
    let column_weights = binomial(params.kernel_columns);
    let (kernel_rows, kernel_columns) =
        (params.kernel_rows.min(LARGEST_BLUR), params.kernel_columns.min(LARGEST_BLUR));
    for row in 0..params.out_rows {
        let mut lines = [x; LARGEST_BLUR];
        for (k, line) in lines.iter_mut().enumerate() {
            let from = mirrored(row * params.stride_rows + k, params.padding_rows, params.in_rows);
            *line = x.wrapping_add(from * params.x_row);
        }
        for column in 0..params.out_columns {
            let mut pixels = [0; LARGEST_BLUR];
            for (k, pixel) in pixels.iter_mut().enumerate() {
                let at = column * params.stride_columns + k;
                *pixel = mirrored(at, params.padding_columns, params.in_columns) * BLOCK;
            }
            let mut sum = simd.splat(0.0);
            for row in 0..kernel_rows {
                let mut line = simd.splat(0.0);
                for column in 0..kernel_columns {
                    // SAFETY: `mirrored` answers with rows and columns of the input.
                    let value = unsafe { T::load(simd, lines[row].add(pixels[column])) };
                    line = simd.mul_add(value, simd.splat(column_weights[column]), line);
                }
                sum = simd.mul_add(line, simd.splat(row_weights[row]), sum);
            }
            // SAFETY: the row and column are the output's.
            unsafe { T::store(simd, y.add(row * params.y_row + column * BLOCK), sum) };
        }
    }
}

/// The coefficients of `(1/2 + x/2)^(kernel - 1)`, all of them exact; zeros after them.
#[inline(always)]
pub(super) fn binomial(kernel: usize) -> [f32; LARGEST_BLUR] {
    let mut weights = [0.0; LARGEST_BLUR];
    let mut weight = 1.0 / (1u32 << kernel.clamp(1, LARGEST_BLUR).saturating_sub(1)) as f32;
    for (k, slot) in weights.iter_mut().enumerate().take(kernel) {
        *slot = weight;
        weight = weight * (kernel - 1 - k) as f32 / (k + 1) as f32;
    }
    weights
}

/// The pixel that is seen `at` pixels after the start of the padding: past an edge, the one as far
/// inside of it. Some pixel, whatever the numbers are.
#[inline(always)]
pub(super) fn mirrored(at: usize, padding: usize, size: usize) -> usize {
    let from = at.abs_diff(padding);
    if from < size { from } else { (2 * (size - 1)).saturating_sub(from) }
}

/// [`Call::Mean`](super::Call::Mean).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `y` writable for 16 elements.
#[inline(always)]
pub(super) unsafe fn mean<S: Simd>(simd: S, params: &MeanParams, x: *mut f32, y: *mut f32) {
    // SAFETY: `x` reaches as far as `MeanParams` says, `y` is writable for 16 elements.
    unsafe { simd.store(y, plane_mean::<S, _, false>(simd, params, x, simd.splat(0.0))) }
}

/// [`Call::MeanBf16`](super::Call::MeanBf16).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `y` writable for 16 elements.
#[inline(always)]
pub(super) unsafe fn mean_bf16<S: Simd>(simd: S, params: &MeanParams, x: *mut Bf16, y: *mut f32) {
    // SAFETY: `x` reaches as far as `MeanParams` says, `y` is writable for 16 elements.
    unsafe { simd.store(y, plane_mean::<S, _, false>(simd, params, x, simd.splat(0.0))) }
}

/// The mean of a plane's pixels, or of the squares of what they are over `center`.
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says.
#[inline(always)]
pub(super) unsafe fn plane_mean<S: Simd, T: Stored, const SQUARED: bool>(
    simd: S,
    params: &MeanParams,
    x: *const T,
    center: S::F32x16,
) -> S::F32x16 {
    const SUMS: usize = 4;
    // Parts of rows are added in pairs, the pairs in pairs and so on, so that the error hardly grows
    // with the plane: a group norm of a plane that is nearly constant magnifies that of its mean.
    // Level `k` holds the sum of `2^k` parts if bit `k` of their number is set.
    const PART: usize = 64;
    let mut levels = [simd.splat(0.0); 32];
    let mut parts = 0usize;
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        for start in (0..params.columns).step_by(PART) {
            let end = params.columns.min(start + PART);
            let mut sums = [simd.splat(0.0); SUMS];
            for first in (start..end).step_by(SUMS) {
                for (k, sum) in sums.iter_mut().enumerate().take(end - first) {
                    // SAFETY: the row and column are the input's.
                    let value = unsafe { T::load(simd, x.add((first + k) * BLOCK)) };
                    *sum = if SQUARED {
                        let over = simd.sub(value, center);
                        simd.mul_add(over, over, *sum)
                    } else {
                        simd.add(*sum, value)
                    };
                }
            }
            let [a, b, c, d] = sums;
            let mut sum = simd.add(simd.add(a, b), simd.add(c, d));
            for (k, level) in levels.iter_mut().enumerate() {
                if parts >> k & 1 == 0 {
                    *level = sum;
                    break;
                }
                sum = simd.add(*level, sum);
            }
            parts += 1;
        }
    }
    let mut total = simd.splat(0.0);
    for (k, &level) in levels.iter().enumerate() {
        if parts >> k & 1 == 1 {
            total = simd.add(total, level);
        }
    }
    let pixels = simd.splat((params.rows * params.columns) as f32);
    simd.div(total, pixels)
}

/// The rows of the input that output row `row` sees.
#[inline(always)]
pub(super) fn rows(params: &PoolParams, row: usize) -> Range<usize> {
    let PoolParams { stride_rows, padding_rows, kernel_rows, in_rows, .. } = *params;
    window(row, stride_rows, padding_rows, kernel_rows, in_rows)
}

/// The columns of the input that output column `column` sees.
#[inline(always)]
pub(super) fn columns(params: &PoolParams, column: usize) -> Range<usize> {
    let PoolParams { stride_columns, padding_columns, kernel_columns, in_columns, .. } = *params;
    window(column, stride_columns, padding_columns, kernel_columns, in_columns)
}

/// The part of output position `at`'s window that lies inside the input.
#[inline(always)]
fn window(at: usize, stride: usize, padding: usize, kernel: usize, size: usize) -> Range<usize> {
    let start = at * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}
