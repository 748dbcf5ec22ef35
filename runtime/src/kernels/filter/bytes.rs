//! Minimal filtering of bytes.

use super::{Filter, Interpolate, times};
use crate::kernels::simd::{Simd, Words};

/// A dimension of minimal filtering of bytes, with so many points.
pub(in crate::kernels) trait OfBytes<const N: usize> {
    /// `B^T d`.
    fn evaluate<S: Words>(simd: S, d: [S::Words; N]) -> [S::Words; N];
}

/// [`Filter::F4`](super::Filter::F4) of bytes, at 0, +-1, +-2 and infinity, where all of `B^T` is integers and of `A^T` powers
/// of two. Points are words exactly, and factors of `f32` products are exact, so that whether their
/// additions are fused does not matter: every instruction set has the same bits.
pub(crate) struct F4OfBytes;

impl F4OfBytes {
    /// Of each row of `B^T` the sums of the positive coefficients, and of the negative ones, negated.
    const SIDES: [[i32; 2]; 6] = [[5, 5], [2, 8], [5, 5], [3, 3], [3, 3], [5, 5]];

    /// `G` without denominators.
    pub(crate) const G: [[i32; 3]; 6] =
        [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];

    /// What the rows of `G` are divided by.
    pub(crate) const DENOMINATORS: [i32; 6] = [4, -6, -6, 24, 24, 1];

    /// Bits that weights are shifted by before `G`, where their products with factors lose 15.
    pub(in crate::kernels) const SHIFT: i32 = 2;

    /// The factor that leaves the weights of a point as they are.
    pub(crate) const WHOLE: i16 = 1 << (15 - Self::SHIFT);

    /// The magnitude that a point of a tile of bytes has at most, in the row and the column.
    pub(crate) const fn largest(row: usize, column: usize) -> i32 {
        let [[a, b], [c, d]] = [Self::SIDES[row], Self::SIDES[column]];
        let (positive, negative) = (a * c + b * d, a * d + b * c);
        u8::MAX as i32 * if positive > negative { positive } else { negative }
    }

    /// The one point of a tile of ones that is not zero, which the output adds to each pixel, and what it is.
    pub(crate) const ONES: usize = Self::G.len() + 1;
    pub(crate) const OF_ONES: i32 = {
        let [positive, negative] = Self::SIDES[1];
        (positive - negative) * (positive - negative)
    };

    /// `G g`.
    #[inline(always)]
    pub(in crate::kernels) fn weights<S: Words>(simd: S, g: [S::Words; 3]) -> [S::Words; 6] {
        let (once, twice) = (g[1], simd.shift_words::<1>(g[1]));
        let near = simd.add_words(g[0], g[2]);
        let far = simd.add_words(g[0], simd.shift_words::<2>(g[2]));
        [
            g[0],
            simd.add_words(near, once),
            simd.sub_words(near, once),
            simd.add_words(far, twice),
            simd.sub_words(far, twice),
            g[2],
        ]
    }
}

impl OfBytes<6> for F4OfBytes {
    #[inline(always)]
    fn evaluate<S: Words>(simd: S, d: [S::Words; 6]) -> [S::Words; 6] {
        let (near, far) = (simd.sub_words(d[3], d[1]), simd.sub_words(d[4], d[2]));
        let even = simd.sub_words(d[4], simd.shift_words::<2>(d[2]));
        let odd = simd.sub_words(d[3], simd.shift_words::<2>(d[1]));
        let twice = simd.shift_words::<1>(near);
        [
            simd.add_words(far, simd.shift_words::<2>(simd.sub_words(d[0], d[2]))),
            simd.add_words(even, odd),
            simd.sub_words(even, odd),
            simd.add_words(far, twice),
            simd.sub_words(far, twice),
            simd.sub_words(simd.sub_words(d[5], d[3]), simd.shift_words::<2>(near)),
        ]
    }
}

/// [`Filter::F2`] for the last tile of a row or a column, of which no more than two outputs exist, at 0, +-1 and infinity: four
/// of the points of [`F4OfBytes`], whose weights and scales serve for both. By these are `G`'s denominators
/// 4, -6 and 1, not 1, 2 and 1, so that rows of `B^T` are multiplied by 4 and -3. No point is larger than F4's.
pub(crate) struct F2OfBytes;

impl F2OfBytes {
    /// `B^T`, which is multiplied by what is not in `G`.
    const B: [[i32; 4]; 4] = [[4, 0, -4, 0], [0, -3, -3, 0], [0, 3, -3, 0], [0, -1, 0, 1]];
}

impl OfBytes<4> for F2OfBytes {
    #[inline(always)]
    fn evaluate<S: Words>(simd: S, d: [S::Words; 4]) -> [S::Words; 4] {
        let thrice = [d[1], d[2]];
        let thrice = [
            simd.add_words(thrice[0], simd.shift_words::<1>(thrice[0])),
            simd.add_words(thrice[1], simd.shift_words::<1>(thrice[1])),
        ];
        let nothing = simd.sub_words(d[0], d[0]);
        [
            simd.shift_words::<2>(simd.sub_words(d[0], d[2])),
            simd.sub_words(simd.sub_words(nothing, thrice[0]), thrice[1]),
            simd.sub_words(thrice[0], thrice[1]),
            simd.sub_words(d[3], d[1]),
        ]
    }
}

/// That sums of F4's points fit is worked out when weights are packed; those of F2's then do too.
const _: () = {
    let mut row = 0;
    while row < F2OfBytes::B.len() {
        let sides = F4OfBytes::SIDES[Filter::F2_OF_F4[row]];
        let ([mut positive, mut negative], mut column) = ([0; 2], 0);
        while column < F2OfBytes::B.len() {
            let factor = F2OfBytes::B[row][column];
            if factor > 0 {
                positive += factor
            } else {
                negative -= factor
            }
            column += 1;
        }
        assert!(positive <= sides[0] && negative <= sides[1]);
        row += 1;
    }
};

impl Interpolate<2, 4> for F2OfBytes {
    const PLACES: [usize; 4] = Filter::F2_OF_F4;
    const ALL: usize = Filter::F4.points();

    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 4]) -> [S::F32x16; 2] {
        let (sum, difference) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        [simd.add(m[0], sum), simd.add(difference, m[3])]
    }
}

impl Interpolate<4, 6> for F4OfBytes {
    #[inline(always)]
    fn interpolate<S: Simd>(simd: S, m: [S::F32x16; 6]) -> [S::F32x16; 4] {
        let (sum_1, difference_1) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_2, difference_2) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.add(simd.add(m[0], sum_1), sum_2),
            times(simd, 2.0, difference_2, difference_1),
            times(simd, 4.0, sum_2, sum_1),
            simd.add(times(simd, 8.0, difference_2, difference_1), m[5]),
        ]
    }
}
