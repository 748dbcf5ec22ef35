//! Gradients that are moved, masked or spread over one channel block's plane.

use super::super::BLOCK;
use super::super::activation::derivative;
use super::super::simd::Simd;
use super::{DilateParams, GradientParams, ShiftParams, SpreadParams};

/// [`Call::Mask`](super::super::Call::Mask).
///
/// # Safety
///
/// `z` and `g` are readable and `y` writable as far as [`GradientParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn mask<S: Simd>(
    simd: S,
    params: &GradientParams,
    z: *mut f32,
    g: *mut f32,
    y: *mut f32,
) {
    for row in 0..params.rows {
        let (z, g) = (z.wrapping_add(row * params.z_row), g.wrapping_add(row * params.g_row));
        let y = y.wrapping_add(row * params.y_row);
        for column in 0..params.columns {
            let at = column * BLOCK;
            // SAFETY: the row and column are the call's.
            unsafe {
                let (value, gradient) = (simd.load(z.add(at)), simd.load(g.add(at)));
                simd.store(y.add(at), derivative(simd, params.activation, value, gradient));
            }
        }
    }
}

/// [`Call::Spread`](super::super::Call::Spread).
///
/// # Safety
///
/// `x` is readable for 16 elements, `r`, with a residual, readable and `y` writable as far as [`SpreadParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn spread<S: Simd>(
    simd: S,
    params: &SpreadParams,
    x: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    let pixels = (params.rows * params.columns) as f32;
    // SAFETY: `x` has 16 elements.
    let share = simd.div(unsafe { simd.load(x) }, simd.splat(pixels));
    for row in 0..params.rows {
        for column in 0..params.columns {
            let (r, y) = (
                r.wrapping_add(row * params.r_row + column * BLOCK),
                y.wrapping_add(row * params.y_row + column * BLOCK),
            );
            // SAFETY: the row and column are the call's; `r` is read if there is a residual.
            unsafe {
                let sum = if params.residual { simd.add(share, simd.load(r)) } else { share };
                simd.store(y, sum);
            }
        }
    }
}

/// [`Call::Dilate`](super::super::Call::Dilate).
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`DilateParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn dilate<S: Simd>(
    simd: S,
    params: &DilateParams,
    x: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    for row in 0..params.y_rows {
        for column in 0..params.y_columns {
            let mut value = simd.splat(0.0);
            if let Some((row, column)) = source(params, row, column) {
                // SAFETY: a pixel of `x`.
                value = unsafe { simd.load(x.add(row * params.x_row + column * BLOCK)) };
            }
            // SAFETY: the row and column are the call's.
            unsafe { finish(simd, params, (row, column), value, r, y) };
        }
    }
}

/// [`Call::Shift`](super::super::Call::Shift): a channel's lane is another one, so channels go one at a time.
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`ShiftParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn shift<S: Simd>(
    simd: S,
    params: &ShiftParams,
    x: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    let dilate = &params.dilate;
    for row in 0..dilate.y_rows {
        for column in 0..dilate.y_columns {
            let mut lanes = [0.0; BLOCK];
            if let Some((row, column)) = source(dilate, row, column) {
                for (lane, value) in lanes.iter_mut().enumerate() {
                    let of_y = params.first + lane;
                    // Where `x` begins later, the difference wraps to a channel that it does not have.
                    let channel = (of_y + params.skipped).wrapping_sub(params.before);
                    if of_y < params.y_channels && channel < params.x_channels {
                        let at = channel / BLOCK * params.x_block + channel % BLOCK;
                        // SAFETY: a pixel of `x`, and a channel that it has.
                        *value = unsafe { *x.add(at + row * dilate.x_row + column * BLOCK) };
                    }
                }
            }
            // SAFETY: an array of 16; the row and column are the call's.
            unsafe { finish(simd, dilate, (row, column), simd.load(lanes.as_ptr()), r, y) };
        }
    }
}

/// The pixel that is spread to a row and a column, if there is one.
#[inline(always)]
fn source(params: &DilateParams, row: usize, column: usize) -> Option<(usize, usize)> {
    let (row, column) = (row + params.skipped_rows, column + params.skipped_columns);
    let (from_row, from_column) = (row / params.stride_rows, column / params.stride_columns);
    let there = row == from_row * params.stride_rows
        && column == from_column * params.stride_columns
        && from_row < params.rows
        && from_column < params.columns;
    there.then_some((from_row, from_column))
}

/// Adds the residual and stores.
///
/// # Safety
///
/// The row and column are the call's.
#[inline(always)]
unsafe fn finish<S: Simd>(
    simd: S,
    params: &DilateParams,
    (row, column): (usize, usize),
    value: S::F32x16,
    r: *const f32,
    y: *mut f32,
) {
    // SAFETY: the row and column are the call's, says the caller; `r` is read if there is a residual.
    unsafe {
        let value = if params.residual {
            simd.add(value, simd.load(r.add(row * params.r_row + column * BLOCK)))
        } else {
            value
        };
        simd.store(y.add(row * params.y_row + column * BLOCK), value);
    }
}
