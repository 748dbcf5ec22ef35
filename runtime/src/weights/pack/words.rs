//! Quantised weights of Winograd convolutions: 16-bit words, of which two input channels stand side by
//! side, as a dot product takes them.
//!
//! Of `G g G^T` only the denominators are no integers, and these go into scales; what is left of bytes
//! are words, exactly. Where the sums of an output channel and a point could leave `i32`, for any picture
//! at all, its words are rounded to steps as large as it takes that they cannot.

use crate::kernels::{BLOCK, F4OfBytes, PAIR, Panels, Transform};

/// Rows and columns of points.
const SIDE: usize = F4OfBytes::G.len();

/// Points of a tile.
pub const POINTS: usize = SIDE * SIDE;

/// The weights of one point and one output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// One for each input channel.
    pub words: Vec<i16>,
    /// What a word stands for, in weights as they were.
    pub step: f64,
}

impl Points {
    /// Those of an output channel, `[36]`, whose weights are `[in][3][3]`.
    pub fn of(weights: &[i8]) -> [Self; POINTS] {
        let kernels = weights.as_chunks().0.as_chunks().0;
        std::array::from_fn(|point| Self::of_point(kernels, point / SIDE, point % SIDE))
    }

    fn of_point(kernels: &[[[i8; 3]; 3]], row: usize, column: usize) -> Self {
        let [down, along] = [row, column].map(|point| F4OfBytes::G[point]);
        let of_kernel = |kernel: &[[i8; 3]; 3]| -> i32 {
            let rows = kernel.iter().zip(down);
            let of_row = |row: &[i8; 3]| -> i32 {
                row.iter().zip(along).map(|(&w, factor)| i32::from(w) * factor).sum()
            };
            rows.map(|(row, factor)| of_row(row) * factor).sum()
        };
        let exact: Vec<i32> = kernels.iter().map(of_kernel).collect();
        let most = u64::from(F4OfBytes::largest(row, column).unsigned_abs());
        let step = step(&exact, most);
        let word = |&value: &i32| (f64::from(value) / step).round_ties_even() as i16;
        let words: Vec<i16> = exact.iter().map(word).collect();
        assert!(sum(&words) * most <= LIMIT, "no picture overflows the sums of a point");
        let [down, along] = [row, column].map(|point| f64::from(F4OfBytes::DENOMINATORS[point]));
        Self { words, step: step / (down * along) }
    }
}

/// What sums may reach.
const LIMIT: u64 = i32::MAX as u64;

/// The step of words whose products with inputs of magnitude `most` have sums within `i32`: 1 where they
/// are so as they are.
fn step(exact: &[i32], most: u64) -> f64 {
    let total: u64 = exact.iter().map(|value| u64::from(value.unsigned_abs())).sum();
    if total * most <= LIMIT {
        return 1.0;
    }
    // Rounding makes each larger by a half at most.
    let rounding = exact.len() as u64 * most / 2;
    assert!(rounding < LIMIT / 2, "a convolution of so many channels is not quantised");
    (total * most) as f64 / (LIMIT - rounding) as f64
}

/// The sum of magnitudes.
fn sum(words: &[i16]) -> u64 {
    words.iter().map(|word| u64::from(word.unsigned_abs())).sum()
}

/// Packs the panels of one convolution: `points` has those of each output channel, `out`
/// [`weights_len`](Panels::weights_len) elements, all of which are written: of each panel
/// `[36][in_blocks][8][panel_blocks * 16][2]`.
///
/// # Panics
///
/// If a slice has another length, or the format is of another form.
pub fn pack_words<'a>(
    panels: &Panels,
    points: impl ExactSizeIterator<Item = &'a [Points; POINTS]>,
    out: &mut [i16],
) {
    let Panels { shape, format } = panels;
    assert_eq!((format.transform, shape.groups), (Transform::Winograd4x4, 1));
    assert_eq!((points.len(), out.len()), (shape.out_channels, panels.weights_len()));
    out.fill(0);
    let (channels, mut points) = (format.panel_blocks * BLOCK, points);
    for out in out.chunks_mut(panels.panel_len()) {
        // The last panel of an odd number of blocks is narrower.
        let point_len = out.len() / POINTS;
        let row = point_len / (format.in_blocks * BLOCK);
        for (channel, points) in points.by_ref().take(channels).enumerate() {
            for (point, out) in points.iter().zip(out.chunks_exact_mut(point_len)) {
                for (pair, words) in point.words.chunks(PAIR).enumerate() {
                    out[(pair * row + channel) * PAIR..][..words.len()].copy_from_slice(words);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights that are as large as they can be: whatever the picture, no sum leaves `i32`, and words lose
    /// less than half a step.
    #[test]
    fn sums_of_any_picture_fit() {
        for channels in [1, 16, 64, 512, 7000] {
            for weights in [vec![127; 9 * channels], vec![-127; 9 * channels]] {
                let points = Points::of(&weights);
                for (point, Points { words, step }) in points.iter().enumerate() {
                    let (row, column) = (point / SIDE, point % SIDE);
                    let most = i64::from(F4OfBytes::largest(row, column));
                    let worst: i64 = words.iter().map(|&w| i64::from(w).abs() * most).sum();
                    assert!(worst <= i64::from(i32::MAX), "point {point} of {channels}: {worst}");
                    let denominators =
                        F4OfBytes::DENOMINATORS[row] * F4OfBytes::DENOMINATORS[column];
                    let own = |g: [i32; 3]| g.iter().sum::<i32>();
                    let exact =
                        i32::from(weights[0]) * own(F4OfBytes::G[row]) * own(F4OfBytes::G[column]);
                    let scale = step * f64::from(denominators);
                    let lost = (f64::from(words[0]) * scale - f64::from(exact)).abs();
                    assert!(lost <= scale / 2.0, "point {point} of {channels} loses {lost}");
                    assert!(channels > 16 || lost == 0.0, "few channels are exact");
                }
            }
        }
    }
}
