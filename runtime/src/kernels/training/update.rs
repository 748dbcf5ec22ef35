//! Weights from one order to another, and the step of descent.

use super::super::simd::Simd;
use super::super::{BLOCK, LINE_BYTES};
use super::{Decay, FetchParams, GatherParams, NOWHERE, SgdParams};

/// [`Call::Gather`](super::super::Call::Gather).
///
/// # Safety
///
/// `x` and `t` are readable and `y` writable as far as [`GatherParams`] says; indices are below `of`, or [`NOWHERE`].
#[inline(always)]
pub(in super::super) unsafe fn gather<S: Simd>(
    _simd: S,
    params: &GatherParams,
    x: *mut f32,
    t: *mut u32,
    y: *mut f32,
) {
    for i in 0..params.len {
        // SAFETY: there are `len` indices.
        let index = unsafe { *t.wrapping_add(i) };
        let mut sum = 0.0;
        // An index that is neither would be a mistake of the plan: it reads nothing.
        if index != NOWHERE && (index as usize) < params.of {
            for part in 0..params.parts {
                let at = part * params.distance + index as usize;
                // SAFETY: an index below `of`, in one of the parts.
                sum += unsafe { *x.wrapping_add(at) };
            }
        }
        // SAFETY: there is room for `len` numbers.
        unsafe { *y.wrapping_add(i) = sum };
    }
}

/// [`Call::Fetch`](super::super::Call::Fetch).
///
/// # Safety
///
/// Always safe: nothing is read.
#[inline(always)]
pub(in super::super) unsafe fn fetch<S: Simd>(simd: S, params: &FetchParams, x: *mut f32) {
    for line in 0..params.lines {
        simd.prefetch(x.wrapping_byte_add(line * LINE_BYTES));
    }
}

/// [`Call::Sgd`](super::super::Call::Sgd).
///
/// # Safety
///
/// `g` is readable and `w` and `v` are readable and writable for `len` elements, a multiple of 16, `h` for 16.
#[inline(always)]
pub(in super::super) unsafe fn sgd<S: Simd>(
    simd: S,
    params: &SgdParams,
    g: *mut f32,
    h: *mut f32,
    v: *mut f32,
    w: *mut f32,
) {
    // SAFETY: `h` has 16 elements.
    let [rate, momentum, decay] = unsafe { [*h, *h.wrapping_add(1), *h.wrapping_add(2)] };
    let kept = simd.splat(1.0 - rate * decay);
    let [down, momentum, decay] = [-rate, momentum, decay].map(|value| simd.splat(value));
    for at in (0..params.len).step_by(BLOCK) {
        // SAFETY: 16 of the elements.
        unsafe {
            let (mut weight, mut gradient) = (simd.load(w.add(at)), simd.load(g.add(at)));
            match params.decay {
                Decay::None => {}
                Decay::Classic => gradient = simd.mul_add(weight, decay, gradient),
                Decay::Decoupled => weight = simd.mul(weight, kept),
            }
            let velocity = simd.mul_add(momentum, simd.load(v.add(at)), gradient);
            let step =
                if params.nesterov { simd.mul_add(momentum, velocity, gradient) } else { velocity };
            simd.store(v.add(at), velocity);
            simd.store(w.add(at), simd.mul_add(down, step, weight));
        }
    }
}
