//! The points of input tiles.

use std::marker::PhantomData;

use super::{places, row};
use crate::kernels::filter::{
    F2, F2OfBytes, F2s2, F4, F4OfBytes, F4s2, F4x7s2, Identity, Interpolate, Minimal, OfBytes,
};
use crate::kernels::simd::{Simd, Stored, Words};
use crate::kernels::{BLOCK, Bf16, Filter, Transform, WinogradInputParams, WinogradInputU8Params};

/// [`Call::WinogradInput`](crate::kernels::Call::WinogradInput).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
pub(in crate::kernels) unsafe fn winograd_input<S: Simd>(
    simd: S,
    params: &WinogradInputParams,
    x: *mut f32,
    y: *mut f32,
) {
    // SAFETY: the same is asked for.
    unsafe { input_of(simd, params, x, y) }
}

/// [`Call::WinogradInputBf16`](crate::kernels::Call::WinogradInputBf16).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputParams`] says.
#[inline(always)]
pub(in crate::kernels) unsafe fn winograd_input_bf16<S: Simd>(
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

/// [`Call::WinogradInputU8`](crate::kernels::Call::WinogradInputU8).
///
/// # Safety
///
/// `x` is readable and `y` writable as far as [`WinogradInputU8Params`] says.
#[inline(always)]
pub(in crate::kernels) unsafe fn winograd_input_u8<S: Words>(
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
