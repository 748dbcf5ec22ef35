//! The activation functions, over 16 lanes.
//!
//! Sums and products are rounded one by one, never fused, so that an input has the same result on every
//! instruction set, the portable one too. NaN stays NaN: it is the second operand of [`Simd::max`] and
//! [`Simd::min`]. Errors are in units in the last place of the result, the largest of a million inputs.

#[cfg(feature = "train")]
use super::Activation;
use super::simd::Simd;

/// `max(0, x)`.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    simd.max(simd.splat(0.0), x)
}

/// `min(max(0, x), 6)`.
#[inline(always)]
pub(super) fn relu6<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    simd.min(simd.splat(6.0), relu(simd, x))
}

/// `x`, or `x / 100` where it is negative.
#[inline(always)]
pub(super) fn leaky_relu<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    let negative = simd.min(simd.splat(0.0), x);
    simd.add(relu(simd, x), simd.mul(simd.splat(0.01), negative))
}

/// `x * min(max(0, x + 3), 6) / 6`.
#[inline(always)]
pub(super) fn hard_swish<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    let gate = relu6(simd, simd.add(x, simd.splat(3.0)));
    simd.mul(simd.mul(x, gate), simd.splat(1.0 / 6.0))
}

/// `x / (1 + e^-x)`; 2 units. Below -88.7, where `e^-x` is no `f32`, it is zero: off by 3e-37 at most.
#[inline(always)]
pub(super) fn silu<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    let zero = simd.splat(0.0);
    let e = exp(simd, simd.sub(zero, x), zero);
    simd.div(x, simd.add(simd.splat(1.0), e))
}

/// `x * Phi(x)`; 4 units.
///
/// With `t = |x|` and the upper tail `Q(t) = 1 - Phi(t)` this is `max(0, x) - t * Q(t)`, which loses
/// nothing where `x` is negative. The tail is `e^(-t^2 / 2) / (t + K)` times a polynomial in
/// `(t - K) / (t + K)`, which maps all `t` into -1..1.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::F32x16) -> S::F32x16 {
    let (t, q) = upper_tail(simd, x);
    simd.sub(relu(simd, x), simd.mul(t, q))
}

/// `t = |x|`, up to where nothing is left, and the tail `Q(t)`, see [`gelu`].
#[inline(always)]
fn upper_tail<S: Simd>(simd: S, x: S::F32x16) -> (S::F32x16, S::F32x16) {
    /// Beyond it, `t * Q(t)` is less than any normal number.
    const LARGEST: f32 = 14.0;
    const K: f32 = 4.0;
    /// `e^(t^2 / 2) * Q(t) * (t + K)` for `t` up to [`LARGEST`], fitted for the least relative error,
    /// 1e-9.
    const TAIL: [f32; 11] = [
        0.755_285_14,
        -0.607_896_6,
        0.387_137_32,
        -0.186_521_55,
        0.060_397_934,
        -0.007_543_154_5,
        -0.003_490_288_3,
        0.001_638_647_3,
        0.000_169_812_27,
        -0.000_225_000_49,
        -4.761_955_3e-5,
    ];
    let magnitude = simd.max(simd.sub(simd.splat(0.0), x), x);
    let t = simd.min(simd.splat(LARGEST), magnitude);
    let inverse = simd.div(simd.splat(1.0), simd.add(t, simd.splat(K)));
    let u = simd.mul(simd.sub(t, simd.splat(K)), inverse);
    let tail = simd.mul(polynomial(simd, &TAIL, u), inverse);
    // A rounding error of `t^2` would be one of the exponential, times `t^2`. So `t` is split into a
    // multiple of 2^-7, whose square is exact, and a rest.
    let coarse = nearest(simd, t, 1.5 * (1 << 16) as f32);
    let rest = simd.sub(t, coarse);
    let minus_half = simd.splat(-0.5);
    let high = simd.mul(simd.mul(coarse, coarse), minus_half);
    let low = simd.mul(simd.mul(rest, simd.add(t, coarse)), minus_half);
    (t, simd.mul(tail, exp(simd, high, low)))
}

