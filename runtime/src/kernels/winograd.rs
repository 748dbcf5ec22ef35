//! Winograd's minimal filtering: the outputs of a convolution from fewer multiplications, tile by
//! tile.
//!
//! ```text
//! V = B^T d B                     the points of each input tile d, a channel         (`input`)
//! M[p] = V[p] * U[p]              a matrix product over the channels a point p       (`conv`)
//! y = epilogue(bias + A^T M A)    the output pixels of a tile                        (this file)
//! ```
//!
//! where `U = G g G^T` are the packed weights. A [`Filter`] is one dimension of it, with its `B^T`,
//! `G` and `A^T`; rows and columns have one each, and [`Filter::Identity`] is none.
//!
//! | rows x columns | multiplications of a direct convolution's | weights |
//! | --- | --- | --- |
//! | F2 x F2, 3x3 | 16 of 36 | 16/9 |
//! | F4 x F4, 3x3 | 36 of 144 | 4 |
//! | F2s2 x F2s2, 3x3 with stride 2 | 25 of 36 | 16/9 |
//! | F4s2 x F4s2, 3x3 with stride 2 | 81 of 144 | 4 |
//! | F4x7s2 x Identity, 7x7 with stride 2 | 13 of 28 | 13/7 |
//!
//! F4 x F4 there is for bytes too: their points and weights are 16-bit words, and sums of products exact. Where of the
//! last row or column of tiles one or two outputs exist, it is F2 there, of whose points F4's are a superset.
//!
//! Larger tiles multiply less; smaller ones have fewer weights, which counts where they come from
//! memory for few pixels. The last one is for a network's first convolution: a picture has so few
//! channels that transforming both ways would cost more than the products.
//!
//! Andrew Lavin, Scott Gray: Fast Algorithms for Convolutional Neural Networks, 2015
//! (arXiv 1509.09308).

use std::ffi::c_void;

use super::epilogue::{Pixels, finish, finish_bytes};
use super::filter::{F2, F2OfBytes, F2s2, F4, F4OfBytes, F4s2, F4x7s2, Identity, Interpolate};
use super::simd::Simd;
use super::{
    BLOCK, ByteEpilogue, Epilogue, Filter, TensorLine, Transform, WinogradOutputParams,
    WinogradOutputU8Params,
};

pub(super) use self::input::{winograd_input, winograd_input_bf16, winograd_input_u8};
pub(super) use self::words::winograd_weights_i8;

/// A macro over the filters of a form, for rows and columns, and for each their outputs and points.
macro_rules! by_form {
    ($form:expr, $macro:ident) => {
        match $form {
            Transform::Winograd2x2 => $macro!(F2, F2, 2, 4, 2, 4),
            Transform::Winograd4x4 => $macro!(F4, F4, 4, 6, 4, 6),
            Transform::Winograd2x2Stride2 => $macro!(F2s2, F2s2, 2, 5, 2, 5),
            Transform::Winograd4x4Stride2 => $macro!(F4s2, F4s2, 4, 9, 4, 9),
            Transform::Winograd4x1Stride2 => $macro!(F4x7s2, Identity, 4, 13, 1, 1),
            Transform::None => unreachable!("a direct convolution has no tiles"),
        }
    };
}

/// A macro over the filters of bytes by which so many rows and columns are computed, as [`by_form`].
macro_rules! by_outputs {
    ($rows:expr, $columns:expr, $macro:ident) => {
        match (Filter::of_bytes($rows), Filter::of_bytes($columns)) {
            (Filter::F2, Filter::F2) => $macro!(F2OfBytes, F2OfBytes, 2, 4, 2, 4),
            (Filter::F2, _) => $macro!(F2OfBytes, F4OfBytes, 2, 4, 4, 6),
            (_, Filter::F2) => $macro!(F4OfBytes, F2OfBytes, 4, 6, 2, 4),
            _ => $macro!(F4OfBytes, F4OfBytes, 4, 6, 4, 6),
        }
    };
}

