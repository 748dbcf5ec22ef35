//! Pictures against what Pillow and torchvision make of them (`golden/make_pictures.py`).
#![cfg(feature = "image")]

use std::path::{Path, PathBuf};

use resnet_runtime::picture::{Filter, Image, Preprocess, Resize};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Resizes and crops `name`, and compares every byte with the golden picture.
fn check(name: &str, mode: &str, resize: usize, height: usize, width: usize) {
    let picture = Image::open(golden(&format!("{name}.png"))).unwrap();
    let expected =
        Image::open(golden(&format!("{name}-{mode}-{resize}-{height}x{width}.png"))).unwrap();
    let channels = if mode == "L" { 1 } else { 3 };
    let resize = Some(Resize::Shorter(resize));
    let preprocess = Preprocess { resize, crop: Some((height, width)), ..Preprocess::default() };
    let input = preprocess.apply(&picture, [channels, height, width]).unwrap();
    for (plane, values) in input.chunks_exact(height * width).enumerate() {
        for (pixel, value) in values.iter().enumerate() {
            let byte = expected.pixels()[pixel * 3 + plane];
            assert_eq!(
                *value,
                f32::from(byte) / 255.0,
                "{name} as {mode} to {resize:?}: channel {plane}, row {}, column {}",
                pixel / width,
                pixel % width
            );
        }
    }
}

#[test]
fn resizing_agrees_with_pillow_in_every_bit() {
    check("wide", "RGB", 20, 20, 20);
    check("wide", "RGB", 21, 16, 19);
    check("wide", "RGB", 53, 53, 60);
    check("wide", "RGB", 37, 37, 45);
    check("wide", "L", 20, 18, 21);
    check("tall", "RGB", 16, 24, 16);
    check("tall", "L", 30, 29, 27);
}

#[test]
fn every_filter_agrees_with_pillow_in_every_bit() {
    let picture = Image::open(golden("wide.png")).unwrap();
    for filter in Filter::ALL {
        for (width, height) in [(19, 16), (53, 41)] {
            let name = format!("resized/{filter}-{width}x{height}.png");
            let expected = Image::open(golden(&name)).unwrap();
            assert_eq!(picture.resize(width, height, filter), expected, "{name}");
        }
    }
}

#[test]
fn a_part_is_the_part_of_the_whole() {
    let picture = Image::open(golden("wide.png")).unwrap();
    for filter in Filter::ALL {
        let resize = Some(Resize::Exact(31, 50));
        let all = Preprocess { resize, filter, ..Preprocess::default() };
        let part = Preprocess { crop: Some((9, 12)), ..all.clone() };
        let all = all.apply(&picture, [3, 31, 50]).unwrap();
        let part = part.apply(&picture, [3, 9, 12]).unwrap();
        for (at, value) in part.iter().enumerate() {
            let (plane, row, column) = (at / 108, at / 12 % 9, at % 12);
            assert_eq!(*value, all[(plane * 31 + row + 11) * 50 + column + 19], "{filter}, {at}");
        }
    }
}

#[test]
fn a_crop_larger_than_the_picture_is_padded_with_black() {
    check("wide", "RGB", 7, 12, 11);
}

#[test]
fn normalising_agrees_with_torchvision_in_every_bit() {
    let preprocess = Preprocess {
        resize: Some(Resize::Shorter(8)),
        crop: Some((6, 5)),
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
        ..Preprocess::default()
    };
    let picture = Image::open(golden("wide.png")).unwrap();
    let input = preprocess.apply(&picture, [3, 6, 5]).unwrap();
    let bytes = std::fs::read(golden("wide.normalised.f32")).unwrap();
    let expected: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(input, expected);
}

#[test]
fn exif_orientation_is_honoured() {
    let picture = Image::open(golden("turned.jpg")).unwrap();
    let expected = Image::open(golden("turned.expected.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (24, 40));
    assert_eq!((expected.width(), expected.height()), (24, 40));
    assert_eq!(picture, expected);
}

const JPEGS: [&str; 10] = [
    "411",
    "420",
    "422",
    "440",
    "444",
    "cmyk",
    "grey",
    "grey-progressive",
    "progressive",
    "restart",
];

fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(golden(&format!("jpeg/{name}.jpg"))).unwrap()
}

#[test]
fn jpeg_agrees_with_pillow_in_every_bit() {
    for name in JPEGS {
        let expected = Image::open(golden(&format!("jpeg/{name}.png"))).unwrap();
        assert_eq!(Image::decode(&jpeg(name)).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_jpeg_that_is_cut_anywhere_is_truncated() {
    for name in JPEGS {
        let whole = jpeg(name);
        let expected = Image::decode(&whole).unwrap();
        for len in 4..whole.len() - 2 {
            let message = Image::decode(&whole[..len]).expect_err(name);
            assert!(message.contains("truncated"), "{name} cut to {len}: {message}");
            // Some programs end the file in the middle of the data.
            let ended = [&whole[..len], b"\xff\xd9"].concat();
            assert!(Image::decode(&ended).is_err() || len + 3 > whole.len() - 2, "{name}, {len}");
        }
        // The end's marker says nothing of the picture, and neither does what follows it.
        assert_eq!(Image::decode(&whole[..whole.len() - 2]).unwrap(), expected, "{name}");
        assert_eq!(Image::decode(&[&whole[..], b"more"].concat()).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_jpeg_that_goes_on_in_zeros_is_damaged() {
    let mut bytes = jpeg("444");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    let message = Image::decode(&bytes).unwrap_err();
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn what_is_left_of_a_jpeg_can_be_had() {
    let whole = jpeg("420");
    let (picture, damage) = Image::salvage(&whole[..whole.len() * 9 / 10]).unwrap();
    assert!(damage.unwrap().contains("truncated"));
    // The first rows of blocks are whole, but for chroma that leans on the next.
    let expected = Image::decode(&whole).unwrap();
    let rows = 15 * expected.width() * 3;
    assert_eq!(picture.pixels()[..rows], expected.pixels()[..rows]);
    assert_eq!(Image::salvage(&whole).unwrap(), (expected, None));
}

#[test]
fn no_byte_of_a_jpeg_brings_the_decoder_down() {
    for name in JPEGS {
        let whole = jpeg(name);
        for at in 0..whole.len() {
            for bits in [0x01, 0x10, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= bits;
                // Another width or height may be a picture too, and a large one.
                if let Ok(picture) = Image::decode(&bytes) {
                    assert!(picture.width() > 0 && picture.height() > 0);
                }
            }
        }
    }
}