/// `e^(x + rest)` for a small `rest`, up to 0.06; 1 unit. Infinite where it is too large for `f32`, zero
/// where it is too small.
///
/// With `n` the integer next to `x / ln 2`, it is `2^n` times a polynomial of what is left, at most 0.42.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::F32x16, rest: S::F32x16) -> S::F32x16 {
    /// Twice the range in which `2^n` is a normal number is more than any `f32` result needs.
    const LARGEST: f32 = 104.0;
    /// The first bits of `ln 2`, so few that a product with `n` is exact, and what they lack.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    /// `(e^r - 1 - r) / r^2`, fitted for the least relative error of `e^r`, 2.5e-10.
    const TAYLOR: [f32; 6] =
        [0.5, 0.166_666_64, 0.041_665_88, 0.008_333_69, 0.001_397_024, 0.000_197_644_37];
    let x = simd.min(simd.splat(LARGEST), simd.max(simd.splat(-LARGEST), x));
    let to_integer = 1.5 * (1 << 23) as f32;
    let n = nearest(simd, simd.mul(simd.splat(std::f32::consts::LOG2_E), x), to_integer);
    let r = simd.sub(x, simd.mul(n, simd.splat(LN_2[0])));
    let r = simd.sub(r, simd.mul(n, simd.splat(LN_2[1])));
    let r = simd.add(r, rest);
    let curve = simd.mul(polynomial(simd, &TAYLOR, r), simd.mul(r, r));
    let e = simd.add(simd.add(curve, r), simd.splat(1.0));
    // In two steps, since 2^n alone may be no number.
    let half = nearest(simd, simd.mul(n, simd.splat(0.5)), to_integer);
    simd.mul(simd.mul(e, simd.pow2(half)), simd.pow2(simd.sub(n, half)))
}

/// `x` rounded to a multiple of the last place of `large`, far above it.
#[inline(always)]
fn nearest<S: Simd>(simd: S, x: S::F32x16, large: f32) -> S::F32x16 {
    simd.sub(simd.add(x, simd.splat(large)), simd.splat(large))
}

/// The sum of `coefficients[k] * x^k`, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd>(simd: S, coefficients: &[f32], x: S::F32x16) -> S::F32x16 {
    let mut sum = simd.splat(0.0);
    for &coefficient in coefficients.iter().rev() {
        sum = simd.add(simd.mul(sum, x), simd.splat(coefficient));
    }
    sum
}

/// The gradient `g` times the derivative of an activation whose value is `x`: its output or, where that does not
/// tell (see [`Activation::keeps_input`]), its input. Where there is none, at an edge, that of PyTorch.
#[cfg(feature = "train")]
#[inline(always)]
pub(super) fn derivative<S: Simd>(
    simd: S,
    activation: Activation,
    x: S::F32x16,
    g: S::F32x16,
) -> S::F32x16 {
    let [zero, one] = [0.0, 1.0].map(|value| simd.splat(value));
    match activation {
        Activation::None => g,
        Activation::Relu => simd.where_greater(x, zero, g, zero),
        Activation::Relu6 => {
            let below = simd.where_greater(simd.splat(6.0), x, g, zero);
            simd.where_greater(x, zero, below, zero)
        }
        Activation::LeakyRelu => simd.where_greater(x, zero, g, simd.mul(g, simd.splat(0.01))),
        Activation::HardSwish => {
            let slope = simd.mul_add(x, simd.splat(1.0 / 3.0), simd.splat(0.5));
            let slope = simd.where_greater(x, simd.splat(3.0), one, slope);
            let slope = simd.where_greater(simd.splat(-3.0), x, zero, slope);
            simd.mul(g, slope)
        }
        Activation::Silu => {
            let e = exp(simd, simd.sub(zero, x), zero);
            let sigmoid = simd.div(one, simd.add(one, e));
            let rest = simd.mul(x, simd.sub(one, sigmoid));
            simd.mul(g, simd.mul_add(sigmoid, rest, sigmoid))
        }
        Activation::Gelu => {
            let (t, q) = upper_tail(simd, x);
            let phi = simd.where_greater(x, zero, simd.sub(one, q), q);
            let square = simd.mul(simd.mul(t, t), simd.splat(-0.5));
            let density = simd.mul(exp(simd, square, zero), simd.splat(0.398_942_3));
            simd.mul(g, simd.mul_add(x, density, phi))
        }
    }
}
