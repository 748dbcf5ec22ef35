//! From a picture to a network's input: decoding, resizing, cropping, normalising.
//!
//! The steps and their arithmetic are those of torchvision's `Resize`, `CenterCrop`, `ToTensor`
//! and `Normalize` on pictures that Pillow decoded, because that is what published weights were
//! measured with: the same 8-bit pixels come out of resizing. Decoding needs the
//! feature `image`; everything else takes pixels from anywhere.

#[cfg(feature = "image")]
mod decode;
#[cfg(feature = "image")]
mod jpeg;
mod resample;

use std::borrow::Cow;
#[cfg(feature = "image")]
use std::path::Path;

#[cfg(feature = "image")]
pub use self::decode::EXTENSIONS;

/// An 8-bit picture, its channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

/// How a picture becomes a network's input; the table's `preprocess`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preprocess {
    /// Length of the shorter side after resizing; `None`: no resizing.
    pub resize: Option<usize>,
    /// Height and width of what is cut from the middle; `None`: no cropping.
    pub crop: Option<(usize, usize)>,
    /// Subtracted, on a scale of 0 to 1: one number a channel, or one for all; empty: 0.
    pub mean: Vec<f32>,
    /// Divided by, after subtracting: one number a channel, or one for all; empty: 1.
    pub std: Vec<f32>,
}

/// Why a picture could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The file could not be read.
    #[error("cannot read the picture `{path}`: {reason}")]
    Read {
        /// The path as it was given.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file is no picture, or damaged, or too large.
    #[error("cannot decode `{path}`: {reason}")]
    Decode {
        /// The path as it was given.
        path: String,
        /// What the decoder says.
        reason: String,
    },
    /// The pixels are not as many as the size asks.
    #[error(
        "a picture of {width}x{height} with {channels} channels has {found} bytes; {expected} are expected"
    )]
    Pixels {
        /// Width.
        width: usize,
        /// Height.
        height: usize,
        /// Channels: 1 or 3.
        channels: usize,
        /// Bytes that were given.
        found: usize,
        /// Bytes that were expected.
        expected: usize,
    },
    /// What preprocessing makes is not what the network takes.
    #[error("{0}")]
    Input(String),
}

/// The bytes of a picture's file.
///
/// # Errors
///
/// A file that cannot be read.
#[cfg(feature = "image")]
pub fn read(path: &Path) -> Result<Vec<u8>, PictureError> {
    let failed = |reason| PictureError::Read { path: path.display().to_string(), reason };
    if path.is_dir() {
        return Err(failed("it is a folder".into()));
    }
    std::fs::read(path).map_err(|error| {
        failed(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".into(),
            std::io::ErrorKind::PermissionDenied => "permission denied".into(),
            _ => error.to_string(),
        })
    })
}

