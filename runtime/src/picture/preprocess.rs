//! Resizing, cropping and normalising, as a table's `preprocess` says.

use std::borrow::Cow;

use super::resample::{self, Filter, Window};
use super::{Image, ImageError};

/// The size that a picture is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The length of the shorter side; the sides keep their ratio.
    Shorter(usize),
    /// Height and width, whatever they were.
    Exact(usize, usize),
}

/// The order of a network's colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red, as OpenCV and Caffe have them.
    Bgr,
}

/// How a picture becomes a network's input; the table's `preprocess`.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    /// The size after resizing; `None`: no resizing.
    pub resize: Option<Resize>,
    /// How pixels are weighed in resizing.
    pub filter: Filter,
    /// Whether the filter widens where a picture becomes smaller, as it does in Pillow. Without, it
    /// is that of PyTorch's `interpolate`, for [`Filter::Bilinear`] and [`Filter::Bicubic`].
    pub antialias: bool,
    /// Height and width of what is cut from the middle, black where the picture is smaller; `None`:
    /// no cropping.
    pub crop: Option<(usize, usize)>,
    /// Subtracted, on a scale of 0 to 1: one number a channel, or one for all; empty: 0.
    pub mean: Vec<f32>,
    /// Divided by, after subtracting: one number a channel, or one for all; empty: 1.
    pub std: Vec<f32>,
    /// The order of the colours, of `mean` and `std` too.
    pub channels: Channels,
}

impl Default for Preprocess {
    /// Nothing is done but to bring pixels to a scale of 0 to 1.
    fn default() -> Self {
        Self {
            resize: None,
            filter: Filter::default(),
            antialias: true,
            crop: None,
            mean: Vec::new(),
            std: Vec::new(),
            channels: Channels::default(),
        }
    }
}

/// One dimension of a centre crop: `len` pixels from `from` in the picture to `to` in the crop.
pub(super) struct Crop {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) len: usize,
}

impl Crop {
    pub(super) fn of(size: usize, crop: usize) -> Self {
        if size < crop {
            // torchvision pads the smaller half first, then crops nothing.
            return Self { from: 0, to: (crop - size) / 2, len: size };
        }
        // Python's round: a half goes to the even side.
        let spare = size - crop;
        let half = spare / 2;
        let from = if spare % 2 == 1 { half + half % 2 } else { half };
        Self { from, to: 0, len: crop }
    }
}

impl Preprocess {
    /// Width and height after [`Preprocess::resize`] of a picture: of [`Resize::Shorter`] the longer
    /// side is `resize * long / short`, rounded down.
    pub(super) fn resized(&self, width: usize, height: usize) -> (usize, usize) {
        let long = |target: usize, long: usize, short: usize| {
            (target as u128 * long as u128 / short as u128) as usize
        };
        match self.resize {
            None => (width, height),
            Some(Resize::Exact(rows, columns)) => (columns, rows),
            Some(Resize::Shorter(to)) if width <= height => (to, long(to, height, width)),
            Some(Resize::Shorter(to)) => (long(to, width, height), to),
        }
    }

    /// Makes the input of a network from a picture: `[channels][height][width]` of `shape`, planar.
    ///
    /// # Errors
    ///
    /// Channels other than 1 (the picture's luma) or 3, a size that does not come out as `shape`
    /// says, and parameters that make no sense; the picture is not to blame for the last two.
    pub fn apply(&self, picture: &Image, shape: [usize; 3]) -> Result<Vec<f32>, ImageError> {
        let mut input = vec![0.0; shape.iter().product()];
        self.apply_into(picture, shape, &mut input)?;
        Ok(input)
    }

