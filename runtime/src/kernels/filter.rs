//! One dimension of minimal filtering: `m` outputs of a convolution with `r` taps from fewer than
//! `m * r` multiplications.
//!
//! With stride 1 they are `m + r - 1`, one for each input. `B^T`, `G` and `A^T` come from polynomials
//! that are evaluated at `m + r - 2` numbers and infinity.
//!
//! With stride 2, even outputs of the input meet even taps only, odd ones odd taps: the sum of two
//! convolutions with stride 1, one of the even and one of the odd pixels, each of half the taps.
//! Here too there are as many products as inputs. Where there is one odd tap, it is multiplied with
//! each odd pixel, so that these products share one weight.

mod bytes;

pub(in crate::kernels) use self::bytes::OfBytes;
pub(crate) use self::bytes::{F2OfBytes, F4OfBytes};
use super::simd::Simd;

/// One dimension of the minimal filterings that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Nothing: each output is a product (or a sum of products that something else adds up).
    Identity,
    /// 2 outputs of 3 taps.
    F2,
    /// 4 outputs of 3 taps.
    F4,
    /// 2 outputs of 3 taps, stride 2.
    F2s2,
    /// 4 outputs of 3 taps, stride 2.
    F4s2,
    /// 4 outputs of 7 taps, stride 2.
    F4x7s2,
}

impl Filter {
    /// Outputs of a tile.
    pub const fn outputs(self) -> usize {
        match self {
            Self::Identity => 1,
            Self::F2 | Self::F2s2 => 2,
            Self::F4 | Self::F4s2 | Self::F4x7s2 => 4,
        }
    }

    /// Inputs of a tile, which are as many as its products.
    pub const fn points(self) -> usize {
        self.stride() * (self.outputs() - 1) + self.taps()
    }

    /// Weights that `taps` taps become.
    pub const fn weights(self, taps: usize) -> usize {
        match self {
            Self::Identity => taps,
            Self::F2s2 | Self::F4s2 => self.even_points() + 1,
            Self::F2 | Self::F4 | Self::F4x7s2 => self.points(),
        }
    }

    /// The weight that point `point` is multiplied with.
    pub const fn weight(self, point: usize) -> usize {
        match self {
            Self::F2s2 | Self::F4s2 if point > self.even_points() => self.even_points(),
            _ => point,
        }
    }

    /// Whether the first `outputs` outputs of a tile depend on the product of a point.
    pub const fn needs(self, point: usize, outputs: usize) -> bool {
        let whole = outputs >= self.outputs();
        match self {
            Self::Identity => true,
            // Only the last output takes part in the product at infinity.
            Self::F2 | Self::F4 => whole || point + 1 < self.points(),
            Self::F2s2 | Self::F4s2 => {
                let even = self.even_points();
                whole || point + 1 < even || (point >= even && point - even < outputs)
            }
            Self::F4x7s2 => whole || point + 1 < self.points() && point + 1 != self.even_points(),
        }
    }

    /// The points of `F4` of bytes that `F2` has, in its order: 0, +-1 and infinity.
    pub const F2_OF_F4: [usize; 4] = [0, 1, 2, 5];

    /// The filter by which `outputs` outputs of bytes are computed: of the last tile, two may be enough.
    pub const fn of_bytes(outputs: usize) -> Self {
        if outputs <= Self::F2.outputs() { Self::F2 } else { Self::F4 }
    }

    /// Weights of a kernel, in this dimension.
    pub const fn taps(self) -> usize {
        match self {
            Self::Identity => 1,
            Self::F2 | Self::F4 | Self::F2s2 | Self::F4s2 => 3,
            Self::F4x7s2 => 7,
        }
    }

    /// Distance between the inputs of neighbouring outputs.
    pub const fn stride(self) -> usize {
        match self {
            Self::Identity | Self::F2 | Self::F4 => 1,
            Self::F2s2 | Self::F4s2 | Self::F4x7s2 => 2,
        }
    }

    /// Distance between the inputs of neighbouring tiles.
    pub const fn step(self) -> usize {
        self.stride() * self.outputs()
    }

