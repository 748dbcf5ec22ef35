//! Pictures against what Pillow and torchvision make of them (`golden/make_pictures.py`).
#![cfg(feature = "image")]

use std::path::{Path, PathBuf};

use resnet_runtime::picture::{Picture, Preprocess};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Resizes and crops `name`, and compares every byte with the golden picture.
fn check(name: &str, mode: &str, resize: usize, height: usize, width: usize) {
    let picture = Picture::open(golden(&format!("{name}.png"))).unwrap();
    let expected =
        Picture::open(golden(&format!("{name}-{mode}-{resize}-{height}x{width}.png"))).unwrap();
    let channels = if mode == "L" { 1 } else { 3 };
    let preprocess =
        Preprocess { resize: Some(resize), crop: Some((height, width)), ..Preprocess::default() };
    let input = preprocess.apply(&picture, [channels, height, width]).unwrap();
    for (plane, values) in input.chunks_exact(height * width).enumerate() {
        for (pixel, value) in values.iter().enumerate() {
            let byte = expected.pixels()[pixel * 3 + plane];
            assert_eq!(
                *value,
                f32::from(byte) / 255.0,
                "{name} as {mode} to {resize}: channel {plane}, row {}, column {}",
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
fn a_crop_larger_than_the_picture_is_padded_with_black() {
    check("wide", "RGB", 7, 12, 11);
}

#[test]
fn normalising_agrees_with_torchvision_in_every_bit() {
    let preprocess = Preprocess {
        resize: Some(8),
        crop: Some((6, 5)),
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
    };
    let picture = Picture::open(golden("wide.png")).unwrap();
    let input = preprocess.apply(&picture, [3, 6, 5]).unwrap();
    let bytes = std::fs::read(golden("wide.normalised.f32")).unwrap();
    let expected: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(input, expected);
}

#[test]
fn exif_orientation_is_honoured() {
    let picture = Picture::open(golden("turned.jpg")).unwrap();
    let expected = Picture::open(golden("turned.expected.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (24, 40));
    assert_eq!((expected.width(), expected.height()), (24, 40));
    // JPEG decoders may round the inverse transform and the colours differently: a level or two.
    for (at, (found, wanted)) in picture.pixels().iter().zip(expected.pixels()).enumerate() {
        assert!(found.abs_diff(*wanted) <= 2, "byte {at}: {found}, Pillow has {wanted}");
    }
}