impl Picture {
    /// A picture from its bytes, `[height][width][channels]`, grey (1) or RGB (3).
    ///
    /// # Errors
    ///
    /// An empty picture, or a length that is not `height * width * channels`.
    pub fn new(
        width: usize,
        height: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self, PictureError> {
        let expected = width.saturating_mul(height).saturating_mul(channels);
        if expected == 0 || pixels.len() != expected || !matches!(channels, 1 | 3) {
            let found = pixels.len();
            return Err(PictureError::Pixels { width, height, channels, found, expected });
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM file to RGB.
    ///
    /// The content decides the format, not the file's name. An EXIF orientation is applied. Grey
    /// becomes RGB, of 16 bits the upper 8 count, and transparency is dropped as Pillow's
    /// `convert("RGB")` does: a transparent pixel has the colour that is stored there. Of an
    /// animation the first frame counts. JPEG has the pixels of libjpeg-turbo, in every bit.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or decoded, that is truncated or damaged, or that would need more
    /// than 512 MiB decoded.
    #[cfg(feature = "image")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        Self::decode(&read(path)?)
            .map_err(|reason| PictureError::Decode { path: path.display().to_string(), reason })
    }

    /// [`Picture::open`] for bytes in memory; the error is the decoder's message.
    ///
    /// # Errors
    ///
    /// As [`Picture::open`].
    #[cfg(feature = "image")]
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::from_rgb(decode::decode(bytes, false)?.0)
    }

    /// [`Picture::decode`] for a picture that may be damaged: where a JPEG lacks data, grey or what
    /// can be told from the rest stands for it, and the text says what is wrong.
    ///
    /// # Errors
    ///
    /// As [`Picture::open`], where nothing can be saved.
    #[cfg(feature = "image")]
    pub fn salvage(bytes: &[u8]) -> Result<(Self, Option<String>), String> {
        let (picture, damage) = decode::decode(bytes, true)?;
        Ok((Self::from_rgb(picture)?, damage))
    }

    #[cfg(feature = "image")]
    fn from_rgb(picture: image::RgbImage) -> Result<Self, String> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        Self::new(width, height, 3, picture.into_raw()).map_err(|e| e.to_string())
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 3 for RGB, 1 for grey.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes, `[height][width][channels]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The luma of ITU-R BT.601 in 16-bit fixed point, as Pillow's `convert("L")`.
    pub fn to_grey(&self) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let luma = |rgb: &[u8; 3]| {
            let [r, g, b] = rgb.map(u32::from);
            ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
        };
        let pixels = self.pixels.as_chunks().0.iter().map(luma).collect();
        Self { channels: 1, pixels, ..*self }
    }

    /// Three equal channels from a grey picture.
    fn to_rgb(&self) -> Self {
        let pixels = self.pixels.iter().flat_map(|&grey| [grey; 3]).collect();
        Self { channels: 3, pixels, ..*self }
    }

    /// Resizes with a triangle filter whose support grows with the reduction (Pillow's `BILINEAR`).
    ///
    /// # Panics
    ///
    /// If a side of the new size is zero.
    pub fn resize(&self, width: usize, height: usize) -> Self {
        assert!(width > 0 && height > 0, "a picture has at least one pixel");
        let pixels = resample::resize(self, width, height);
        Self { width, height, channels: self.channels, pixels }
    }

    /// The middle of the picture; black where it is smaller than the crop.
    pub fn center_crop(&self, height: usize, width: usize) -> Self {
        let (rows, columns) = (Crop::of(self.height, height), Crop::of(self.width, width));
        let mut pixels = vec![0; height * width * self.channels];
        for row in 0..rows.len {
            let from = ((rows.from + row) * self.width + columns.from) * self.channels;
            let to = ((rows.to + row) * width + columns.to) * self.channels;
            let len = columns.len * self.channels;
            pixels[to..to + len].copy_from_slice(&self.pixels[from..from + len]);
        }
        Self { width, height, channels: self.channels, pixels }
    }
}

/// One dimension of a centre crop: `len` pixels from `from` in the picture to `to` in the crop.
struct Crop {
    from: usize,
    to: usize,
    len: usize,
}

impl Crop {
    fn of(size: usize, crop: usize) -> Self {
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
    /// The size after [`Preprocess::resize`] of a picture: the shorter side becomes `resize`, the
    /// longer `resize * long / short`, rounded down.
    fn resized(&self, width: usize, height: usize) -> (usize, usize) {
        let Some(target) = self.resize else { return (width, height) };
        let long =
            |long: usize, short: usize| (target as u128 * long as u128 / short as u128) as usize;
        if width <= height { (target, long(height, width)) } else { (long(width, height), target) }
    }

    /// Makes the input of a network from a picture: `[channels][height][width]` of `shape`, planar.
    ///
    /// # Errors
    ///
    /// Channels other than 1 (the picture's luma) or 3, a size that does not come out as `shape`
    /// says, and parameters that make no sense; the picture is not to blame for the last two.
    pub fn apply(&self, picture: &Picture, shape: [usize; 3]) -> Result<Vec<f32>, PictureError> {
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
        picture: &Picture,
        shape: [usize; 3],
        input: &mut [f32],
    ) -> Result<(), PictureError> {
        let [channels, height, width] = shape;
        self.check(shape)?;
        if input.len() != channels * height * width {
            return Err(PictureError::Input(format!(
                "the input has room for {} numbers; {channels}x{height}x{width} are {}",
                input.len(),
                channels * height * width
            )));
        }
        let mut picture = match (channels, picture.channels) {
            (1, 3) => Cow::Owned(picture.to_grey()),
            (3, 1) => Cow::Owned(picture.to_rgb()),
            _ => Cow::Borrowed(picture),
        };
        let (new_width, new_height) = self.resized(picture.width, picture.height);
        if new_width.saturating_mul(new_height) > 1 << 27 {
            return Err(PictureError::Input(format!(
                "a picture of {}x{} pixels is too large when `preprocess` resizes its shorter side \
                 to {}: {new_width}x{new_height}",
                picture.width,
                picture.height,
                new_width.min(new_height)
            )));
        }
        if (new_width, new_height) != (picture.width, picture.height) {
            picture = Cow::Owned(picture.resize(new_width, new_height));
        }
        if let Some((rows, columns)) = self.crop {
            picture = Cow::Owned(picture.center_crop(rows, columns));
        }
        if (picture.height, picture.width) != (height, width) {
            return Err(PictureError::Input(format!(
                "the picture is {}x{} (height x width) when the network takes {height}x{width}; \
                 give the table a `preprocess` with `resize` and `crop`",
                picture.height, picture.width
            )));
        }
        for (channel, plane) in input.chunks_exact_mut(height * width).enumerate() {
            let table = self.normalised(channel);
            let values = picture.pixels.iter().skip(channel).step_by(channels);
            for (value, &byte) in plane.iter_mut().zip(values) {
                *value = table[usize::from(byte)];
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
    pub fn check(&self, shape: [usize; 3]) -> Result<(), PictureError> {
        let [channels, height, width] = shape;
        let fail = |message: String| Err(PictureError::Input(message));
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
        if self.resize == Some(0) {
            return fail("`preprocess`: a picture cannot be resized to 0".into());
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

#[cfg(test)]
mod tests;