    /// Points of the even pixels; they come first.
    const fn even_points(self) -> usize {
        match self {
            Self::F2s2 => 3,
            Self::F4s2 => 5,
            Self::F4x7s2 => 7,
            Self::Identity | Self::F2 | Self::F4 => self.points(),
        }
    }
}

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
/// [`F2`] is evaluated at 0, +-1 and infinity: additions alone.
pub(crate) mod points {
    /// The first pair. All products of `A^2` and `B^2` that the transforms need are exact in `f32`.
    pub(crate) const A: f64 = 0.625;
    /// The second pair.
    pub(crate) const B: f64 = 1.5;
}

/// What a [`Filter`] computes; `M` are its outputs, `N` its points.
///
/// Its functions are called by name: through a closure they would not be compiled for the
/// instruction set.
pub(super) trait Minimal<const M: usize, const N: usize>: Interpolate<M, N> {
    /// [`Filter::step`].
    const STEP: usize;

    /// `B^T d`: row `p` of `B^T` has the coefficients of the product of `x - q` over all finite
    /// points `q` other than `p`; with stride 2, for the even and the odd pixels each.
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; N]) -> [S::F32x16; N];
}

/// What a [`Filter`] makes of the products; `M` are its outputs, `N` its points.
pub(super) trait Interpolate<const M: usize, const N: usize> {
    /// Which of [`Self::ALL`] points these are.
    const PLACES: [usize; N] = in_order();
    /// How many there are places for.
    const ALL: usize = N;

    /// `A^T m`: column `p` of `A^T` has the powers 0 to `M - 1` of point `p`, scaled where `G` has
    /// the inverse.
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; N]) -> [S::F32x16; M];
}

/// The numbers from 0 on.
const fn in_order<const N: usize>() -> [usize; N] {
    let (mut numbers, mut at) = ([0; N], 0);
    while at < N {
        numbers[at] = at;
        at += 1;
    }
    numbers
}

pub(super) struct Identity;

impl Minimal<1, 1> for Identity {
    const STEP: usize = Filter::Identity.step();

    #[inline(always)]
    fn evaluate<S: Simd>(_: S, d: [S::F32x16; 1]) -> [S::F32x16; 1] {
        d
    }
}

impl Interpolate<1, 1> for Identity {
    #[inline(always)]
    fn interpolate<S: Simd>(_: S, m: [S::F32x16; 1]) -> [S::F32x16; 1] {
        m
    }
}

pub(super) struct F2;

impl Minimal<2, 4> for F2 {
    const STEP: usize = Filter::F2.step();

    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; 4]) -> [S::F32x16; 4] {
        [simd.sub(d[2], d[0]), simd.add(d[2], d[1]), simd.sub(d[2], d[1]), simd.sub(d[3], d[1])]
    }
}

impl Interpolate<2, 4> for F2 {
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 4]) -> [S::F32x16; 2] {
        let (sum, difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        [simd.add(m[0], sum), simd.add(difference, m[3])]
    }
}

pub(super) struct F4;

impl F4 {
    const A: f64 = points::A;
    const B: f64 = points::B;
    const AA: f64 = points::A * points::A;
    const BB: f64 = points::B * points::B;
}

impl Minimal<4, 6> for F4 {
    const STEP: usize = Filter::F4.step();

    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; 6]) -> [S::F32x16; 6] {
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
}

