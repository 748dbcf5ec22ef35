//! Group norm, in pieces that a loop nest puts together: means and variances of channels, what groups
//! of channels make of them, and the pass that normalises.

use std::ffi::c_void;

use super::channel::plane;
use super::pool::plane_mean;
use super::simd::Simd;
use super::{BLOCK, Bf16, GroupParams, MeanParams, PlaneParams};

/// [`Call::Variance`](super::Call::Variance).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `m` for 16 elements, and `y` writable for 16.
#[inline(always)]
pub(super) unsafe fn variance<S: Simd>(
    simd: S,
    params: &MeanParams,
    x: *mut f32,
    m: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `x` reaches as far as `MeanParams` says, `m` has 16 elements and `y` room for 16.
    unsafe { simd.store(y, plane_mean::<S, _, true>(simd, params, x, simd.load(m))) }
}

/// [`Call::VarianceBf16`](super::Call::VarianceBf16).
///
/// # Safety
///
/// `x` is readable as far as [`MeanParams`] says, `m` for 16 elements, and `y` writable for 16.
#[inline(always)]
pub(super) unsafe fn variance_bf16<S: Simd>(
    simd: S,
    params: &MeanParams,
    x: *mut Bf16,
    m: *mut f32,
    y: *mut f32,
) {
    // SAFETY: `x` reaches as far as `MeanParams` says, `m` has 16 elements and `y` room for 16.
    unsafe { simd.store(y, plane_mean::<S, _, true>(simd, params, x, simd.load(m))) }
}

/// [`Call::GroupMean`](super::Call::GroupMean): a few numbers a picture, so plain arithmetic on every
/// instruction set, in `f64`.
///
/// # Safety
///
/// `x` is readable for `channels` elements, and `y` writable for `channels`, rounded up to a multiple
/// of 16; they are the same or do not overlap.
#[inline(always)]
pub(super) unsafe fn group_mean<S: Simd>(_simd: S, params: &GroupParams, x: *mut f32, y: *mut f32) {
    for (first, last) in groups(params) {
        // SAFETY: a range of the channels.
        unsafe {
            let mean = mean_of(x, first, last) as f32;
            for channel in first..last {
                *y.add(channel) = mean;
            }
        }
    }
    // SAFETY: `y` is writable up to the rounded number of channels.
    unsafe { fill(params, y) };
}

/// [`Call::GroupScale`](super::Call::GroupScale), as [`group_mean`].
///
/// # Safety
///
/// `v` and `w` are readable for `channels` elements, and `y` writable for `channels`, rounded up to a
/// multiple of 16; `v` and `y` are the same or do not overlap.
#[inline(always)]
pub(super) unsafe fn group_scale<S: Simd>(
    _simd: S,
    params: &GroupParams,
    v: *mut f32,
    w: *mut f32,
    y: *mut f32,
) {
    let epsilon = f64::from(params.epsilon.get());
    for (first, last) in groups(params) {
        // SAFETY: a range of the channels.
        unsafe {
            let deviation = (mean_of(v, first, last) + epsilon).sqrt();
            for channel in first..last {
                *y.add(channel) = (f64::from(*w.add(channel)) / deviation) as f32;
            }
        }
    }
    // SAFETY: `y` is writable up to the rounded number of channels.
    unsafe { fill(params, y) };
}

/// [`Call::Normalise`](super::Call::Normalise).
///
/// # Safety
///
/// `x` and, with a residual, `r` are readable and `y` writable as far as [`PlaneParams`] says, `m`, `s`
/// and `b` readable for 16 elements.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as many as the kernel has operands")]
pub(super) unsafe fn normalise<S: Simd>(
    simd: S,
    params: &PlaneParams,
    x: *mut c_void,
    m: *mut f32,
    s: *mut f32,
    b: *mut f32,
    r: *mut c_void,
    y: *mut c_void,
) {
    // SAFETY: `m`, `s` and `b` have 16 elements; `x`, `r` and `y` reach as far as `PlaneParams` says.
    unsafe { plane(simd, params, [simd.load(m), simd.load(s), simd.load(b)], [x, r, y]) }
}

/// The first channel of each group, and the one after its last.
#[inline(always)]
fn groups(params: &GroupParams) -> impl Iterator<Item = (usize, usize)> {
    let GroupParams { channels, group, .. } = *params;
    (0..channels).step_by(group).map(move |first| (first, (first + group).min(channels)))
}

/// # Safety
///
/// `values` is readable up to `last`.
#[inline(always)]
unsafe fn mean_of(values: *mut f32, first: usize, last: usize) -> f64 {
    let mut sum = 0.0;
    for channel in first..last {
        // SAFETY: below `last`, up to which the values are readable.
        sum += f64::from(unsafe { *values.add(channel) });
    }
    sum / (last - first) as f64
}

/// Zeros for the lanes past the last channel.
///
/// # Safety
///
/// `y` is writable up to the next multiple of 16.
#[inline(always)]
unsafe fn fill(params: &GroupParams, y: *mut f32) {
    for channel in params.channels..params.channels.next_multiple_of(BLOCK) {
        // SAFETY: below the rounded number of channels, up to which `y` is writable.
        unsafe { *y.add(channel) = 0.0 };
    }
}
