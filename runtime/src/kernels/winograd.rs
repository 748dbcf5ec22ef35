//! Winograd's minimal filtering: the outputs of a convolution from fewer multiplications, tile by
//! tile.
//!
//! ```text
//! V = B^T d B                     the points of each input tile d, a channel         (this file)
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

mod words;

use std::ffi::c_void;
use std::marker::PhantomData;

use super::epilogue::{Pixels, finish, finish_bytes};
use super::filter::{
    F2, F2OfBytes, F2s2, F4, F4OfBytes, F4s2, F4x7s2, Identity, Interpolate, Minimal, OfBytes,
};
use super::simd::{Simd, Stored, Words};
use super::{
    BLOCK, Bf16, ByteEpilogue, Epilogue, TensorLine, Transform, WinogradInputParams,
    WinogradInputU8Params, WinogradOutputParams, WinogradOutputU8Params,
};

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
        match ($rows <= 2, $columns <= 2) {
            (false, false) => $macro!(F4OfBytes, F4OfBytes, 4, 6, 4, 6),
            (false, true) => $macro!(F4OfBytes, F2OfBytes, 4, 6, 2, 4),
            (true, false) => $macro!(F2OfBytes, F4OfBytes, 2, 4, 4, 6),
            (true, true) => $macro!(F2OfBytes, F2OfBytes, 2, 4, 2, 4),
        }
    };
}

/// [`Call::WinogradInput`](super::Call::WinogradInput).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
pub(super) unsafe fn winograd_input<S: Simd>(
    simd: S,
    params: &WinogradInputParams,
    x: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the same is asked for.
    unsafe { input_of(simd, params, x, y) }
}

/// [`Call::WinogradInputBf16`](super::Call::WinogradInputBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
pub(super) unsafe fn winograd_input_bf16<S: Simd>(
    simd: S,
    params: &WinogradInputParams,
    x: *mut Bf16,
    y: *mut f32,
) {
    // SAFETY: the same is asked for.
    unsafe { input_of(simd, params, x, y) }
}

/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
unsafe fn input_of<S: Simd, T: Stored>(
    simd: S,
    params: &WinogradInputParams,
    x: *const T,
    y: *mut f32,
) {
    let &WinogradInputParams { tiles, x_row, y_point, .. } = params;
    let row = Row { tiles, x_row, y_point };
    macro_rules! call {
        ($r:ty, $c:ty, $rm:literal, $rn:literal, $cm:literal, $cn:literal) => {
            // SAFETY: `input` asks for what this function does: operands as far as the parameters say.
            unsafe { input::<S, Filters<T, $r, $c, $rm, $cm>, $rn, $cn>(simd, row, x, y) }
        };
    }
    by_form!(params.form, call);
}

/// [`Call::WinogradInputU8`](super::Call::WinogradInputU8).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputU8Params`] says.
#[inline(always)]
pub(super) unsafe fn winograd_input_u8<S: Words>(
    simd: S,
    params: &WinogradInputU8Params,
    x: *mut u8,
    y: *mut i16,
) {
    let &WinogradInputU8Params { rows, columns, tiles, x_row, y_point } = params;
    let row = Row { tiles, x_row, y_point };
    macro_rules! call {
        ($r:ty, $c:ty, $rm:literal, $rn:literal, $cm:literal, $cn:literal) => {
            // SAFETY: `input` asks for what this function does: operands as far as the parameters say.
            unsafe { input::<S, FiltersOfBytes<$r, $c, $rm, $cm>, $rn, $cn>(simd, row, x, y) }
        };
    }
    by_outputs!(rows, columns, call);
}

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

/// A row of tiles that become points.
#[derive(Clone, Copy)]
struct Row {
    tiles: usize,
    /// Distance between rows of pixels.
    x_row: usize,
    /// Distance between points.
    y_point: usize,
}

/// How a tile of pixels becomes points, `RN` down a column and `CN` along a row.
trait Evaluate<S: Simd, const RN: usize, const CN: usize> {
    /// A pixel's channel.
    type Pixel;
    /// A point's.
    type Point;
    /// Sixteen of each tile that is transformed together.
    type Lanes: Copy;

    /// Columns between tiles.
    const STEP: usize;

    /// Tiles that are transformed together.
    const TILES: usize;

    /// Which points these are, from the first row's first on.
    const POINTS: [[usize; CN]; RN];

    /// Reads of each tile, `next` elements apart.
    ///
    /// # Safety
    ///
    /// `from` is readable for 16 elements, and so are those of the other tiles.
    unsafe fn load(simd: S, from: *const Self::Pixel, next: usize) -> Self::Lanes;

    /// Writes those of the first `tiles` tiles, side by side.
    ///
    /// # Safety
    ///
    /// `to` is writable for 16 elements a tile.
    unsafe fn store(simd: S, to: *mut Self::Point, lanes: Self::Lanes, tiles: usize);