// Below the macros, which they use.
mod input;
mod words;

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
    r: *mut c_void,
    y: *mut c_void,
) {
    let ends = Reals { r: r.cast(), y: y.cast() };
    macro_rules! call {
        ($r:ty, $c:ty, $rm:literal, $rn:literal, $cm:literal, $cn:literal) => {
            // SAFETY: `output` asks for what this function does: operands as far as the parameters say.
            unsafe { output::<S, $r, $c, $rm, $rn, $cm, $cn, _>(simd, params, x, b, ends) }
        };
    }
    by_form!(params.form, call);
}

/// [`Call::WinogradOutputU8`](super::Call::WinogradOutputU8).
///
/// # Safety
///
/// `x`, `b`, `t` and `r` are readable and `y` writable as far as [`WinogradOutputParams`] says.
#[inline(always)]
pub(super) unsafe fn winograd_output_u8<S: Simd>(
    simd: S,
    params: &WinogradOutputU8Params,
    x: *mut f32,
    b: *mut f32,
    t: *mut f32,
    r: *mut c_void,
    y: *mut c_void,
) {
    debug_assert_eq!(params.form, Transform::Winograd4x4, "the one form of bytes");
    // SAFETY: the line has 16 elements.
    let line = unsafe { TensorLine::read(t) };
    let ends = Bytes { line, r: r.cast(), y: y.cast() };
    macro_rules! call {
        ($r:ty, $c:ty, $rm:literal, $rn:literal, $cm:literal, $cn:literal) => {
            // SAFETY: `output` asks for what this function does: operands as far as the parameters say.
            unsafe { output::<S, $r, $c, $rm, $rn, $cm, $cn, _>(simd, params, x, b, ends) }
        };
    }
    by_outputs!(params.rows, params.columns, call);
}

/// The places of points, of which a row has `all`.
const fn places<const RN: usize, const CN: usize>(
    rows: [usize; RN],
    columns: [usize; CN],
    all: usize,
) -> [[usize; CN]; RN] {
    let (mut places, mut i) = ([[0; CN]; RN], 0);
    while i < RN {
        let mut j = 0;
        while j < CN {
            places[i][j] = rows[i] * all + columns[j];
            j += 1;
        }
        i += 1;
    }
    places
}

/// What is done with `b + A^T M A`. A value is where the operands lie for the tile at hand.
trait Ends: Copy {
    /// As the parameters say it.
    type Epilogue: Copy;

    /// The same, so many columns further on.
    fn past(self, params: &WinogradOutputParams<Self::Epilogue>, columns: usize) -> Self;

    /// Asks for the cache lines of a row of `M` pixels.
    fn fetch<S: Simd, const M: usize>(
        self,
        simd: S,
        params: &WinogradOutputParams<Self::Epilogue>,
        row: usize,
    );

    /// Finishes and stores the first `width` pixels of a row.
    ///
    /// # Safety
    ///
    /// The operands reach as far as [`WinogradOutputParams`] says, which the pixels are within.
    unsafe fn finish<S: Simd, const M: usize>(
        self,
        simd: S,
        params: &WinogradOutputParams<Self::Epilogue>,
        pixels: [S::F32x16; M],
        row: usize,
        width: usize,
    );
}

#[derive(Clone, Copy)]
struct Reals {
    r: *const u8,
    y: *mut u8,
}

impl Ends for Reals {
    type Epilogue = Epilogue;

    #[inline(always)]
    fn past(self, params: &WinogradOutputParams, columns: usize) -> Self {
        let bytes = columns * BLOCK * params.epilogue.element().bytes();
        Self { r: self.r.wrapping_add(bytes), y: self.y.wrapping_add(bytes) }
    }

