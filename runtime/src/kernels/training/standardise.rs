//! Weight standardization, one output channel at a time: few numbers beside those that they meet, so plain arithmetic,
//! in `f64`.

use super::super::simd::Simd;
use super::StandardiseParams;

/// [`Call::Standardise`](super::super::Call::Standardise).
///
/// # Safety
///
/// `x` is readable for `len` elements and `y` writable as far as [`StandardiseParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn standardise<S: Simd>(
    _simd: S,
    params: &StandardiseParams,
    x: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `x` has `len` elements.
    let (mean, inverse) = unsafe { moments(params, x) };
    for i in 0..params.len {
        // SAFETY: one of the `len` elements.
        unsafe { *y.wrapping_add(i) = ((f64::from(*x.wrapping_add(i)) - mean) * inverse) as f32 };
    }
    // SAFETY: `y` is writable as far as the parameters say.
    unsafe { pad(params, y) };
}

/// [`Call::StandardiseGradient`](super::super::Call::StandardiseGradient): with `n = (x - mean) * inverse`, what `g` is
/// over its mean and over its projection on `n`.
///
/// # Safety
///
/// `x` and `g` are readable for `len` elements and `y` writable as far as [`StandardiseParams`] says.
#[inline(always)]
pub(in super::super) unsafe fn standardise_gradient<S: Simd>(
    _simd: S,
    params: &StandardiseParams,
    x: *mut f32,
    g: *mut f32,
    y: *mut f32,
) {
    let len = params.len as f64;
    // SAFETY: `x` has `len` elements.
    let (mean, inverse) = unsafe { moments(params, x) };
    let (mut sum, mut product) = (0.0, 0.0);
    for i in 0..params.len {
        // SAFETY: one of the `len` elements.
        let (x, g) = unsafe { (f64::from(*x.wrapping_add(i)), f64::from(*g.wrapping_add(i))) };
        sum += g;
        product += g * (x - mean) * inverse;
    }
    let (sum, product) = (sum / len, product / len);
    for i in 0..params.len {
        // SAFETY: as above.
        unsafe {
            let (x, g) = (f64::from(*x.wrapping_add(i)), f64::from(*g.wrapping_add(i)));
            let normalised = (x - mean) * inverse;
            *y.wrapping_add(i) = (inverse * (g - sum - normalised * product)) as f32;
        }
    }
    // SAFETY: `y` is writable as far as the parameters say.
    unsafe { pad(params, y) };
}

/// The mean, and the inverse of the deviation.
///
/// # Safety
///
/// `x` is readable for `len` elements.
#[inline(always)]
unsafe fn moments(params: &StandardiseParams, x: *const f32) -> (f64, f64) {
    let len = params.len as f64;
    let (mut mean, mut variance) = (0.0, 0.0);
    for i in 0..params.len {
        // SAFETY: one of the `len` elements.
        mean += f64::from(unsafe { *x.wrapping_add(i) });
    }
    mean /= len;
    for i in 0..params.len {
        // SAFETY: as above.
        let over = f64::from(unsafe { *x.wrapping_add(i) }) - mean;
        variance += over * over;
    }
    (mean, 1.0 / (variance / len + f64::from(params.epsilon.get())).sqrt())
}

/// The zeros behind.
///
/// # Safety
///
/// `y` is writable as far as [`StandardiseParams`] says.
#[inline(always)]
unsafe fn pad(params: &StandardiseParams, y: *mut f32) {
    for i in params.len..params.y_len() {
        // SAFETY: below the number of elements.
        unsafe { *y.wrapping_add(i) = 0.0 };
    }
}