    fn down(simd: S, column: [Self::Lanes; RN]) -> [Self::Lanes; RN];

    fn along(simd: S, row: [Self::Lanes; CN]) -> [Self::Lanes; CN];
}

/// By filters of `f32`, of pixels of `T`, for rows and for columns, with so many outputs.
struct Filters<T, R, C, const RM: usize, const CM: usize>(PhantomData<(T, R, C)>);

impl<S, T, R, C, const RM: usize, const RN: usize, const CM: usize, const CN: usize>
    Evaluate<S, RN, CN> for Filters<T, R, C, RM, CM>
where
    S: Simd,
    T: Stored,
    R: Minimal<RM, RN>,
    C: Minimal<CM, CN>,
{
    type Pixel = T;
    type Point = f32;
    type Lanes = S::F32x16;

    const STEP: usize = C::STEP;
    const TILES: usize = 1;
    const POINTS: [[usize; CN]; RN] = places(R::PLACES, C::PLACES, C::ALL);

    #[inline(always)]
    unsafe fn load(simd: S, from: *const T, _: usize) -> S::F32x16 {
        // SAFETY: readable for 16 elements, says the caller.
        unsafe { T::load(simd, from) }
    }

    #[inline(always)]
    unsafe fn store(simd: S, to: *mut f32, lanes: S::F32x16, _: usize) {
        // SAFETY: writable for 16 elements, says the caller.
        unsafe { simd.store(to, lanes) }
    }

    #[inline(always)]
    fn down(simd: S, column: [S::F32x16; RN]) -> [S::F32x16; RN] {
        R::evaluate(simd, column)
    }

    #[inline(always)]
    fn along(simd: S, row: [S::F32x16; CN]) -> [S::F32x16; CN] {
        C::evaluate(simd, row)
    }
}

/// By filters of bytes, for rows and for columns, with so many outputs.
struct FiltersOfBytes<R, C, const RM: usize, const CM: usize>(PhantomData<(R, C)>);

impl<S, R, C, const RM: usize, const RN: usize, const CM: usize, const CN: usize>
    Evaluate<S, RN, CN> for FiltersOfBytes<R, C, RM, CM>
where
    S: Words,
    R: OfBytes<RN> + Interpolate<RM, RN>,
    C: OfBytes<CN> + Interpolate<CM, CN>,
{
    type Pixel = u8;
    type Point = i16;
    type Lanes = S::Words;

    const STEP: usize = CM;
    const TILES: usize = S::TILES;
    const POINTS: [[usize; CN]; RN] = places(R::PLACES, C::PLACES, C::ALL);

    #[inline(always)]
    unsafe fn load(simd: S, from: *const u8, next: usize) -> S::Words {
        // SAFETY: readable for 16 elements of each tile, says the caller.
        unsafe { simd.load_words(from, next) }
    }

    #[inline(always)]
    unsafe fn store(simd: S, to: *mut i16, lanes: S::Words, tiles: usize) {
        // SAFETY: writable for 16 elements a tile, says the caller.
        unsafe { simd.store_words(to, lanes, tiles) }
    }

    #[inline(always)]
    fn down(simd: S, column: [S::Words; RN]) -> [S::Words; RN] {
        R::evaluate(simd, column)
    }

    #[inline(always)]
    fn along(simd: S, row: [S::Words; CN]) -> [S::Words; CN] {
        C::evaluate(simd, row)
    }
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

/// # Safety
///
/// That of [`winograd_input`] or [`winograd_input_u8`], for its operands.
#[inline(always)]
unsafe fn input<S: Simd, E: Evaluate<S, RN, CN>, const RN: usize, const CN: usize>(
    simd: S,
    of: Row,
    x: *const E::Pixel,
    y: *mut E::Point,
) {
    let mut tile = 0;
    while tile < of.tiles {
        // Of what is left over, the same tile stands for those that are missing.
        let tiles = E::TILES.min(of.tiles - tile);
        let next = if tiles == E::TILES { E::STEP * BLOCK } else { 0 };
        let x = x.wrapping_add(tile * E::STEP * BLOCK);
        let y = y.wrapping_add(tile * BLOCK);
        // Down the columns, then along the rows.
        // SAFETY: the tiles' first pixels.
        let mut columns = [[unsafe { E::load(simd, x, next) }; RN]; CN];
        for (c, column) in columns.iter_mut().enumerate() {
            for (r, pixel) in column.iter_mut().enumerate() {
                // SAFETY: the row and column are the tiles'.
                *pixel = unsafe { E::load(simd, x.add(r * of.x_row + c * BLOCK), next) };
            }
            *column = E::down(simd, *column);
        }
        for i in 0..RN {
            for (j, point) in E::along(simd, row(&columns, i)).iter().enumerate() {
                // SAFETY: the point is the tiles'.
                unsafe { E::store(simd, y.add(E::POINTS[i][j] * of.y_point), *point, tiles) };
            }
        }
        tile += tiles;
    }
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
