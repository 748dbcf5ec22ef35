//! Images as Python has them.

use std::borrow::Cow;
use std::path::PathBuf;

use numpy::{PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use resnet::{Image as Decoded, Preprocess, Source};

use crate::arguments::{array as array_of, bytes, contiguous, tuple};

/// An image that is still to be decoded, or is.
pub(crate) enum Image {
    File(PathBuf),
    Bytes(Vec<u8>),
    Pixels(Decoded),
}

/// A path, a file's bytes, an array of `uint8` of shape `(H, W, C)` or `(H, W)`, or an image of Pillow's.
pub(crate) fn image(given: &Bound<'_, PyAny>) -> PyResult<Image> {
    if let Some(bytes) = bytes(given)? {
        return Ok(Image::Bytes(bytes));
    }
    if let Ok(path) = given.extract::<PathBuf>() {
        return Ok(Image::File(path));
    }
    let numpy = given.py().import("numpy")?;
    if given.is_instance(&numpy.getattr("ndarray")?)? {
        return pixels(given);
    }
    // Pillow's: its pixels as they are, in grey or in colours.
    if given.hasattr("convert")? && given.hasattr("mode")? {
        let mode: String = given.getattr("mode")?.extract()?;
        let converted = match mode.as_str() {
            "L" | "RGB" => given.clone(),
            "1" => given.call_method1("convert", ("L",))?,
            // Pillow would clip what is brighter than 255.
            "F" | "I" | "I;16" | "I;16B" | "I;16L" | "I;16N" => {
                return Err(PyTypeError::new_err(format!(
                    "an image of Pillow's mode {mode} has numbers of any size: make one of mode L or RGB, with \
                     values of 0 to 255"
                )));
            }
            _ => given.call_method1("convert", ("RGB",))?,
        };
        return pixels(&numpy.call_method1("asarray", (converted,))?);
    }
    Err(PyTypeError::new_err(format!(
        "an image is a path, the bytes of a file, a numpy array or an image of Pillow's, not {}",
        given.get_type().name()?
    )))
}

fn pixels(array: &Bound<'_, PyAny>) -> PyResult<Image> {
    let (array, dtype) = array_of(array)?;
    if dtype != "uint8" {
        return Err(PyTypeError::new_err(format!("the pixels of an image are uint8, not {dtype}")));
    }
    let array = contiguous::<u8>(&array)?;
    let (height, width, channels) = match *array.shape() {
        [height, width] => (height, width, 1),
        [height, width, channels @ (1 | 3)] => (height, width, channels),
        _ => {
            let hint = match *array.shape() {
                [1 | 3, _, _] => "; `x.transpose(1, 2, 0)` puts channels last",
                [_, _, 4] => "; `x[..., :3]` leaves the fourth channel out",
                [_, _, _, _] => "; a list of images is `list(x)`",
                _ => "",
            };
            return Err(PyValueError::new_err(format!(
                "an image has the shape (height, width, 3) or (height, width), not {}{hint}",
                tuple(array.shape())
            )));
        }
    };
    if height == 0 || width == 0 {
        let error = format!("an image of the shape {} has no pixels", tuple(array.shape()));
        return Err(PyValueError::new_err(error));
    }
    let pixels = array.readonly().as_slice()?.to_vec();
    Decoded::new(width, height, channels, pixels).map(Image::Pixels).map_err(crate::error::raise)
}

/// Images that a network is fed with.
pub(crate) struct Images<'a> {
    pub(crate) images: Vec<Image>,
    pub(crate) preprocess: &'a Preprocess,
    pub(crate) shape: [usize; 3],
}

impl Source for Images<'_> {
    type Error = String;

    fn len(&self) -> usize {
        self.images.len()
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, String> {
        let image = &self.images[index];
        let name = || match image {
            Image::File(path) => format!("`{}`", path.display()),
            Image::Bytes(_) | Image::Pixels(_) => format!("image {index}"),
        };
        let picture = image.decode().map_err(|error| format!("{}: {error}", name()))?;
        let prepared = self.preprocess.apply_into(&picture, self.shape, input);
        prepared.map(|()| None).map_err(|error| format!("{}: {error}", name()))
    }
}

impl Image {
    pub(crate) fn decode(&self) -> Result<Cow<'_, Decoded>, String> {
        match self {
            Self::File(path) => {
                let bytes = resnet_runtime::file::read(path).map_err(|error| error.to_string())?;
                Decoded::decode(&bytes).map(Cow::Owned)
            }
            Self::Bytes(bytes) => Decoded::decode(bytes).map(Cow::Owned),
            Self::Pixels(picture) => Ok(Cow::Borrowed(picture)),
        }
    }
}
