//! Gradients of pools, one channel block at a time.

use super::super::pool::{columns, rows};
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
            for row in rows(pool, out_row) {
                for column in columns(pool, out_column) {
                    // SAFETY: the window is cut to the input's rows and columns.
                    unsafe {
                        let value = simd.load(x.add(row * pool.x_row + column * BLOCK));
                        let d = y.add(row * params.d_row + column * BLOCK);
                        // The first pixel that nothing is larger than takes all that is left.
                        let share = simd.where_greater(largest, value, zero, gradient);
                        gradient = simd.sub(gradient, share);
                        simd.store(d, simd.add(simd.load(d), share));
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

/// Pixels of an average's window, counted zeros too.
#[inline(always)]
fn counted(params: &PoolGradientParams, row: usize, column: usize) -> usize {
    let pool = &params.pool;
    let wider = PoolParams {
        in_rows: pool.in_rows + params.zero_rows + params.zero_rows_after,
        in_columns: pool.in_columns + params.zero_columns + params.zero_columns_after,
        padding_rows: pool.padding_rows - params.zero_rows,
        padding_columns: pool.padding_columns - params.zero_columns,
        ..*pool
    };
    rows(&wider, row).len() * columns(&wider, column).len()
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