impl Interpolate<4, 6> for F4 {
    /// The scales are `1 / A` for the first pair, `1 / B^2` for the second, so that two factors
    /// become 1.
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 6]) -> [S::F32x16; 4] {
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

/// What training needs besides; the scales of `G` are those of `weights::pack`.
#[cfg(feature = "train")]
impl F4 {
    const SCALE_ZERO: f64 = 1.0 / (Self::AA * Self::BB);
    const SCALE_A: f64 = 1.0 / (2.0 * Self::A * (Self::AA - Self::BB));
    const SCALE_B: f64 = 1.0 / (2.0 * (Self::BB - Self::AA));

    /// `G g`.
    #[inline(always)]
    pub(super) fn weigh<S: Simd>(simd: S, g: [S::F32x16; 3]) -> [S::F32x16; 6] {
        let (a, b) = (Self::SCALE_A, Self::SCALE_B);
        let even_a = times(simd, a * Self::AA, g[2], scaled(simd, a, g[0]));
        let even_b = times(simd, b * Self::BB, g[2], scaled(simd, b, g[0]));
        [
            scaled(simd, Self::SCALE_ZERO, g[0]),
            times(simd, a * Self::A, g[1], even_a),
            times(simd, -a * Self::A, g[1], even_a),
            times(simd, b * Self::B, g[1], even_b),
            times(simd, -b * Self::B, g[1], even_b),
            g[2],
        ]
    }

    /// `G^T m`.
    #[inline(always)]
    pub(super) fn weigh_transposed<S: Simd>(simd: S, m: [S::F32x16; 6]) -> [S::F32x16; 3] {
        let (a, b) = (Self::SCALE_A, Self::SCALE_B);
        let (sum_a, difference_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_b, difference_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        let zero = scaled(simd, Self::SCALE_ZERO, m[0]);
        [
            times(simd, a, sum_a, times(simd, b, sum_b, zero)),
            times(simd, a * Self::A, difference_a, scaled(simd, b * Self::B, difference_b)),
            times(simd, a * Self::AA, sum_a, times(simd, b * Self::BB, sum_b, m[5])),
        ]
    }

    /// `A d`, the transpose of [`Interpolate::interpolate`].
    #[inline(always)]
    pub(super) fn interpolate_transposed<S: Simd>(simd: S, d: [S::F32x16; 4]) -> [S::F32x16; 6] {
        let even_a = times(simd, Self::A, d[2], scaled(simd, 1.0 / Self::A, d[0]));
        let odd_a = times(simd, Self::AA, d[3], d[1]);
        let even_b = times(simd, 1.0 / Self::BB, d[0], d[2]);
        let odd_b = times(simd, Self::B, d[3], scaled(simd, 1.0 / Self::B, d[1]));
        [
            d[0],
            simd.add(even_a, odd_a),
            simd.sub(even_a, odd_a),
            simd.add(even_b, odd_b),
            simd.sub(even_b, odd_b),
            d[3],
        ]
    }
}

/// `factor * a`.
#[cfg(feature = "train")]
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f64, a: S::F32x16) -> S::F32x16 {
    simd.mul(simd.splat(factor as f32), a)
}

/// `factor * a + b`.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f64, a: S::F32x16, b: S::F32x16) -> S::F32x16 {
    simd.mul_add(simd.splat(factor as f32), a, b)
}

/// The even pixels at 0, 1 and infinity, with two taps.
pub(super) struct F2s2;

impl Minimal<2, 5> for F2s2 {
    const STEP: usize = Filter::F2s2.step();

    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; 5]) -> [S::F32x16; 5] {
        [simd.sub(d[0], d[2]), d[2], simd.sub(d[4], d[2]), d[1], d[3]]
    }
}

impl Interpolate<2, 5> for F2s2 {
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 5]) -> [S::F32x16; 2] {
        [simd.add(simd.add(m[0], m[1]), m[3]), simd.add(simd.add(m[1], m[2]), m[4])]
    }
}

/// The even pixels at 0, 1/2, -1, 3/2 and infinity, with two taps. Of 64 input channels, the root
/// mean square of the error is 0.10e-6 of the largest output; a direct convolution's is 0.08e-6, and
/// with 0, 1, -1, 2 it would be 0.14e-6.
pub(super) struct F4s2;

impl Minimal<4, 9> for F4s2 {
    const STEP: usize = Filter::F4s2.step();

    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; 9]) -> [S::F32x16; 9] {
        let [e0, o0, e1, o1, e2, o2, e3, o3, e4] = d;
        [
            times(simd, 0.75, e0, times(simd, -1.25, e1, simd.sub(e3, e2))),
            times(simd, -1.5, e1, times(simd, -0.5, e2, e3)),
            times(simd, 0.75, e1, times(simd, -2.0, e2, e3)),
            times(simd, 0.5, simd.sub(e2, e1), e3),
            times(simd, 0.75, e1, times(simd, -1.25, e2, simd.sub(e4, e3))),
            o0,
            o1,
            o2,
            o3,
        ]
    }
}

