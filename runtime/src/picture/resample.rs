//! Separable resampling of 8-bit pictures with a triangle filter.
//!
//! Each output pixel is a weighted mean of the input pixels under a triangle whose half width is
//! one pixel of the coarser of the two grids. Rows are resampled first, then columns, each time
//! rounded to 8 bits. Weights are integers of 22 fractional bits: 8 bits of a pixel and a sum of
//! weights of about 1 leave a 32-bit accumulator one bit of headroom. This is
//! Pillow's arithmetic, as golden pictures confirm, and its order of passes up to release 12 (what
//! published accuracies were measured with); release 13 does the columns of some pictures first,
//! which can move a pixel by one level.

use super::Picture;

const FRACTION_BITS: u32 = 32 - 8 - 2;

/// The taps of one output pixel: from `first` on, `weights`.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The picture's bytes at another size; passes that change nothing are left out.
pub(super) fn resize(picture: &Picture, width: usize, height: usize) -> Vec<u8> {
    let channels = picture.channels;
    let rows = if width == picture.width {
        picture.pixels.clone()
    } else {
        let taps = taps(picture.width, width);
        match channels {
            1 => along_rows::<1>(&picture.pixels, picture.width, &taps),
            _ => along_rows::<3>(&picture.pixels, picture.width, &taps),
        }
    };
    if height == picture.height {
        rows
    } else {
        along_columns(&rows, width * channels, &taps(picture.height, height))
    }
}

/// The taps of every output pixel of one dimension.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // Enlarging, the triangle stays one input pixel wide on each side: plain bilinear.
    let support = scale.max(1.0);
    (0..to)
        .map(|pixel| {
            let centre = (pixel as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from);
            let triangle = |tap: usize| {
                let distance = (tap as f64 - centre + 0.5) * (1.0 / support);
                (1.0 - distance.abs()).max(0.0)
            };
            let weights: Vec<f64> = (first..last).map(triangle).collect();
            let sum: f64 = weights.iter().sum();
            let unit = f64::from(1 << FRACTION_BITS);
            let fixed = |weight: f64| (weight / sum * unit + 0.5) as i32;
            Taps { first, weights: weights.into_iter().map(fixed).collect() }
        })
        .collect()
}

fn along_rows<const CHANNELS: usize>(pixels: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / width * taps.len());
    for row in pixels.chunks_exact(width * CHANNELS) {
        let (row, _) = row.as_chunks::<CHANNELS>();
        for Taps { first, weights } in taps {
            let mut sums = [1 << (FRACTION_BITS - 1); CHANNELS];
            for (pixel, weight) in row[*first..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            out.extend(sums.map(rounded));
        }
    }
    out
}

fn along_columns(pixels: &[u8], row_len: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(row_len * taps.len());
    let mut sums = vec![0_i32; row_len];
    for Taps { first, weights } in taps {
        sums.fill(1 << (FRACTION_BITS - 1));
        for (row, weight) in pixels[first * row_len..].chunks_exact(row_len).zip(weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        out.extend(sums.iter().map(|sum| rounded(*sum)));
    }
    out
}

fn rounded(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}
