//! Kernels that move values and compute nothing: rings, layouts, the zero-padding shortcut.

use super::simd::{Real, Simd, Stored};
use super::{BLOCK, Bf16, CopyParams, RingParams, TensorLine, ZeroPadParams};

/// [`Call::ZeroPad`](super::Call::ZeroPad).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`ZeroPadParams`] says.
#[inline(always)]
pub(super) unsafe fn zero_pad<S: Simd>(_simd: S, params: &ZeroPadParams, x: *mut f32, y: *mut f32) {
    // SAFETY: `pad` asks for what this function does, of the same operands.
    unsafe { pad(params, 0.0, x, y) }
}

/// [`Call::ZeroPadBf16`](super::Call::ZeroPadBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`ZeroPadParams`] says.
#[inline(always)]
pub(super) unsafe fn zero_pad_bf16<S: Simd>(
    _simd: S,
    params: &ZeroPadParams,
    x: *mut Bf16,
    y: *mut Bf16,
) {
    // SAFETY: `pad` asks for what this function does, of the same operands.
    unsafe { pad(params, Bf16::ZERO, x, y) }
}

/// [`Call::ZeroPadU8`](super::Call::ZeroPadU8).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`ZeroPadParams`] says, `t` readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn zero_pad_u8<S: Simd>(
    _simd: S,
    params: &ZeroPadParams,
    x: *mut u8,
    t: *mut f32,
    y: *mut u8,
) {
    // SAFETY: `pad` asks for what this function does, of `x` and `y`; `t` has 16 elements.
    unsafe { pad(params, TensorLine::read(t).zero_byte(), x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`ZeroPadParams`] says.
#[inline(always)]
unsafe fn pad<T: Copy>(params: &ZeroPadParams, zero: T, x: *const T, y: *mut T) {
    let input_channels =
        params.before..(params.before + params.in_channels).min(params.out_channels);
    for block in 0..params.out_channels.div_ceil(BLOCK) {
        let first = block * BLOCK;
        let y = y.wrapping_add(block * params.y_block);
        // Where input and output blocks coincide, and none of their lanes is missing, 16 lanes go
        // at once.
        let whole = params.before.is_multiple_of(BLOCK)
            && input_channels.start <= first
            && first + BLOCK <= input_channels.end;
        for pixel in 0..params.pixels {
            let x = x.wrapping_add(pixel * params.x_step);
            let y = y.wrapping_add(pixel * BLOCK).cast::<[T; BLOCK]>();
            let mut lanes = [zero; BLOCK];
            // SAFETY: the pixel and the channels are the call's; a channel is read only if the
            // input has it. An array asks for the alignment of its elements.
            unsafe {
                if whole {
                    let block = (first - params.before) / BLOCK;
                    lanes = x.add(block * params.x_block).cast::<[T; BLOCK]>().read();
                } else {
                    let from = first.max(input_channels.start);
                    for channel in from..(first + BLOCK).min(input_channels.end) {
                        let source = channel - params.before;
                        let source = source / BLOCK * params.x_block + source % BLOCK;
                        lanes[channel - first] = *x.add(source);
                    }
                }
                y.write(lanes);
            }
        }
    }
}

/// [`Call::Ring`](super::Call::Ring).
///
/// # Safety
///
/// `y` is writable for the whole plane, ring included.
#[inline(always)]
pub(super) unsafe fn ring<S: Simd>(_simd: S, params: &RingParams, y: *mut f32) {
    // SAFETY: `surround` asks for what this function does, of the same plane.
    unsafe { surround(params, 0.0, y) }
}

/// [`Call::RingBf16`](super::Call::RingBf16).
///
/// # Safety
///
/// `y` is writable for the whole plane, ring included.
#[inline(always)]
pub(super) unsafe fn ring_bf16<S: Simd>(_simd: S, params: &RingParams, y: *mut Bf16) {
    // SAFETY: `surround` asks for what this function does, of the same plane.
    unsafe { surround(params, Bf16::ZERO, y) }
}

/// [`Call::RingU8`](super::Call::RingU8).
///
/// # Safety
///
/// `y` is writable for the whole plane, ring included, `t` readable for 16 elements.
#[inline(always)]
pub(super) unsafe fn ring_u8<S: Simd>(_simd: S, params: &RingParams, t: *mut f32, y: *mut u8) {
    // SAFETY: `surround` asks for what this function does, of `y`; `t` has 16 elements.
    unsafe { surround(params, TensorLine::read(t).zero_byte(), y) }
}

/// # Safety
///
/// `y` is writable for the whole plane, ring included.
#[inline(always)]
unsafe fn surround<T: Copy>(params: &RingParams, value: T, y: *mut T) {
    let (left, right) = (params.left * params.lanes, params.right * params.lanes);
    let y_row = left + params.columns * params.lanes + right;
    // A row's right side and the next row's left side touch. So the ring is: the rows above with
    // the first row's left side, the pairs of sides, the last right side with the rows below.
    let (first, pair) = (params.top * y_row + left, left + right);
    // SAFETY: the plane has `top + rows + bottom` rows of `y_row` elements; the first part ends in row `top`,
    // the pairs end in the rows after it, and the last part ends with the plane.
    unsafe {
        fill(y, first, value);
        for row in 1..params.rows {
            fill(y.add(first + row * y_row - pair), pair, value);
        }
        fill(y.add(first + params.rows * y_row - pair), right + params.bottom * y_row, value);
    }
}

/// # Safety
///
/// `y` is writable for `len` elements.
#[inline(always)]
unsafe fn fill<T: Copy>(y: *mut T, len: usize, value: T) {
    for at in 0..len {
        // SAFETY: below `len`, up to which `y` is writable.
        unsafe { y.add(at).write(value) };
    }
}

/// [`Call::CopyPlanar`](super::Call::CopyPlanar).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says, and they do not overlap.
#[inline(always)]
pub(super) unsafe fn copy_planar<S: Simd>(_simd: S, params: &CopyParams, x: *mut f32, y: *mut f32) {
    for row in 0..params.rows {
        // SAFETY: the row is the call's.
        unsafe {
            let x = x.add(row * params.x_row);
            y.add(row * params.y_row).copy_from_nonoverlapping(x, params.columns);
        }
    }
}

/// [`Call::ToBlocked`](super::Call::ToBlocked).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says.
#[inline(always)]
pub(super) unsafe fn to_blocked<S: Simd>(simd: S, params: &CopyParams, x: *mut f32, y: *mut f32) {
    for row in 0..params.rows {
        let x = x.wrapping_add(row * params.x_row);
        let y = y.wrapping_add(row * params.y_row);
        for column in 0..params.columns {
            let mut lanes = [0.0f32; BLOCK];
            for (channel, lane) in lanes.iter_mut().enumerate().take(params.channels) {
                // SAFETY: the channel, row and column are the call's.
                *lane = unsafe { *x.add(channel * params.plane + column) };
            }
            // SAFETY: the row and column are the call's.
            unsafe { simd.store(y.add(column * BLOCK), simd.load(lanes.as_ptr())) };
        }
    }
}

/// [`Call::ToPlanar`](super::Call::ToPlanar).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says.
#[inline(always)]
pub(super) unsafe fn to_planar<S: Simd>(_simd: S, params: &CopyParams, x: *mut f32, y: *mut f32) {
    for channel in 0..params.channels {
        for row in 0..params.rows {
            let x = x.wrapping_add(row * params.x_row + channel);
            let y = y.wrapping_add(channel * params.plane + row * params.y_row);
            for column in 0..params.columns {
                // SAFETY: the channel, row and column are the call's.
                unsafe { *y.add(column) = *x.add(column * BLOCK) };
            }
        }
    }
}

/// [`Call::Narrow`](super::Call::Narrow).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says.
#[inline(always)]
pub(super) unsafe fn narrow<S: Simd>(simd: S, params: &CopyParams, x: *mut f32, y: *mut Bf16) {
    // SAFETY: the same is asked for.
    unsafe { convert(simd, params, x, y) }
}

/// [`Call::Widen`](super::Call::Widen).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says.
#[inline(always)]
pub(super) unsafe fn widen<S: Simd>(simd: S, params: &CopyParams, x: *mut Bf16, y: *mut f32) {
    // SAFETY: the same is asked for.
    unsafe { convert(simd, params, x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`CopyParams`] says.
#[inline(always)]
unsafe fn convert<S: Simd, X: Stored, Y: Real>(
    simd: S,
    params: &CopyParams,
    x: *const X,
    y: *mut Y,
) {
    for row in 0..params.rows {
        for column in 0..params.columns {
            let x = x.wrapping_add(row * params.x_row + column * BLOCK);
            let y = y.wrapping_add(row * params.y_row + column * BLOCK);
            // SAFETY: the row and column are the call's.
            unsafe { Y::store(simd, y, X::load(simd, x)) }
        }
    }
}