    #[inline(always)]
    fn fetch<S: Simd, const M: usize>(self, simd: S, params: &WinogradOutputParams, row: usize) {
        let bytes = params.epilogue.element().bytes();
        for c in 0..M {
            simd.prefetch_near(self.y.wrapping_add((row * params.y_row + c * BLOCK) * bytes));
        }
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const M: usize>(
        self,
        simd: S,
        params: &WinogradOutputParams,
        pixels: [S::F32x16; M],
        row: usize,
        width: usize,
    ) {
        let bytes = params.epilogue.element().bytes();
        let r = Pixels { at: self.r.wrapping_add(row * params.r_row * bytes), block: 0 };
        let y = Pixels { at: self.y.wrapping_add(row * params.y_row * bytes), block: 0 };
        // SAFETY: the pixels are within the call's rows and columns, and so are the residual's.
        unsafe { finish(simd, params.epilogue, [pixels], width, r, y) };
    }
}

#[derive(Clone, Copy)]
struct Bytes {
    line: TensorLine,
    r: *const u8,
    y: *mut u8,
}

impl Ends for Bytes {
    type Epilogue = ByteEpilogue;

    #[inline(always)]
    fn past(self, params: &WinogradOutputU8Params, columns: usize) -> Self {
        let (r, y) = (params.epilogue.residual().bytes(), params.epilogue.output().bytes());
        Self {
            r: self.r.wrapping_add(columns * BLOCK * r),
            y: self.y.wrapping_add(columns * BLOCK * y),
            ..self
        }
    }

    #[inline(always)]
    fn fetch<S: Simd, const M: usize>(self, simd: S, params: &WinogradOutputU8Params, row: usize) {
        let pixel = BLOCK * params.epilogue.output().bytes();
        let y = self.y.wrapping_add(row * params.y_row * params.epilogue.output().bytes());
        simd.prefetch_near(y);
        simd.prefetch_near(y.wrapping_add((M - 1) * pixel));
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const M: usize>(
        self,
        simd: S,
        params: &WinogradOutputU8Params,
        pixels: [S::F32x16; M],
        row: usize,
        width: usize,
    ) {
        let epilogue = params.epilogue;
        let r = row * params.r_row * epilogue.residual().bytes();
        let y = row * params.y_row * epilogue.output().bytes();
        let r = Pixels { at: self.r.wrapping_add(r), block: 0 };
        let y = Pixels { at: self.y.wrapping_add(y), block: 0 };
        // SAFETY: the pixels are within the call's rows and columns, and so are the residual's.
        unsafe { finish_bytes(simd, epilogue, self.line, [pixels], width, r, y) };
    }
}

/// # Safety
///
/// That of [`winograd_output`], for its operands.
#[inline(always)]
unsafe fn output<
    S: Simd,
    R: Interpolate<RM, RN>,
    C: Interpolate<CM, CN>,
    const RM: usize,
    const RN: usize,
    const CM: usize,
    const CN: usize,
    E: Ends,
>(
    simd: S,
    params: &WinogradOutputParams<E::Epilogue>,
    x: *const f32,
    b: *const f32,
    ends: E,
) {
    let places = const { places(R::PLACES, C::PLACES, C::ALL) };
    // SAFETY: there are 16 biases or shifts.
    let bias = unsafe { simd.load(b) };
    for tile in 0..params.tiles {
        let x = x.wrapping_add(tile * BLOCK);
        let ends = ends.past(params, tile * CM);
        let width = (params.columns - tile * CM).min(CM);
        for i in 0..RM {
            ends.fetch::<S, CM>(simd, params, i);
        }
        let mut columns = [[simd.splat(0.0); RM]; CN];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut points = [simd.splat(0.0); RN];
            for (i, point) in points.iter_mut().enumerate() {
                // SAFETY: the point is the tile's.
                *point = unsafe { simd.load(x.add(places[i][j] * params.x_point)) };
            }
            *column = R::interpolate(simd, points);
        }
        for i in 0..RM {
            if i < params.rows {
                let mut pixels = C::interpolate(simd, row(&columns, i));
                for pixel in &mut pixels {
                    *pixel = simd.add(*pixel, bias);
                }
                // SAFETY: the row and the columns are the call's.
                unsafe { ends.finish(simd, params, pixels, i, width) };
            }
        }
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
