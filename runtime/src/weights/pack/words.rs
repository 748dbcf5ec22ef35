//! Quantised weights of Winograd convolutions: 16-bit words, of which two input channels stand side by
//! side, as a dot product takes them.
//!
//! Of `G g G^T` only the denominators are no integers, and these go into scales; what is left of bytes
//! are words, exactly. Where the sums of an output channel and a point could leave `i32`, for any picture
//! at all, its words are multiplied by a factor so small that they cannot, and rounded.
//!
//! They are packed as words ([`pack_words`]), or as bytes with the factors ([`pack_kernels`]), of which
//! [`Call::WinogradWeightsI8`](crate::kernels::Call::WinogradWeightsI8) makes the same words, panel by panel, where they are multiplied with.

use std::borrow::Borrow;

use crate::kernels::{BLOCK, Element, F4OfBytes, PAIR, Panels, Transform};

/// Rows and columns of points, and of taps.
const SIDE: usize = F4OfBytes::G.len();
const TAPS: usize = F4OfBytes::G[0].len();

/// Points of a tile.
pub const POINTS: usize = SIDE * SIDE;

/// The weights of one point and one output channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// One for each input channel.
    pub words: Vec<i16>,
    /// What they were multiplied by, in 2^-13: 2^13 where they are exact.
    pub factor: i16,
    /// What a word stands for, in weights as they were.
    pub step: f64,
}

impl Points {
    /// Those of an output channel, `[36]`, whose weights are `[in][3][3]`.
    pub fn of(weights: &[i8]) -> [Self; POINTS] {
        let kernels: &[[[i8; TAPS]; TAPS]] = weights.as_chunks().0.as_chunks().0;
        let exact: Vec<_> = kernels.iter().map(transformed).collect();
        std::array::from_fn(|point| {
            let (row, column) = (point / SIDE, point % SIDE);
            Self::of_point(exact.iter().map(|points| points[row][column]).collect(), row, column)
        })
    }

    /// Those of a row and a column, of which these are exact.
    fn of_point(mut words: Vec<i16>, row: usize, column: usize) -> Self {
        let most = u64::from(F4OfBytes::largest(row, column).unsigned_abs());
        let factor = factor(&words, most);
        if factor < F4OfBytes::WHOLE {
            // To the nearest integer, a half upwards, as the kernel rounds it.
            let (factor, whole) = (i32::from(factor), i32::from(F4OfBytes::WHOLE));
            for word in &mut words {
                *word = (i32::from(*word) * factor + whole / 2).div_euclid(whole) as i16;
            }
        }
        assert!(sum(&words) * most <= LIMIT, "no picture overflows the sums of a point");
        let [down, along] = [row, column].map(|point| f64::from(F4OfBytes::DENOMINATORS[point]));
        let step = f64::from(F4OfBytes::WHOLE) / f64::from(factor) / (down * along);
        Self { words, factor, step }
    }
}

/// `G g G^T` without denominators.
fn transformed(kernel: &[[i8; TAPS]; TAPS]) -> [[i16; SIDE]; SIDE] {
    let along = kernel.map(|row| of_taps(row.map(i16::from)));
    let mut points = [[0; SIDE]; SIDE];
    for column in 0..SIDE {
        for (row, point) in of_taps(along.map(|row| row[column])).into_iter().enumerate() {
            points[row][column] = point;
        }
    }
    points
}

/// `G g` without denominators.
fn of_taps(taps: [i16; TAPS]) -> [i16; SIDE] {
    F4OfBytes::G.map(|row| row.iter().zip(taps).map(|(&factor, tap)| factor as i16 * tap).sum())
}

/// What sums may reach.
const LIMIT: u64 = i32::MAX as u64;

/// The largest factor for which the words' products with inputs of magnitude `most` have sums within `i32`.
fn factor(exact: &[i16], most: u64) -> i16 {
    let total = sum(exact) * most;
    if total <= LIMIT {
        return F4OfBytes::WHOLE;
    }
    // Rounding makes each larger by a half at most.
    let rounding = exact.len() as u64 * most / 2;
    assert!(rounding < LIMIT / 2, "a convolution of so many channels is not quantised");
    (F4OfBytes::WHOLE as u64 * (LIMIT - rounding) / total) as i16
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
pub fn pack_words(
    panels: &Panels,
    points: impl ExactSizeIterator<Item: Borrow<[Points; POINTS]>>,
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
        let width = point_len / (format.in_blocks * BLOCK);
        for (channel, points) in points.by_ref().take(channels).enumerate() {
            for (point, out) in points.borrow().iter().zip(out.chunks_exact_mut(point_len)) {
                for (pair, words) in point.words.chunks(PAIR).enumerate() {
                    out[(pair * width + channel) * PAIR..][..words.len()].copy_from_slice(words);
                }
            }
        }
    }
}

/// Packs the panels of one convolution: `channels` has the weights of each output channel, `[in][3][3]`, and its
/// points, `out` [`weights_len`](Panels::weights_len) elements, all of which are written: of each panel the factors of the
/// words, `[36][panel_blocks * 16][2]` in two bytes each, and the weights, `[in_blocks][8][3][3][panel_blocks * 16][2]`.
///
/// # Panics
///
/// If a slice has another length, or the format is of another form.
pub fn pack_kernels<'a>(
    panels: &Panels,
    channels: impl ExactSizeIterator<Item = (&'a [i8], impl Borrow<[Points; POINTS]>)>,
    out: &mut [i8],
) {
    let Panels { shape, format } = panels;
    let taps = shape.kernel_len();
    assert_eq!((format.transform, shape.groups), (Transform::Winograd4x4, 1));
    assert_eq!((channels.len(), out.len()), (shape.out_channels, panels.weights_len()));
    out.fill(0);
    let (of_panel, mut channels) = (format.panel_blocks * BLOCK, channels);
    for out in out.chunks_mut(panels.panel_len()) {
        // The last panel of an odd number of blocks is narrower.
        let width = out.len() * of_panel / panels.panel_len();
        let (factors, kernels) = out.split_at_mut(POINTS * width * PAIR * Element::I16.bytes());
        for (channel, (weights, points)) in channels.by_ref().take(of_panel).enumerate() {
            let of_points = factors.chunks_exact_mut(factors.len() / POINTS);
            for (point, factors) in points.borrow().iter().zip(of_points) {
                let pair: [i8; 4] = bytemuck::cast([point.factor; PAIR]);
                factors[channel * pair.len()..][..pair.len()].copy_from_slice(&pair);
            }
            for (input, kernel) in weights.chunks_exact(taps).enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    let at = (input / PAIR * taps + tap) * width + channel;
                    kernels[at * PAIR + input % PAIR] = weight;
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
                for (point, Points { words, step, .. }) in points.iter().enumerate() {
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
