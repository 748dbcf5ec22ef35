//! Pools, one channel block at a time: 16 lanes side by side, no arithmetic across lanes.

use std::ops::Range;

use super::simd::Simd;
use super::{BLOCK, MeanParams, PoolParams};

/// [`Call::MaxPool`](super::Call::MaxPool). NaN where the window has one, as in PyTorch.
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn max_pool<S: Simd>(simd: S, params: &PoolParams, x: *mut f32, y: *mut f32) {
    for row in 0..params.out_rows {
        let rows = window(
            row,
            params.stride_rows,
            params.padding_rows,
            params.kernel_rows,
            params.in_rows,
        );
        for column in 0..params.out_columns {
            let columns = columns(params, column);
            let mut largest = simd.splat(f32::NEG_INFINITY);
            for row in rows.clone() {
                for column in columns.clone() {
                    // SAFETY: the window is cut to the input's rows and columns.
                    let value = unsafe { simd.load(x.add(row * params.x_row + column * BLOCK)) };
                    largest = simd.max_or_nan(largest, value);
                }
            }
            // SAFETY: the row and column are the output's.
            unsafe { simd.store(y.add(row * params.y_row + column * BLOCK), largest) };
        }
    }
}

/// [`Call::AveragePool`](super::Call::AveragePool).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`PoolParams`] says.
#[inline(always)]
pub(super) unsafe fn average_pool<S: Simd>(simd: S, params: &PoolParams, x: *mut f32, y: *mut f32) {
    let area = params.kernel_rows * params.kernel_columns;
    for row in 0..params.out_rows {
        let rows = window(
            row,
            params.stride_rows,
            params.padding_rows,
            params.kernel_rows,
            params.in_rows,
        );
        for column in 0..params.out_columns {
            let columns = columns(params, column);
            let mut sum = simd.splat(0.0);
            for row in rows.clone() {
                for column in columns.clone() {
                    // SAFETY: the window is cut to the input's rows and columns.
                    let value = unsafe { simd.load(x.add(row * params.x_row + column * BLOCK)) };
                    sum = simd.add(sum, value);
                }
            }
            let pixels = if params.count_padding == 1 { area } else { rows.len() * columns.len() };
            let mean = simd.div(sum, simd.splat(pixels as f32));
            // SAFETY: the row and column are the output's.
            unsafe { simd.store(y.add(row * params.y_row + column * BLOCK), mean) };
        }
    }
}

/// [`Call::Mean`](super::Call::Mean).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `y` writable for 16 elements.
#[inline(always)]
pub(super) unsafe fn mean<S: Simd>(simd: S, params: &MeanParams, x: *mut f32, y: *mut f32) {
    let mut sum = simd.splat(0.0);
    for row in 0..params.rows {
        for column in 0..params.columns {
            // SAFETY: the row and column are the input's.
            let value = unsafe { simd.load(x.add(row * params.x_row + column * BLOCK)) };
            sum = simd.add(sum, value);
        }
    }
    let pixels = simd.splat((params.rows * params.columns) as f32);
    // SAFETY: the caller's promise.
    unsafe { simd.store(y, simd.div(sum, pixels)) };
}

#[inline(always)]
fn columns(params: &PoolParams, column: usize) -> Range<usize> {
    let PoolParams { stride_columns, padding_columns, kernel_columns, in_columns, .. } = *params;
    window(column, stride_columns, padding_columns, kernel_columns, in_columns)
}

/// The part of output position `at`'s window that lies inside the input.
#[inline(always)]
fn window(at: usize, stride: usize, padding: usize, kernel: usize, size: usize) -> Range<usize> {
    let start = at * stride;
    start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(size)
}
