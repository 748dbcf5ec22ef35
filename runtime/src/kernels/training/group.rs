//! Group norm's statistics and its gradient: a few numbers an image, so plain arithmetic, in `f64`.

use super::super::BLOCK;
use super::super::simd::Simd;
use super::{GroupNormParams, PAIR_LEN, TRIPLE_LEN};

/// [`Call::GroupMoments`](super::super::Call::GroupMoments).
///
/// # Safety
///
/// `p` is readable for `second + channels` elements, `w` for `channels`, and `y` writable for 48 a channel block.
#[inline(always)]
pub(in super::super) unsafe fn group_moments<S: Simd>(
    _simd: S,
    params: &GroupNormParams,
    p: *mut f32,
    w: *mut f32,
    y: *mut f32,
) {
    let epsilon = f64::from(params.epsilon.get());
    // SAFETY: `y` is writable for all blocks.
    unsafe { clear(params, y, TRIPLE_LEN) };
    for group in 0..params.channels.div_ceil(params.group) {
        let (first, last) = range(params, group);
        let members = (last - first) as f64;
        let (mut mean, mut variance) = (0.0, 0.0);
        for c in first..last {
            // SAFETY: a channel of the image.
            mean += f64::from(unsafe { *p.add(c) }) / members;
        }
        for c in first..last {
            // SAFETY: as above; the variance is `second` further on.
            unsafe {
                let over = f64::from(*p.add(c)) - mean;
                variance += (f64::from(*p.add(params.second + c)) + over * over) / members;
            }
        }
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for c in first..last {
            let y = y.wrapping_add(at(c, TRIPLE_LEN));
            // SAFETY: a channel of one of the blocks.
            unsafe {
                *y = mean as f32;
                *y.add(BLOCK) = (f64::from(*w.add(c)) * inverse) as f32;
                *y.add(2 * BLOCK) = inverse as f32;
            }
        }
    }
}

/// [`Call::GroupGradient`](super::super::Call::GroupGradient).
///
/// # Safety
///
/// For each channel block `p` is readable for 32 elements and `m` for 48, and `w` and `b` are writable for 16 and `y` for
/// 48.
#[inline(always)]
pub(in super::super) unsafe fn group_gradient<S: Simd>(
    _simd: S,
    params: &GroupNormParams,
    p: *mut f32,
    m: *mut f32,
    w: *mut f32,
    b: *mut f32,
    y: *mut f32,
) {
    // SAFETY: they are writable for all blocks.
    unsafe {
        clear(params, w, BLOCK);
        clear(params, b, BLOCK);
        clear(params, y, TRIPLE_LEN);
    }
    for group in 0..params.channels.div_ceil(params.group) {
        let (first, last) = range(params, group);
        let sample = ((last - first) * params.pixels) as f64;
        // Of the gradient before the scales, and of its products with what the input is over its mean.
        let (mut sum, mut products) = (0.0, 0.0);
        for c in first..last {
            let (p, m) = (p.wrapping_add(at(c, PAIR_LEN)), m.wrapping_add(at(c, TRIPLE_LEN)));
            // SAFETY: a channel of one of the blocks.
            unsafe {
                let (shift, product) = (f64::from(*p), f64::from(*p.add(BLOCK)));
                let (scale, inverse) = (f64::from(*m.add(BLOCK)), f64::from(*m.add(2 * BLOCK)));
                sum += scale * shift;
                products += scale * product * inverse * inverse;
                *w.add(c) = (product * inverse) as f32;
                *b.add(c) = shift as f32;
            }
        }
        for c in first..last {
            let (m, y) = (m.wrapping_add(at(c, TRIPLE_LEN)), y.wrapping_add(at(c, TRIPLE_LEN)));
            // SAFETY: as above.
            unsafe {
                *y = *m.add(BLOCK);
                *y.add(BLOCK) = (-products / sample) as f32;
                *y.add(2 * BLOCK) = (-sum / sample) as f32;
            }
        }
    }
}

/// The first channel of a group, and the one after its last.
#[inline(always)]
fn range(params: &GroupNormParams, group: usize) -> (usize, usize) {
    let first = group * params.group;
    (first, (first + params.group).min(params.channels))
}

/// Where a channel's first number is, of so many a block.
#[inline(always)]
fn at(channel: usize, each: usize) -> usize {
    channel / BLOCK * each + channel % BLOCK
}

/// Zeros, for the lanes past the last channel.
///
/// # Safety
///
/// `y` is writable for `each` elements a channel block.
#[inline(always)]
unsafe fn clear(params: &GroupNormParams, y: *mut f32, each: usize) {
    for i in 0..params.blocks(each) {
        // SAFETY: below the number of elements.
        unsafe { *y.wrapping_add(i) = 0.0 };
    }
}
