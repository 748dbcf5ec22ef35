//! Resampling of 8-bit pictures.
//!
//! Each output pixel is a weighted mean of the input pixels under a filter as wide as a few pixels of
//! the coarser of the two grids. Rows are resampled first, then columns, each time rounded to 8
//! bits. Weights are integers of 22 fractional bits: 8 bits of a pixel and a sum of weights of about
//! 1 leave a 32-bit accumulator one bit of headroom. This is Pillow's arithmetic, as golden pictures
//! confirm, and its order of passes up to release 12 (what published accuracies were measured with);
//! release 13 does the columns of some pictures first, which can move a pixel by one level.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::Image;

const FRACTION_BITS: u32 = 32 - 8 - 2;

/// How pixels are weighed in resizing; Pillow's `Image.Resampling`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels.
    Box,
    /// A triangle.
    #[default]
    Bilinear,
    /// A window of Hamming's over a sinc.
    Hamming,
    /// Keys's cubic convolution, `a` = -0.5.
    Bicubic,
    /// Lanczos's window over a sinc, three lobes.
    Lanczos,
}

impl Filter {
    /// Every filter.
    pub const ALL: [Self; 6] =
        [Self::Nearest, Self::Box, Self::Bilinear, Self::Hamming, Self::Bicubic, Self::Lanczos];

    /// The filter's name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }

    /// Half the width, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance of `x` pixels; `a` is the parameter of the cubic.
    fn weight(self, x: f64, a: f64) -> f64 {
        let sinc = |x: f64| match x * std::f64::consts::PI {
            0.0 => 1.0,
            x => x.sin() / x,
        };
        let distance = x.abs();
        match self {
            Self::Nearest => 0.0,
            // One of the edges belongs to it.
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Box => 0.0,
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                let x = distance * std::f64::consts::PI;
                x.sin() / x * (0.54 + 0.46 * x.cos())
            }
            Self::Bicubic if distance < 1.0 => {
                ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
            }
            Self::Bicubic if distance < 2.0 => {
                (((distance - 5.0) * distance + 8.0) * distance - 4.0) * a
            }
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Filter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|filter| filter.name() == text).ok_or(())
    }
}

/// A part of a picture at another size.
pub(super) struct Window {
    /// Width and height of the whole.
    pub(super) size: (usize, usize),
    /// The rows and columns of the part.
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// The taps of one output pixel: from `first` on, `weights`.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The window's bytes; passes that change nothing are left out.
///
/// Without `antialias` the filter is as wide as a few pixels of the input, however small the output.
pub(super) fn resample(
    picture: &Image,
    window: &Window,
    filter: Filter,
    antialias: bool,
) -> Vec<u8> {
    let Window { size: (width, height), rows, columns } = window;
    if filter == Filter::Nearest {
        return nearest(picture, window);
    }
    let vertical = (*height != picture.height)
        .then(|| taps(picture.height, *height, rows.clone(), filter, antialias));
    let needed = match &vertical {
        None => rows.clone(),
        Some(taps) => {
            let first = taps.iter().map(|taps| taps.first).min().unwrap_or(0);
            let end = taps.iter().map(|taps| taps.first + taps.weights.len()).max().unwrap_or(0);
            first..end
        }
    };
    let channels = picture.channels;
    let row_len = picture.width * channels;
    let source = &picture.pixels[needed.start * row_len..needed.end * row_len];
    let across = if *width == picture.width {
        let part = columns.start * channels..columns.end * channels;
        source.chunks_exact(row_len).flat_map(|row| &row[part.clone()]).copied().collect()
    } else {
        let taps = taps(picture.width, *width, columns.clone(), filter, antialias);
        match channels {
            1 => along_rows::<1>(source, picture.width, &taps),
            _ => along_rows::<3>(source, picture.width, &taps),
        }
    };
    match vertical {
        None => across,
        Some(taps) => along_columns(&across, needed.start, columns.len() * channels, &taps),
    }
}

/// The pixels under the centres of the new ones.
fn nearest(picture: &Image, window: &Window) -> Vec<u8> {
    // Pillow steps from centre to centre, which rounds otherwise than a product.
    let places = |from: usize, to: usize, range: &Range<usize>| -> Vec<usize> {
        let step = from as f64 / to as f64;
        let centres = std::iter::successors(Some(step * 0.5), |centre| Some(centre + step));
        centres.take(range.end).skip(range.start).map(|at| (at as usize).min(from - 1)).collect()
    };
    let rows = places(picture.height, window.size.1, &window.rows);
    let columns = places(picture.width, window.size.0, &window.columns);
    let channels = picture.channels;
    let mut out = Vec::with_capacity(rows.len() * columns.len() * channels);
    for row in rows {
        for column in &columns {
            let at = (row * picture.width + column) * channels;
            out.extend_from_slice(&picture.pixels[at..at + channels]);
        }
    }
    out
}

/// The taps of the pixels `range` of one dimension.
fn taps(from: usize, to: usize, range: Range<usize>, filter: Filter, antialias: bool) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // Enlarging, the filter stays as wide as a few input pixels.
    let wide = if antialias { scale.max(1.0) } else { 1.0 };
    let support = filter.support() * wide;
    // PyTorch's cubic without antialiasing is another one than Pillow's.
    let cubic = if antialias { -0.5 } else { -0.75 };
    let of = |pixel: usize| {
        let centre = (pixel as f64 + 0.5) * scale;
        let weight = |tap: f64| filter.weight((tap - centre + 0.5) * (1.0 / wide), cubic);
        let (first, weights) = if antialias {
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).min(from);
            (first, (first..last).map(|tap| weight(tap as f64)).collect())
        } else {
            repeating_edges(centre, support, from, weight)
        };
        let sum: f64 = weights.iter().sum();
        let unit = f64::from(1 << FRACTION_BITS);
        let fixed = |weight: &f64| {
            let weight = weight / sum * unit;
            (if weight < 0.0 { weight - 0.5 } else { weight + 0.5 }) as i32
        };
        Taps { first, weights: weights.iter().map(fixed).collect() }
    };
    range.map(of).collect()
}

/// Weights for a picture whose first and last pixels go on beyond its edges, as PyTorch takes them
/// without antialiasing.
fn repeating_edges(
    centre: f64,
    support: f64,
    len: usize,
    weight: impl Fn(f64) -> f64,
) -> (usize, Vec<f64>) {
    let begin = (centre - support + 0.5).floor() as i64;
    let end = (centre + support + 0.5).floor() as i64;
    let inside = |tap: i64| tap.clamp(0, len as i64 - 1) as usize;
    let first = inside(begin);
    let mut weights = vec![0.0; inside(end - 1) - first + 1];
    for tap in begin..end {
        weights[inside(tap) - first] += weight(tap as f64);
    }
    (first, weights)
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

/// `pixels` begin with the input's row `offset`.
fn along_columns(pixels: &[u8], offset: usize, row_len: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(row_len * taps.len());
    let mut sums = vec![0_i32; row_len];
    for Taps { first, weights } in taps {
        sums.fill(1 << (FRACTION_BITS - 1));
        let rows = pixels[(first - offset) * row_len..].chunks_exact(row_len);
        for (row, weight) in rows.zip(weights) {
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
