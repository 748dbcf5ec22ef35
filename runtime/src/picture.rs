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
mod preprocess;
mod resample;
#[cfg(feature = "image")]
mod size;

#[cfg(feature = "image")]
use std::path::Path;

#[cfg(feature = "image")]
pub use self::decode::EXTENSIONS;
pub use self::preprocess::{Channels, Preprocess, Resize};
pub use self::resample::Filter;
use self::resample::Window;

/// An 8-bit picture, its channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "image")]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

/// Why a picture could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
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
    /// A picture of a file that preprocessing cannot take.
    #[error("cannot use `{path}`: {reason}")]
    Unusable {
        /// The path as it was given.
        path: String,
        /// Why.
        reason: String,
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
pub fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let failed = |reason| ImageError::Read { path: path.display().to_string(), reason };
    crate::file::read(path).map_err(|error| failed(error.to_string()))
}

impl Image {
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
    ) -> Result<Self, ImageError> {
        let expected = width.saturating_mul(height).saturating_mul(channels);
        if expected == 0 || pixels.len() != expected || !matches!(channels, 1 | 3) {
            let found = pixels.len();
            return Err(ImageError::Pixels { width, height, channels, found, expected });
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
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        Self::decode(&read(path)?)
            .map_err(|reason| ImageError::Decode { path: path.display().to_string(), reason })
    }

    /// [`Image::open`] for bytes in memory; the error is the decoder's message.
    ///
    /// # Errors
    ///
    /// As [`Image::open`].
    #[cfg(feature = "image")]
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::from_rgb(decode::decode(bytes, false)?.0)
    }

    /// [`Image::decode`] for a picture that may be damaged: where a JPEG lacks data, grey or what
    /// can be told from the rest stands for it, and the text says what is wrong.
    ///
    /// # Errors
    ///
    /// As [`Image::open`], where nothing can be saved.
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

    /// The picture at another size, as Pillow resizes it.
    ///
    /// # Panics
    ///
    /// If a side of the new size is zero.
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Self {
        assert!(width > 0 && height > 0, "a picture has at least one pixel");
        let window = Window { size: (width, height), rows: 0..height, columns: 0..width };
        let pixels = resample::resample(self, &window, filter, true);
        Self { width, height, channels: self.channels, pixels }
    }
}

#[cfg(test)]
mod tests;
