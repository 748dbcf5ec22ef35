//! From images to inputs.

use library::Image;

use crate::arguments::{array, array_mut, object};
use crate::error::{Failure, Status, status};
use crate::network::Network;

/// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM file's `len` bytes, and prepares them as the table's
/// `preprocess` says: resized, cropped, normalised, as `input_len` floats of one image.
///
/// # Safety
///
/// `network` is NULL or not freed; `bytes` is NULL or points at `len` bytes, `input` NULL or at room for
/// `input_len` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_prepare_encoded(
    network: *const Network,
    bytes: *const u8,
    len: usize,
    input: *mut f32,
    input_len: usize,
) -> Status {
    status(|| {
        // SAFETY: each is NULL or valid, says the caller.
        let (network, bytes, input) = unsafe {
            (
                object(network, "network")?,
                array(bytes, len, "bytes")?,
                array_mut(input, input_len, "input")?,
            )
        };
        check_len(network, input)?;
        prepare(network, &Image::decode(bytes).map_err(Failure::other)?, input)
    })
}

/// Prepares pixels in memory, bytes in row, column, channel order without gaps, RGB (3 `channels`) or grey (1),
/// likewise.
///
/// # Safety
///
/// `network` is NULL or not freed; `pixels` is NULL or points at `height * width * channels` bytes, `input` NULL or
/// at room for `input_len` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn resnet_prepare_pixels(
    network: *const Network,
    pixels: *const u8,
    height: usize,
    width: usize,
    channels: usize,
    input: *mut f32,
    input_len: usize,
) -> Status {
    status(|| {
        let len = height.saturating_mul(width).saturating_mul(channels);
        // SAFETY: each is NULL or valid, says the caller.
        let (network, pixels, input) = unsafe {
            (
                object(network, "network")?,
                array(pixels, len, "pixels")?,
                array_mut(input, input_len, "input")?,
            )
        };
        check_len(network, input)?;
        let image = Image::new(width, height, channels, pixels.to_vec());
        prepare(network, &image.map_err(Failure::argument)?, input)
    })
}

/// Before anything is decoded.
fn check_len(network: &Network, input: &[f32]) -> Result<(), Failure> {
    let info = network.network.info();
    if input.len() == info.input_len() {
        return Ok(());
    }
    Err(Failure::argument(format!(
        "`input` has room for {} floats; an image of `{}` has {}",
        input.len(),
        info.name,
        info.input_len()
    )))
}

fn prepare(network: &Network, image: &Image, input: &mut [f32]) -> Result<(), Failure> {
    let shape = network.network.info().input;
    network.preprocess.apply_into(image, shape, input).map_err(Failure::other)
}
