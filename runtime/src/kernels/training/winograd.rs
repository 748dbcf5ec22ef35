//! Winograd's F(4x4, 3x3) for training: weights become points in every step, and their gradient is the transposed
//! algorithm: with `Y = A^T [(G g G^T) (B^T d B)] A`, that of `g` is `G^T [sum of (A dY A^T) (B^T d B)] G`.

use super::super::BLOCK;
use super::super::WinogradInputParams;
use super::super::filter::F4;
use super::super::simd::Simd;
use super::WinogradWeightsParams;

/// [`Call::WinogradWeights`](super::super::Call::WinogradWeights).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradWeightsParams`] says.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "as the sums of the transform are written")]
pub(in super::super) unsafe fn winograd_weights<S: Simd>(
    simd: S,
    params: &WinogradWeightsParams,
    x: *mut f32,
    y: *mut f32,
) {
    for at in (0..params.len).step_by(BLOCK) {
        let mut taps = [[simd.splat(0.0); 3]; 3];
        for (index, tap) in taps.as_flattened_mut().iter_mut().enumerate() {
            // SAFETY: a tap's 16 of the call's elements.
            *tap = unsafe { simd.load(x.add(index * params.x_part + at)) };
        }
        let mut halves = [[simd.splat(0.0); 6]; 3];
        for column in 0..3 {
            halves[column] = F4::weigh(simd, [taps[0][column], taps[1][column], taps[2][column]]);
        }
        for row in 0..6 {
            let points = F4::weigh(simd, [halves[0][row], halves[1][row], halves[2][row]]);
            for (column, point) in points.into_iter().enumerate() {
                // SAFETY: a point's 16 of the call's elements.
                unsafe { simd.store(y.add((6 * row + column) * params.y_part + at), point) };
            }
        }
    }
}

/// [`Call::WinogradWeightsGradient`](super::super::Call::WinogradWeightsGradient).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradWeightsParams`] says.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "as the sums of the transform are written")]
pub(in super::super) unsafe fn winograd_weights_gradient<S: Simd>(
    simd: S,
    params: &WinogradWeightsParams,
    x: *mut f32,
    y: *mut f32,
) {
    for at in (0..params.len).step_by(BLOCK) {
        let mut halves = [[simd.splat(0.0); 3]; 6];
        for column in 0..6 {
            let mut points = [simd.splat(0.0); 6];
            for row in 0..6 {
                let from = x.wrapping_add((6 * row + column) * params.x_part + at);
                for sum in 0..params.sums {
                    // SAFETY: a point's 16 of the call's elements, of one of the sums.
                    let point = unsafe { simd.load(from.add(sum * params.x_sum)) };
                    points[row] = simd.add(points[row], point);
                }
            }
            halves[column] = F4::weigh_transposed(simd, points);
        }
        for row in 0..3 {
            let mut points = [simd.splat(0.0); 6];
            for column in 0..6 {
                points[column] = halves[column][row];
            }
            for (column, tap) in F4::weigh_transposed(simd, points).into_iter().enumerate() {
                // SAFETY: a tap's 16 of the call's elements.
                unsafe { simd.store(y.add((3 * row + column) * params.y_part + at), tap) };
            }
        }
    }
}

/// [`Call::WinogradGradient`](super::super::Call::WinogradGradient).
///
/// # Safety
///
/// `x` is readable for whole tiles of 4x4 pixels, `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "as the sums of the transform are written")]
pub(in super::super) unsafe fn winograd_gradient<S: Simd>(
    simd: S,
    params: &WinogradInputParams,
    x: *mut f32,
    y: *mut f32,
) {
    for tile in 0..params.tiles {
        let x = x.wrapping_add(4 * tile * BLOCK);
        let y = y.wrapping_add(tile * BLOCK);
        let mut halves = [[simd.splat(0.0); 6]; 4];
        for column in 0..4 {
            let mut pixels = [simd.splat(0.0); 4];
            for (row, pixel) in pixels.iter_mut().enumerate() {
                // SAFETY: a pixel of the tile.
                *pixel = unsafe { simd.load(x.add(row * params.x_row + column * BLOCK)) };
            }
            halves[column] = F4::interpolate_transposed(simd, pixels);
        }
        for row in 0..6 {
            let pixels = [halves[0][row], halves[1][row], halves[2][row], halves[3][row]];
            let points = F4::interpolate_transposed(simd, pixels);
            for (column, point) in points.into_iter().enumerate() {
                // SAFETY: a point of the tile.
                unsafe { simd.store(y.add((6 * row + column) * params.y_point), point) };
            }
        }
    }
}
