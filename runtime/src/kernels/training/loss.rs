//! The loss and its gradient: a few numbers an image, so plain arithmetic, in `f64`.

use super::super::simd::Simd;
use super::CrossEntropyParams;

/// [`Call::CrossEntropy`](super::super::Call::CrossEntropy).
///
/// # Safety
///
/// `x` and `t` are readable for `channels` elements, `l` writable for one and `y` for `channels`, rounded up to a
/// multiple of 16.
#[inline(always)]
pub(in super::super) unsafe fn cross_entropy<S: Simd>(
    _simd: S,
    params: &CrossEntropyParams,
    x: *mut f32,
    t: *mut f32,
    l: *mut f32,
    y: *mut f32,
) {
    let channels = params.channels;
    // SAFETY: both have so many elements.
    let (logits, targets) = unsafe {
        (std::slice::from_raw_parts(x, channels), std::slice::from_raw_parts(t, channels))
    };
    let mut largest = f64::NEG_INFINITY;
    for &logit in logits {
        largest = f64::from(logit).max(largest);
    }
    let (mut sum, mut total) = (0.0, 0.0);
    for c in 0..channels {
        sum += (f64::from(logits[c]) - largest).exp();
        total += f64::from(targets[c]);
    }
    let log_sum = sum.ln() + largest;
    let scale = f64::from(params.scale.get());
    let mut loss = 0.0;
    for c in 0..channels {
        let (logit, target) = (f64::from(logits[c]), f64::from(targets[c]));
        if target != 0.0 {
            loss += target * (log_sum - logit);
        }
        let gradient = scale * ((logit - log_sum).exp() * total - target);
        // SAFETY: there is room for the channels.
        unsafe { *y.wrapping_add(c) = gradient as f32 };
    }
    for c in channels..params.padded() {
        // SAFETY: there is room up to the rounded number of channels.
        unsafe { *y.wrapping_add(c) = 0.0 };
    }
    // SAFETY: there is room for a number.
    unsafe { *l = loss as f32 };
}
