use super::preprocess::Crop;
use super::*;

fn grey(width: usize, height: usize) -> Image {
    let pixels = (0..width * height).map(|i| (i * 7 % 256) as u8).collect();
    Image::new(width, height, 1, pixels).unwrap()
}

fn fails(preprocess: Preprocess, picture: &Image, shape: [usize; 3], expected: &str) {
    let message = preprocess.apply(picture, shape).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_longer_side_is_rounded_down() {
    let resized = |resize, width, height| {
        Preprocess { resize: Some(Resize::Shorter(resize)), ..Preprocess::default() }
            .resized(width, height)
    };
    assert_eq!(resized(256, 500, 375), (341, 256));
    assert_eq!(resized(256, 375, 500), (256, 341));
    assert_eq!(resized(256, 100, 100), (256, 256));
    assert_eq!(resized(1, 3, 2), (1, 1));
}

#[test]
fn the_crop_starts_where_python_rounds() {
    for (size, crop, from, to, len) in
        [(9, 8, 0, 0, 8), (11, 8, 2, 0, 8), (13, 8, 2, 0, 8), (8, 8, 0, 0, 8), (5, 8, 0, 1, 5)]
    {
        let found = Crop::of(size, crop);
        assert_eq!((found.from, found.to, found.len), (from, to, len), "{size} to {crop}");
    }
}

#[test]
fn a_flat_picture_stays_flat_at_any_size() {
    let picture = Image::new(13, 7, 3, vec![200; 13 * 7 * 3]).unwrap();
    for (width, height) in [(1, 1), (5, 7), (13, 3), (40, 50)] {
        for filter in Filter::ALL {
            let resized = picture.resize(width, height, filter);
            assert!(resized.pixels().iter().all(|&p| p == 200), "{filter}");
        }
    }
    assert_eq!(picture.resize(13, 7, Filter::Lanczos), picture);
}

#[test]
fn grey_and_colour_fit_either_network() {
    let picture = grey(4, 4);
    let plain = Preprocess::default();
    let planes = plain.apply(&picture, [3, 4, 4]).unwrap();
    assert_eq!(planes[..16], planes[32..]);
    assert_eq!(planes[..16], plain.apply(&picture, [1, 4, 4]).unwrap());
    let red = Image::new(1, 1, 3, vec![255, 0, 0]).unwrap();
    assert_eq!(red.to_grey().pixels(), [76]);
}

#[test]
fn a_thread_of_pixels_costs_what_its_crop_does() {
    let thin = Image::new(60_000, 1, 1, vec![9; 60_000]).unwrap();
    let resize = Some(Resize::Shorter(1 << 20));
    let preprocess = Preprocess { resize, crop: Some((5, 5)), ..Preprocess::default() };
    assert_eq!(preprocess.apply(&thin, [1, 5, 5]).unwrap(), [9.0 / 255.0; 25]);
}

#[test]
fn blue_may_come_first() {
    let picture = Image::new(1, 1, 3, vec![255, 51, 0]).unwrap();
    let bgr =
        Preprocess { channels: Channels::Bgr, mean: vec![0.0, 0.2, 0.5], ..Preprocess::default() };
    assert_eq!(bgr.apply(&picture, [3, 1, 1]).unwrap(), [0.0, 0.0, 0.5]);
}

#[test]
fn what_does_not_fit_is_explained() {
    let picture = grey(4, 4);
    let plain = Preprocess::default;
    fails(plain(), &picture, [4, 4, 4], "--input X.npy");
    fails(plain(), &picture, [3, 8, 8], "is 4x4 (height x width) when the network takes 8x8");
    let crop = Some((2, 2));
    fails(Preprocess { crop, ..plain() }, &picture, [3, 4, 4], "crops to 2x2");
    fails(Preprocess { mean: vec![0.0; 2], ..plain() }, &picture, [3, 4, 4], "2 values of `mean`");
    fails(Preprocess { std: vec![0.0], ..plain() }, &picture, [3, 4, 4], "it cannot be 0");
    fails(Preprocess { std: vec![f32::NAN], ..plain() }, &picture, [3, 4, 4], "is not finite");
    let resize = Some(Resize::Shorter(0));
    fails(Preprocess { resize, ..plain() }, &picture, [3, 4, 4], "resized to 0");
    let lanczos = Preprocess { filter: Filter::Lanczos, antialias: false, ..plain() };
    fails(lanczos, &picture, [3, 4, 4], "`lanczos` is not");
    let message = Image::new(2, 2, 3, vec![0; 5]).unwrap_err().to_string();
    assert_eq!(message, "a picture of 2x2 with 3 channels has 5 bytes; 12 are expected");
    assert!(plain().apply_into(&picture, [1, 4, 4], &mut [0.0; 3]).is_err());
}

#[cfg(feature = "image")]
mod decode {
    use std::io::Cursor;

    use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};

    use super::*;

    fn encoded(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn reads_grey_pictures_of_every_format() {
        let deep = ImageBuffer::from_pixel(3, 2, Luma([0x80ff_u16]));
        let grey = ImageBuffer::from_pixel(3, 2, Luma([128_u8]));
        let rgb = DynamicImage::ImageLuma8(grey).to_rgb8();
        let mut files = vec![encoded(DynamicImage::ImageLuma16(deep), ImageFormat::Png)];
        for format in [
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Gif,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::Pnm,
        ] {
            files.push(encoded(DynamicImage::ImageRgb8(rgb.clone()), format));
        }
        for bytes in files {
            let picture = Image::decode(&bytes).unwrap();
            assert_eq!((picture.width(), picture.height(), picture.channels()), (3, 2, 3));
            assert!(picture.pixels().iter().all(|&p| p == 128), "{:?}", picture.pixels());
        }
    }

    #[test]
    fn bad_bytes_are_an_error() {
        assert_eq!(Image::decode(b"").unwrap_err(), "the file is empty");
        assert!(Image::decode(b"hello, world").unwrap_err().contains("JPEG, PNG, WebP"));
        let avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf";
        assert!(Image::decode(avif).unwrap_err().contains("of the format `avif`"));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_truncated() {
        let pixels = ImageBuffer::from_fn(16, 16, |x, y| image::Rgb([(x * y) as u8, x as u8, 7]));
        for format in [
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Gif,
            ImageFormat::Bmp,
            ImageFormat::Tiff,
            ImageFormat::Pnm,
        ] {
            let whole = encoded(DynamicImage::ImageRgb8(pixels.clone()), format);
            // What ends PNG and GIF files is not missed.
            for len in 1..whole.len() - 12 {
                let message = Image::decode(&whole[..len]).expect_err("an error");
                let told = len < 64 || message.contains("truncated");
                assert!(told, "{format:?} cut to {len}: {message}");
            }
        }
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        // A valid PNG header that claims 60000 x 60000 pixels.
        let mut bytes = encoded(DynamicImage::new_rgb8(1, 1), ImageFormat::Png);
        bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let crc = !bytes[12..29].iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| {
                (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
            })
        });
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let message = Image::decode(&bytes).unwrap_err();
        assert!(message.contains("512 MiB") || message.contains("limit"), "{message}");
    }

    #[test]
    fn open_names_the_path() {
        let message = Image::open("no/such.png").unwrap_err().to_string();
        assert_eq!(message, "cannot read the picture `no/such.png`: there is no such file");
        let message = Image::open(env!("CARGO_MANIFEST_DIR")).unwrap_err().to_string();
        assert!(message.contains("it is a folder"), "{message}");
    }
}