impl Interpolate<4, 9> for F4s2 {
    /// The scale of the point 1/2 is 2.
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 9]) -> [S::F32x16; 4] {
        let [m0, a, b, c, infinity, o0, o1, o2, o3] = m;
        [
            times(simd, 2.0, a, simd.add(simd.add(m0, b), simd.add(c, o0))),
            times(simd, 1.5, c, simd.add(simd.sub(a, b), o1)),
            times(simd, 0.5, a, times(simd, 2.25, c, simd.add(b, o2))),
            times(simd, 0.25, a, times(simd, 3.375, c, simd.add(simd.sub(infinity, b), o3))),
        ]
    }
}

/// The even pixels at 0, +-1/2, +-1, 2 and infinity, with four taps; the odd ones as [`F4`].
///
/// With 3 input channels and all 7 rows of the kernel, the root mean square of the error is 0.10e-6
/// of the largest output, where a direct convolution's is 0.06e-6.
pub(super) struct F4x7s2;

impl Minimal<4, 13> for F4x7s2 {
    const STEP: usize = Filter::F4x7s2.step();

    #[inline(always)]
    fn evaluate<S: Simd>(simd: S, d: [S::F32x16; 13]) -> [S::F32x16; 13] {
        let [e0, o0, e1, o1, e2, o2, e3, o3, e4, o4, e5, o5, e6] = d;
        // (x^2 - 1/4) (x^2 - 1), at three places.
        let q0 = times(simd, -1.25, e2, times(simd, 0.25, e0, e4));
        let q1 = times(simd, -1.25, e3, times(simd, 0.25, e1, e5));
        let q2 = times(simd, -1.25, e4, times(simd, 0.25, e2, e6));
        // x (x^2 - 1) (x - 2), at two places.
        let (low, middle, high) = (simd.sub(e3, e1), simd.sub(e4, e2), simd.sub(e5, e3));
        let (r0, r1) = (times(simd, -2.0, low, middle), times(simd, -2.0, middle, high));
        // x (x^2 - 1/4) (x - 2), at two places.
        let (low, high) = (times(simd, -0.25, e1, e3), times(simd, -0.25, e3, e5));
        let middle = times(simd, -0.25, e2, e4);
        let (s0, s1) = (times(simd, -2.0, low, middle), times(simd, -2.0, middle, high));
        let [p0, p1, p2, p3, p4, p5] = F4::evaluate(simd, [o0, o1, o2, o3, o4, o5]);
        [
            times(simd, -2.0, q0, q1),
            times(simd, 0.5, r0, r1),
            times(simd, -0.5, r0, r1),
            simd.add(s1, s0),
            simd.sub(s1, s0),
            q1,
            times(simd, -2.0, q1, q2),
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
        ]
    }
}

impl Interpolate<4, 13> for F4x7s2 {
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 13]) -> [S::F32x16; 4] {
        let [m0, a, minus_a, b, minus_b, c, infinity, odd @ ..] = m;
        let odd = F4::interpolate(simd, odd);
        let (sum_a, difference_a) = (simd.add(a, minus_a), simd.sub(a, minus_a));
        let (sum_b, difference_b) = (simd.add(b, minus_b), simd.sub(b, minus_b));
        [
            simd.add(simd.add(simd.add(m0, sum_a), simd.add(sum_b, c)), odd[0]),
            times(simd, 2.0, c, times(simd, 0.5, difference_a, simd.add(difference_b, odd[1]))),
            times(simd, 4.0, c, times(simd, 0.25, sum_a, simd.add(sum_b, odd[2]))),
            times(
                simd,
                8.0,
                c,
                times(
                    simd,
                    0.125,
                    difference_a,
                    simd.add(simd.add(difference_b, infinity), odd[3]),
                ),
            ),
        ]
    }
}
