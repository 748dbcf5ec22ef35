//! From a file's bytes to RGB pixels.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use super::jpeg;
use super::size::{MOST_BYTES, check_size};

/// Longest side.
const LONGEST: u32 = 1 << 16;

/// The picture, and what is wrong with it, if pixels had to be made up; that is an error unless
/// `salvage` is set.
pub(super) fn decode(bytes: &[u8], salvage: bool) -> Result<(RgbImage, Option<String>), String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let (mut picture, orientation, damage) = if jpeg::is_jpeg(bytes) {
        let found = jpeg::decode(bytes, salvage)?;
        let orientation = found.exif.as_deref().and_then(Orientation::from_exif_chunk);
        let rgb = RgbImage::from_raw(found.width as u32, found.height as u32, found.pixels);
        let rgb = rgb.ok_or("the picture is empty")?;
        (DynamicImage::from(rgb), orientation, found.damage)
    } else {
        let (picture, orientation) = other(bytes)?;
        (picture, Some(orientation), None)
    };
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok((to_rgb(picture)?, damage))
}

/// Decodes what is no JPEG.
fn other(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    const KNOWN: &str = "JPEG, PNG, WebP, GIF, BMP, TIFF or PNM";
    let text = |error: image::ImageError| describe(&error);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    limits.max_image_width = Some(LONGEST);
    limits.max_image_height = Some(LONGEST);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    match reader.format() {
        None => return Err(format!("it is no picture of a known format ({KNOWN})")),
        Some(format) if !format.reading_enabled() => {
            let name = format.extensions_str().first().unwrap_or(&"unknown");
            return Err(format!("it is a picture of the format `{name}`; read are {KNOWN}"));
        }
        Some(_) if is_cut_webp(bytes) => return Err("the file is truncated".into()),
        Some(_) => {}
    }
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(text)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err("the picture is empty".into());
    }
    check_size(width as usize, height as usize)?;
    if decoder.total_bytes() > MOST_BYTES {
        return Err(format!("{width}x{height} is too large: more than 512 MiB decoded"));
    }
    let orientation = decoder.orientation().map_err(text)?;
    Ok((DynamicImage::from_decoder(decoder).map_err(text)?, orientation))
}

/// Calls it truncated where the decoder ran out of bytes.
fn describe(error: &image::ImageError) -> String {
    // Decoders wrap what the reader said, each in its own way.
    const ENDS: [&str; 3] =
        ["failed to fill whole buffer", "unexpected end of file", "unexpected eof"];
    let text = error.to_string();
    let lower = text.to_lowercase();
    match ENDS.iter().any(|end| lower.contains(end)) {
        true => format!("the file is truncated ({text})"),
        false => text,
    }
}

/// Whether a WebP file is shorter than its header says. Its decoder goes on with zeros over the last
/// bytes.
fn is_cut_webp(bytes: &[u8]) -> bool {
    let [b'R', b'I', b'F', b'F', a, b, c, d, b'W', b'E', b'B', b'P', ..] = *bytes else {
        return false;
    };
    bytes.len() < (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(8)
}

/// Eight bits a channel, and no alpha: the colour that is stored, as Pillow's `convert("RGB")` has
/// it. Of 16 bits the upper 8 count.
fn to_rgb(picture: DynamicImage) -> Result<RgbImage, String> {
    let high = |deep: image::ImageBuffer<image::Rgb<u16>, Vec<u16>>| {
        let (width, height) = deep.dimensions();
        let bytes = deep.into_raw().into_iter().map(|value| (value >> 8) as u8).collect();
        RgbImage::from_raw(width, height, bytes).ok_or_else(|| "the picture is empty".to_owned())
    };
    match picture {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            Err("pixels in floating point are not read: what is white is not known".into())
        }
        DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_)
        | DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_) => high(picture.into_rgb16()),
        picture => Ok(picture.into_rgb8()),
    }
}

/// The endings of picture files' names that are read.
pub const EXTENSIONS: &[&str] =
    &["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pbm", "pgm", "ppm", "pnm"];
