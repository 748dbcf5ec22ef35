//! Winograd's minimal filtering: the outputs of a convolution from fewer multiplications, tile by
//! tile.
//!
//! ```text
//! V = B^T d B                     the points of each input tile d, a channel         (this file)
//! M[p] = V[p] * U[p]              a matrix product over the channels a point p       (`conv`)
//! y = epilogue(bias + A^T M A)    the output pixels of a tile                        (this file)
//! ```
//!
//! where `U = G g G^T` are the packed weights. A [`Filter`] is one dimension of it, with its `B^T`,
//! `G` and `A^T`; rows and columns have one each, and [`Filter::Identity`] is none.
//!
//! | rows x columns | multiplications of a direct convolution's | weights |
//! | --- | --- | --- |
//! | F2 x F2, 3x3 | 16 of 36 | 16/9 |
//! | F4 x F4, 3x3 | 36 of 144 | 4 |
//! | F2s2 x F2s2, 3x3 with stride 2 | 25 of 36 | 16/9 |
//! | F4s2 x F4s2, 3x3 with stride 2 | 81 of 144 | 4 |
//! | F4x7s2 x Identity, 7x7 with stride 2 | 13 of 28 | 13/7 |
//!
//! Larger tiles multiply less; smaller ones have fewer weights, which counts where they come from
//! memory for few pixels. The last one is for a network's first convolution: a picture has so few
//! channels that transforming both ways would cost more than the products.
//!
//! Andrew Lavin, Scott Gray: Fast Algorithms for Convolutional Neural Networks, 2015
//! (arXiv 1509.09308).

use super::epilogue::{Pixels, finish};
use super::filter::{F2, F2s2, F4, F4s2, F4x7s2, Identity, Minimal};
use super::simd::Simd;
use super::{BLOCK, Transform, WinogradInputParams, WinogradOutputParams};

/// A call of a function over the filters of a form.
macro_rules! by_form {
    ($params:ident, $function:ident($($argument:expr),*)) => {
        match $params.form {
            Transform::Winograd2x2 => $function::<S, F2, F2, 2, 4, 2, 4>($($argument),*),
            Transform::Winograd4x4 => $function::<S, F4, F4, 4, 6, 4, 6>($($argument),*),
            Transform::Winograd2x2Stride2 => $function::<S, F2s2, F2s2, 2, 5, 2, 5>($($argument),*),
            Transform::Winograd4x4Stride2 => $function::<S, F4s2, F4s2, 4, 9, 4, 9>($($argument),*),
            Transform::Winograd4x1Stride2 => $function::<S, F4x7s2, Identity, 4, 13, 1, 1>($($argument),*),
            Transform::None => unreachable!("a direct convolution has no tiles"),
        }
    };
}

/// [`Call::WinogradInput`](super::Call::WinogradInput).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
pub(super) unsafe fn winograd_input<S: Simd>(
    simd: S,
    params: &WinogradInputParams,
    x: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `input` asks for what this function does: operands as far as the parameters say.
    unsafe {
        by_form!(params, input(simd, params, x, y));
    }
}

/// [`Call::WinogradOutput`](super::Call::WinogradOutput).
///
/// # Safety
///
/// `x`, `b` and `r` are readable and `y` writable as far as [`WinogradOutputParams`] says.
#[inline(always)]
pub(super) unsafe fn winograd_output<S: Simd>(
    simd: S,
    params: &WinogradOutputParams,
    x: *mut f32,
    b: *mut f32,
    r: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `output` asks for what this function does: operands as far as the parameters say.
    unsafe {
        by_form!(params, output(simd, params, [x, b, r, y]));
    }
}

/// # Safety
///
/// That of [`winograd_input`].
#[inline(always)]
unsafe fn input<
    S: Simd,
    R: Minimal<RM, RN>,
    C: Minimal<CM, CN>,
    const RM: usize,
    const RN: usize,
    const CM: usize,
    const CN: usize,
>(
    simd: S,
    params: &WinogradInputParams,
    x: *const f32,
    y: *mut f32,
) {
    for tile in 0..params.tiles {
        let x = x.wrapping_add(tile * C::STEP * BLOCK);
        let y = y.wrapping_add(tile * BLOCK);
        // Down the columns, then along the rows.
        let mut columns = [[simd.splat(0.0); RN]; CN];
        for (c, column) in columns.iter_mut().enumerate() {
            for (r, pixel) in column.iter_mut().enumerate() {
                // SAFETY: the row and column are the tile's.
                *pixel = unsafe { simd.load(x.add(r * params.x_row + c * BLOCK)) };
            }
            *column = R::evaluate(simd, *column);
        }
        for i in 0..RN {
            for (j, point) in C::evaluate(simd, row(&columns, i)).iter().enumerate() {
                // SAFETY: the point is the tile's.
                unsafe { simd.store(y.add((CN * i + j) * params.y_point), *point) };
            }
        }
    }
}

/// # Safety
///
/// That of [`winograd_output`], for its operands.
#[inline(always)]
unsafe fn output<
    S: Simd,
    R: Minimal<RM, RN>,
    C: Minimal<CM, CN>,
    const RM: usize,
    const RN: usize,
    const CM: usize,
    const CN: usize,
>(
    simd: S,
    params: &WinogradOutputParams,
    [x, b, r, y]: [*mut f32; 4],
) {
    // SAFETY: the bias has 16 elements.
    let bias = unsafe { simd.load(b) };
    for tile in 0..params.tiles {
        let x = x.wrapping_add(tile * BLOCK);
        let r = r.wrapping_add(tile * CM * BLOCK);
        let y = y.wrapping_add(tile * CM * BLOCK);
        let width = (params.columns - tile * CM).min(CM);
        for i in 0..RM {
            for c in 0..CM {
                simd.prefetch_near(y.wrapping_add(i * params.y_row + c * BLOCK));
            }
        }
        let mut columns = [[simd.splat(0.0); RM]; CN];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut points = [simd.splat(0.0); RN];
            for (i, point) in points.iter_mut().enumerate() {
                // SAFETY: the point is the tile's.
                *point = unsafe { simd.load(x.add((CN * i + j) * params.x_point)) };
            }
            *column = R::interpolate(simd, points);
        }
        for i in 0..RM {
            if i < params.rows {
                let mut pixels = C::interpolate(simd, row(&columns, i));
                for pixel in &mut pixels {
                    *pixel = simd.add(*pixel, bias);
                }
                let (r, y) = (r.wrapping_add(i * params.r_row), y.wrapping_add(i * params.y_row));
                let (r, y) = (Pixels { at: r.cast_const(), block: 0 }, Pixels { at: y, block: 0 });
                // SAFETY: the pixels are within the call's rows and columns, and so are the residual's.
                unsafe { finish(simd, params.epilogue, [pixels], width, r, y) };
            }
        }
    }
}

/// Row `i` of `N` columns.
#[inline(always)]
fn row<V: Copy, const M: usize, const N: usize>(columns: &[[V; M]; N], i: usize) -> [V; N] {
    let mut row = [columns[0][i]; N];
    for (value, column) in row.iter_mut().zip(columns) {
        *value = column[i];
    }
    row
}