    /// [`Preprocess::apply`] into memory of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Preprocess::apply`], and an `input` whose length is not the product of `shape`.
    pub fn apply_into(
        &self,
        picture: &Image,
        shape: [usize; 3],
        input: &mut [f32],
    ) -> Result<(), ImageError> {
        let [channels, height, width] = shape;
        self.check(shape)?;
        if input.len() != channels * height * width {
            return Err(ImageError::Input(format!(
                "the input has room for {} numbers; {channels}x{height}x{width} are {}",
                input.len(),
                channels * height * width
            )));
        }
        let picture = match (channels, picture.channels) {
            (1, 3) => Cow::Owned(picture.to_grey()),
            (3, 1) => Cow::Owned(picture.to_rgb()),
            _ => Cow::Borrowed(picture),
        };
        let size = self.resized(picture.width, picture.height);
        let (out_rows, out_columns) = self.crop.unwrap_or((size.1, size.0));
        if (out_rows, out_columns) != (height, width) {
            return Err(ImageError::Input(format!(
                "the picture is {out_rows}x{out_columns} (height x width) when the network takes \
                 {height}x{width}; give the table a `preprocess` with `resize` and `crop`"
            )));
        }
        let (rows, columns) = (Crop::of(size.1, height), Crop::of(size.0, width));
        // What is cropped away need not be made.
        let window = Window {
            size,
            rows: rows.from..rows.from + rows.len,
            columns: columns.from..columns.from + columns.len,
        };
        let pixels = resample::resample(&picture, &window, self.filter, self.antialias);
        for (channel, plane) in input.chunks_exact_mut(height * width).enumerate() {
            let table = self.normalised(channel);
            if (rows.len, columns.len) != (height, width) {
                plane.fill(table[0]);
            }
            let byte = match self.channels {
                Channels::Rgb => channel,
                Channels::Bgr => channels - 1 - channel,
            };
            let lines = plane.chunks_exact_mut(width).skip(rows.to);
            for (line, pixels) in lines.zip(pixels.chunks_exact(columns.len * channels)) {
                let line = &mut line[columns.to..columns.to + columns.len];
                for (value, pixel) in line.iter_mut().zip(pixels.chunks_exact(channels)) {
                    *value = table[usize::from(pixel[byte])];
                }
            }
        }
        Ok(())
    }

    /// Checks the parameters against a network's input `[channels, height, width]`, so that what
    /// no picture can pass is known before the first is decoded.
    ///
    /// # Errors
    ///
    /// As [`Preprocess::apply`], but for what depends on the picture.
    pub fn check(&self, shape: [usize; 3]) -> Result<(), ImageError> {
        let [channels, height, width] = shape;
        let fail = |message: String| Err(ImageError::Input(message));
        if !matches!(channels, 1 | 3) {
            return fail(format!(
                "pictures have 1 or 3 channels and the network takes {channels}; \
                 give it an array of {channels}x{height}x{width} instead (`--input X.npy`)"
            ));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !(values.len() <= 1 || values.len() == channels) {
                return fail(format!(
                    "`preprocess` has {} values of `{name}`; the input has {channels} channels",
                    values.len()
                ));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return fail(format!("`preprocess`: a `{name}` of {value} is not finite"));
            }
        }
        if self.std.contains(&0.0) {
            return fail("`preprocess`: `std` is divided by, it cannot be 0".into());
        }
        if matches!(
            self.resize,
            Some(Resize::Shorter(0) | Resize::Exact(0, _) | Resize::Exact(_, 0))
        ) {
            return fail("`preprocess`: a picture cannot be resized to 0".into());
        }
        if !self.antialias && !matches!(self.filter, Filter::Bilinear | Filter::Bicubic) {
            return fail(format!(
                "`preprocess`: only bilinear and bicubic filters are without antialiasing, `{}` is \
                 not",
                self.filter
            ));
        }
        if self.crop.is_some_and(|crop| crop != (height, width)) {
            let (rows, columns) = self.crop.unwrap_or_default();
            return fail(format!(
                "`preprocess` crops to {rows}x{columns}, but the network takes {height}x{width}"
            ));
        }
        Ok(())
    }

    /// The value of each byte in a channel, in the order of operations of `ToTensor` and
    /// `Normalize`.
    fn normalised(&self, channel: usize) -> [f32; 256] {
        let of = |values: &[f32], default| match values {
            [] => default,
            [one] => *one,
            many => many[channel],
        };
        let (mean, std) = (of(&self.mean, 0.0), of(&self.std, 1.0));
        std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
    }
}
