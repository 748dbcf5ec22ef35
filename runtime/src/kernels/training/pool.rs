//! Gradients of pools, one channel block at a time.

use super::super::pool::{binomial, columns, mirrored, rows};
use super::super::simd::Simd;
use super::super::{BLOCK, PoolParams};
use super::PoolGradientParams;

/// [`Call::MaxPoolGradient`](super::super::Call::MaxPoolGradient).
///
/// # Safety
///
/// `x`, `z`, `g` and, with a residual, `r` are readable and `y` writable as far as [`PoolGradientParams`] says.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as many as the kernel has operands")]
pub(in super::super) unsafe fn max_pool_gradient<S: Simd>(
    simd: S,
    params: &PoolGradientParams,
    x: *mut f32,
    z: *mut f32,
    g: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    let pool = &params.pool;
    // SAFETY: `r` and `y` reach as far as the parameters say.
    unsafe { begin(simd, params, r, y) };
    let zero = simd.splat(0.0);
    let wider = with_zeros(params);
    for out_row in 0..pool.out_rows {
        for out_column in 0..pool.out_columns {
            let at = out_column * BLOCK;
            // SAFETY: the row and column are the output's.
            let (largest, mut gradient) = unsafe {
                (
                    simd.load(z.add(out_row * pool.y_row + at)),
                    simd.load(g.add(out_row * params.g_row + at)),
                )
            };
            for row in rows(&wider, out_row) {
                for column in columns(&wider, out_column) {
                    // Where it wraps, it is among the zeros before the first.
                    let row = row.wrapping_sub(params.zero_rows);
                    let column = column.wrapping_sub(params.zero_columns);
                    let inside = row < pool.in_rows && column < pool.in_columns;
                    let mut value = zero;
                    if inside {
                        // SAFETY: the row and column are the input's.
                        value = unsafe { simd.load(x.add(row * pool.x_row + column * BLOCK)) };
                    }
                    // The first pixel that nothing is larger than takes all that is left.
                    let share = simd.where_greater(largest, value, zero, gradient);
                    gradient = simd.sub(gradient, share);
                    if inside {
                        let d = y.wrapping_add(row * params.d_row + column * BLOCK);
                        // SAFETY: the row and column are the input's.
                        unsafe { simd.store(d, simd.add(simd.load(d), share)) };
                    }
                }
            }
        }
    }
}

/// [`Call::AveragePoolGradient`](super::super::Call::AveragePoolGradient).
///
/// # Safety
///
/// `g` and, with a residual, `r` are readable and `y` writable as far as [`PoolGradientParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn average_pool_gradient<S: Simd>(
    simd: S,
    params: &PoolGradientParams,
    g: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    let pool = &params.pool;
    // SAFETY: `r` and `y` reach as far as the parameters say.
    unsafe { begin(simd, params, r, y) };
    for out_row in 0..pool.out_rows {
        for out_column in 0..pool.out_columns {
            let (rows, columns) = (rows(pool, out_row), columns(pool, out_column));
            let counted = counted(params, out_row, out_column);
            // SAFETY: the row and column are the output's.
            let gradient = unsafe { simd.load(g.add(out_row * params.g_row + out_column * BLOCK)) };
            let share = simd.div(gradient, simd.splat(counted as f32));
            for row in rows {
                for column in columns.clone() {
                    let d = y.wrapping_add(row * params.d_row + column * BLOCK);
                    // SAFETY: the window is cut to the input's rows and columns.
                    unsafe { simd.store(d, simd.add(simd.load(d), share)) };
                }
            }
        }
    }
}

/// [`Call::BlurGradient`](super::super::Call::BlurGradient).
///
/// # Safety
///
/// `g` and, with a residual, `r` are readable and `y` writable as far as [`PoolGradientParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn blur_gradient<S: Simd>(
    simd: S,
    params: &PoolGradientParams,
    g: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    let pool = &params.pool;
    let (row_weights, column_weights) = (binomial(pool.kernel_rows), binomial(pool.kernel_columns));
    // SAFETY: `r` and `y` reach as far as the parameters say.
    unsafe { begin(simd, params, r, y) };
    for out_row in 0..pool.out_rows {
        for out_column in 0..pool.out_columns {
            // SAFETY: the row and column are the output's.
            let gradient = unsafe { simd.load(g.add(out_row * params.g_row + out_column * BLOCK)) };
            // Weights past the kernel's are zero, and none is past the largest blur's.
            for (k, &row_weight) in row_weights.iter().enumerate().take(pool.kernel_rows) {
                let row = out_row * pool.stride_rows + k;
                let row = mirrored(row, pool.padding_rows, pool.in_rows);
                for (k, &weight) in column_weights.iter().enumerate().take(pool.kernel_columns) {
                    let column = out_column * pool.stride_columns + k;
                    let column = mirrored(column, pool.padding_columns, pool.in_columns);
                    let d = y.wrapping_add(row * params.d_row + column * BLOCK);
                    let weight = simd.splat(row_weight * weight);
                    // SAFETY: `mirrored` answers with rows and columns of the input.
                    unsafe { simd.store(d, simd.mul_add(gradient, weight, simd.load(d))) };
                }
            }
        }
    }
}

/// Pixels of an average's window, counted zeros too.
#[inline(always)]
fn counted(params: &PoolGradientParams, row: usize, column: usize) -> usize {
    let wider = with_zeros(params);
    rows(&wider, row).len() * columns(&wider, column).len()
}

/// The pool, with the zeros that count as a part of its input.
#[inline(always)]
fn with_zeros(params: &PoolGradientParams) -> PoolParams {
    let pool = &params.pool;
    PoolParams {
        in_rows: pool.in_rows + params.zero_rows + params.zero_rows_after,
        in_columns: pool.in_columns + params.zero_columns + params.zero_columns_after,
        padding_rows: pool.padding_rows - params.zero_rows,
        padding_columns: pool.padding_columns - params.zero_columns,
        ..*pool
    }
}

/// The residual, or zeros.
///
/// # Safety
///
/// `r`, with a residual, is readable and `y` writable as far as [`PoolGradientParams`] says.
#[inline(always)]
unsafe fn begin<S: Simd>(simd: S, params: &PoolGradientParams, r: *const f32, y: *mut f32) {
    for row in 0..params.pool.in_rows {
        for column in 0..params.pool.in_columns {
            let at = column * BLOCK;
            // SAFETY: the row and column are the input's.
            unsafe {
                let value = if params.residual {
                    simd.load(r.add(row * params.r_row + at))
                } else {
                    simd.splat(0.0)
                };
                simd.store(y.add(row * params.d_row + at), value);
            }
        }
    }
}
