//! Gradients of operators that treat each channel apart: gates, and convolutions along the channels.

use super::super::BLOCK;
use super::super::simd::Simd;
use super::{ChannelConvGradientParams, GateGradientParams};

/// [`Call::GateGradient`](super::super::Call::GateGradient).
///
/// # Safety
///
/// `x` and `g` are readable as far as [`GateGradientParams`] says, `s` for 16 elements, and `y` writable for 16.
#[inline(always)]
pub(in super::super) unsafe fn gate_gradient<S: Simd>(
    simd: S,
    params: &GateGradientParams,
    x: *mut f32,
    s: *mut f32,
    g: *mut f32,
    y: *mut f32,
) {
    let mut total = simd.splat(0.0);
    for row in 0..params.rows {
        let (x, g) = (x.wrapping_add(row * params.x_row), g.wrapping_add(row * params.g_row));
        // Row by row, so that a large plane's error stays small.
        let mut sum = simd.splat(0.0);
        for column in 0..params.columns {
            let at = column * BLOCK;
            // SAFETY: the row and column are the call's.
            sum = unsafe { simd.mul_add(simd.load(x.add(at)), simd.load(g.add(at)), sum) };
        }
        total = simd.add(total, sum);
    }
    let mut slopes = [0.0; BLOCK];
    for (lane, slope) in slopes.iter_mut().enumerate() {
        // SAFETY: there is a gate for each lane.
        let sigmoid = 1.0 / (1.0 + (-unsafe { *s.add(lane) }).exp());
        *slope = sigmoid * (1.0 - sigmoid);
    }
    // SAFETY: an array of 16, and room for 16.
    unsafe { simd.store(y, simd.mul(total, simd.load(slopes.as_ptr()))) };
}

/// [`Call::ChannelConvGradient`](super::super::Call::ChannelConvGradient): a few numbers a layer, so plain arithmetic, in
/// `f64`.
///
/// # Safety
///
/// `x` and `g` are readable as far as [`ChannelConvGradientParams`] says, and `y` writable for `kernel` elements, rounded
/// up to a multiple of 16.
#[inline(always)]
pub(in super::super) unsafe fn channel_conv_gradient<S: Simd>(
    _simd: S,
    params: &ChannelConvGradientParams,
    x: *mut f32,
    g: *mut f32,
    y: *mut f32,
) {
    let ChannelConvGradientParams { images, channels, kernel, x_image, g_image } = *params;
    for k in 0..params.y_len() {
        let mut sum = 0.0;
        if k < kernel {
            for image in 0..images {
                let (x, g) = (x.wrapping_add(image * x_image), g.wrapping_add(image * g_image));
                for channel in 0..channels {
                    // Before the first channel it wraps to one that is not there.
                    let from = (channel + k).wrapping_sub(kernel / 2);
                    if from < channels {
                        // SAFETY: both are channels of an image.
                        sum += unsafe { f64::from(*x.add(from)) * f64::from(*g.add(channel)) };
                    }
                }
            }
        }
        // SAFETY: below the rounded number of taps.
        unsafe { *y.add(k) = sum as f32 };
    }
}
