//! Images and classes in a `.npz` file.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use npyz::{NpyFile, Order, TypeChar};
use resnet::Image;
use resnet::train::InMemory;
use resnet_runtime::file::open_stream;
use zip::ZipArchive;

/// Reads the images, bytes in an array of four dimensions, and their classes, integers in one of one dimension or
/// with one column.
pub(super) fn read(path: &Path) -> Result<InMemory> {
    of(path).with_context(|| format!("cannot read images from `{}`", path.display()))
}

fn of(path: &Path) -> Result<InMemory> {
    let file = std::io::BufReader::new(open_stream(path)?);
    let mut archive =
        ZipArchive::new(file).context("it is no .npz file (NumPy's `savez` writes them)")?;
    let (mut images, mut classes) = (None, None);
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let name = entry.name()?.trim_end_matches(".npy").to_owned();
        let array = NpyFile::new(entry).with_context(|| {
            format!(
                "`{name}` cannot be read (`savez` writes what can, `savez_compressed` does not)"
            )
        })?;
        let shape: Vec<usize> = array.shape().iter().map(|&extent| extent as usize).collect();
        let dtype = array.dtype().descr();
        found.push(format!("`{name}` {dtype} {shape:?}"));
        let is_many = shape.iter().skip(1).any(|&extent| extent > 1);
        if shape.len() == 4 && images.is_none() {
            ensure!(array.order() == Order::C, "`{name}` is in Fortran order");
            ensure!(
                is(&array, TypeChar::Uint) && array.dtype().num_bytes() == Some(1),
                "`{name}` has elements of {dtype}; bytes (uint8) are expected, as images have them"
            );
            images = Some((shape, array.into_vec::<u8>()?));
        } else if !shape.is_empty() && !is_many && classes.is_none() {
            classes = Some(integers(array, &name)?);
        } else {
            bail!("`{name}` is neither images nor classes; the arrays are {}", found.join(", "));
        }
    }
    let (Some((shape, pixels)), Some(classes)) = (images, classes) else {
        bail!(
            "an array of images, N x H x W x 3, and one of their classes are expected; the arrays are {}",
            found.join(", ")
        );
    };
    let [count, height, width, channels] = shape[..] else { bail!("images have four dimensions") };
    ensure!(
        matches!(channels, 1 | 3),
        "the images are {shape:?}; N x H x W x 3, or x 1, is expected (`x.transpose(0, 2, 3, 1)` makes it of N x 3 x H x W)"
    );
    ensure!(count == classes.len(), "there are {count} images and {} classes", classes.len());
    let mut data = InMemory::default();
    for (pixels, class) in pixels.chunks(height * width * channels).zip(classes) {
        data.push(Image::new(width, height, channels, pixels.to_vec())?, class);
    }
    Ok(data)
}

fn is<R: std::io::Read>(array: &NpyFile<R>, kind: TypeChar) -> bool {
    matches!(array.dtype(), npyz::DType::Plain(plain) if plain.type_char() == kind)
}

fn integers<R: std::io::Read>(array: NpyFile<R>, name: &str) -> Result<Vec<usize>> {
    let bytes = array.dtype().num_bytes();
    let class = |class: i64| {
        usize::try_from(class).with_context(|| format!("`{name}` has the class {class}"))
    };
    let values: Vec<i64> = match (is(&array, TypeChar::Uint), bytes) {
        (true, Some(1)) => array.into_vec::<u8>()?.into_iter().map(i64::from).collect(),
        (true, Some(2)) => array.into_vec::<u16>()?.into_iter().map(i64::from).collect(),
        (true, Some(4)) => array.into_vec::<u32>()?.into_iter().map(i64::from).collect(),
        (false, Some(1)) if is(&array, TypeChar::Int) => {
            array.into_vec::<i8>()?.into_iter().map(i64::from).collect()
        }
        (false, Some(2)) if is(&array, TypeChar::Int) => {
            array.into_vec::<i16>()?.into_iter().map(i64::from).collect()
        }
        (false, Some(4)) if is(&array, TypeChar::Int) => {
            array.into_vec::<i32>()?.into_iter().map(i64::from).collect()
        }
        (false, Some(8)) if is(&array, TypeChar::Int) => array.into_vec::<i64>()?,
        _ => bail!("`{name}` has elements of {}; integers are expected", array.dtype().descr()),
    };
    values.into_iter().map(class).collect()
}
