//! Winograd's minimal filtering F(m x m, 3x3): `m * m` outputs of a 3x3 convolution, stride 1, from
//! `n * n` multiplications a channel instead of `9 * m * m`, where `n = m + 2`. For `m` = 4 that is
//! 36 instead of 144, for `m` = 2 it is 16 instead of 36.
//!
//! ```text
//! V = B^T d B                     n * n points of each input tile d, a channel       (this file)
//! M[p] = V[p] * U[p]              a matrix product over the channels a point p       (`conv`)
//! y = epilogue(bias + A^T M A)    m * m output pixels a tile                         (this file)
//! ```
//!
//! where `U = G g G^T` are the packed weights. `B^T`, `G` and `A^T` come from polynomials that are
//! evaluated at `n - 1` numbers and infinity; see [`points`] and [`Filter`].
//!
//! The larger tile multiplies less; the smaller one has `16 / 9` instead of 4 times the weights of a
//! direct convolution, which counts where they come from memory for few pixels.
//!
//! Andrew Lavin, Scott Gray: Fast Algorithms for Convolutional Neural Networks, 2015
//! (arXiv 1509.09308).

use super::simd::Simd;
use super::{BLOCK, WinogradInputParams, WinogradOutputParams};

/// Where the polynomials of F(4x4, 3x3) are evaluated: 0, `+-A`, `+-B` and infinity, in this order.
///
/// Two opposite pairs let both transforms share sums and differences, at the same cost for any
/// pairs, so they are chosen for the smallest error. Relative to the largest output, of 16 x 16
/// tiles and channels, mean of 40 draws (half of them rectified), for 64 and for 512 input channels:
///
/// | | largest error, 64 | 512 | root mean square, 64 | 512 |
/// | --- | --- | --- | --- | --- |
/// | 0, +-1, +-2 (the usual ones) | 4.9e-6 | 12e-6 | 0.41e-6 | 1.1e-6 |
/// | 0, +-1, 1/2, -2 | 1.9e-6 | 5.0e-6 | 0.27e-6 | 0.70e-6 |
/// | 0, +-sqrt(1/2), +-sqrt(2) | 1.2e-6 | 3.2e-6 | 0.20e-6 | 0.51e-6 |
/// | 0, +-3/4, +-3/2 | 1.3e-6 | 3.5e-6 | 0.20e-6 | 0.52e-6 |
/// | 0, +-5/8, +-3/2 | 1.3e-6 | 3.3e-6 | 0.18e-6 | 0.48e-6 |
/// | a direct convolution | 0.7e-6 | 2.0e-6 | 0.10e-6 | 0.28e-6 |
///
/// That points other than small integers lose less is shown by Barbara Barabasz, Andrew Anderson,
/// Kirk M. Soodhalter, David Gregg: Error Analysis and Improving the Accuracy of Winograd
/// Convolution for Deep Neural Networks, 2018 (arXiv 1803.10986).
///
/// F(2x2, 3x3) is evaluated at 0, +-1 and infinity: additions alone.
pub(crate) mod points {
    /// The first pair. All products of `A^2` and `B^2` that the transforms need are exact in `f32`.
    pub(crate) const A: f64 = 0.625;
    /// The second pair.
    pub(crate) const B: f64 = 1.5;
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
    // SAFETY: the caller's promise.
    unsafe {
        match params.side {
            2 => input::<S, F2, 2, 4>(simd, params, x, y),
            4 => input::<S, F4, 4, 6>(simd, params, x, y),
            side => unreachable!("no tile has {side} x {side} pixels"),
        }
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
    // SAFETY: the caller's promise.
    unsafe {
        match params.side {
            2 => output::<S, F2, 2, 4>(simd, params, [x, b, r, y]),
            4 => output::<S, F4, 4, 6>(simd, params, [x, b, r, y]),
            side => unreachable!("no tile has {side} x {side} pixels"),
        }
    }
}

/// # Safety
///
/// That of [`winograd_input`]; `M` is the side of a tile.
#[inline(always)]
unsafe fn input<S: Simd, F: Filter<M, N>, const M: usize, const N: usize>(
    simd: S,
    params: &WinogradInputParams,
    x: *const f32,
    y: *mut f32,
) {
    for tile in 0..params.tiles {
        let x = x.wrapping_add(tile * M * BLOCK);
        let y = y.wrapping_add(tile * BLOCK);
        // Down the columns, then along the rows.
        let mut columns = [[simd.splat(0.0); N]; N];
        for (c, column) in columns.iter_mut().enumerate() {
            for (r, pixel) in column.iter_mut().enumerate() {
                // SAFETY: the row and column are the tile's.
                *pixel = unsafe { simd.load(x.add(r * params.x_row + c * BLOCK)) };
            }
            *column = F::evaluate(simd, *column);
        }
        for i in 0..N {
            for (j, point) in F::evaluate(simd, row(&columns, i)).iter().enumerate() {
                // SAFETY: the point is the tile's.
                unsafe { simd.store(y.add((N * i + j) * params.y_point), *point) };
            }
        }
    }
}

/// # Safety
///
/// That of [`winograd_output`], for its operands; `M` is the side of a tile.
#[inline(always)]
unsafe fn output<S: Simd, F: Filter<M, N>, const M: usize, const N: usize>(
    simd: S,
    params: &WinogradOutputParams,
    [x, b, r, y]: [*mut f32; 4],
) {
    // SAFETY: the bias has 16 elements.
    let bias = unsafe { simd.load(b) };
    for tile in 0..params.tiles {
        let x = x.wrapping_add(tile * BLOCK);
        let r = r.wrapping_add(tile * M * BLOCK);
        let y = y.wrapping_add(tile * M * BLOCK);
        let width = (params.columns - tile * M).min(M);
        let mut columns = [[simd.splat(0.0); M]; N];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut points = [simd.splat(0.0); N];
            for (i, point) in points.iter_mut().enumerate() {
                // SAFETY: the point is the tile's.
                *point = unsafe { simd.load(x.add((N * i + j) * params.x_point)) };
            }
            *column = F::interpolate(simd, points);
        }
        for i in 0..M {
            if i < params.rows {
                let mut pixels = F::interpolate(simd, row(&columns, i));
                for (c, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = simd.add(*pixel, bias);
                    if params.residual != 0 && c < width {
                        // SAFETY: the residual has the pixels of the output.
                        let residual = unsafe { simd.load(r.add(i * params.r_row + c * BLOCK)) };
                        *pixel = simd.add(*pixel, residual);
                    }
                    if params.relu != 0 {
                        // With the sum as second operand, NaN stays NaN.
                        *pixel = simd.max(simd.splat(0.0), *pixel);
                    }
                    if c < width {
                        // SAFETY: the pixel is within the call's rows and columns.
                        unsafe { simd.store(y.add(i * params.y_row + c * BLOCK), *pixel) };
                    }
                }
            }
        }
    }
}

/// One dimension of F(M x M, 3x3); `N` is `M + 2`.
///
/// Its functions are called by name: through a closure they would not be compiled for the
/// instruction set.
trait Filter<const M: usize, const N: usize> {
    /// `B^T d`: row `p` of `B^T` has the coefficients of the product of `x - q` over all finite
    /// points `q` other than `p`.
    fn evaluate<S: Simd>(simd: S, d: [S::F16; N]) -> [S::F16; N];

    /// `A^T m`: column `p` of `A^T` has the powers 0 to `M - 1` of point `p`, scaled where `G` has
    /// the inverse.
    fn interpolate<S: Simd>(simd: S, m: [S::F16; N]) -> [S::F16; M];
}

struct F2;

impl Filter<2, 4> for F2 {
    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F16; 4]) -> [S::F16; 4] {
        [simd.sub(d[2], d[0]), simd.add(d[2], d[1]), simd.sub(d[2], d[1]), simd.sub(d[3], d[1])]
    }

    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F16; 4]) -> [S::F16; 2] {
        let (sum, difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        [simd.add(m[0], sum), simd.add(difference, m[3])]
    }
}

struct F4;

impl F4 {
    const A: f64 = points::A;
    const B: f64 = points::B;
    const AA: f64 = points::A * points::A;
    const BB: f64 = points::B * points::B;
}

impl Filter<4, 6> for F4 {
    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F16; 6]) -> [S::F16; 6] {
        let (aa, bb) = (Self::AA, Self::BB);
        let (even_a, odd_a) = (times(simd, -bb, d[2], d[4]), times(simd, -bb, d[1], d[3]));
        let (even_b, odd_b) = (times(simd, -aa, d[2], d[4]), times(simd, -aa, d[1], d[3]));
        [
            times(simd, aa * bb, d[0], times(simd, -(aa + bb), d[2], d[4])),
            times(simd, Self::A, odd_a, even_a),
            times(simd, -Self::A, odd_a, even_a),
            times(simd, Self::B, odd_b, even_b),
            times(simd, -Self::B, odd_b, even_b),
            times(simd, aa * bb, d[1], times(simd, -(aa + bb), d[3], d[5])),
        ]
    }

    /// The scales are `1 / A` for the first pair, `1 / B^2` for the second, so that two factors
    /// become 1.
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F16; 6]) -> [S::F16; 4] {
        let (sum_a, difference_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_b, difference_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            times(simd, 1.0 / Self::BB, sum_b, times(simd, 1.0 / Self::A, sum_a, m[0])),
            times(simd, 1.0 / Self::B, difference_b, difference_a),
            times(simd, Self::A, sum_a, sum_b),
            times(simd, Self::B, difference_b, times(simd, Self::AA, difference_a, m[5])),
        ]
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

/// `factor * a + b`.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f64, a: S::F16, b: S::F16) -> S::F16 {
    simd.mul_add(simd.splat(factor as f32), a, b)
}
