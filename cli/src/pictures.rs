//! Inputs from pictures and from arrays.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use resnet::runtime::picture::{Picture, Preprocess};
use walkdir::WalkDir;

use crate::feed::Source;
use crate::npy;

/// Pictures in files.
pub(crate) struct Pictures {
    pub(crate) paths: Vec<PathBuf>,
    preprocess: Preprocess,
    shape: [usize; 3],
}

impl Pictures {
    /// Pictures for a network whose input is `shape`; fails if no picture can ever fit.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        preprocess: Preprocess,
        shape: [usize; 3],
    ) -> Result<Self> {
        preprocess.check(shape)?;
        Ok(Self { paths, preprocess, shape })
    }
}

impl Source for Pictures {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn name(&self, index: usize) -> String {
        self.paths[index].display().to_string()
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<()> {
        let path = &self.paths[index];
        let picture = Picture::open(path)?;
        self.preprocess
            .apply_into(&picture, self.shape, input)
            .with_context(|| format!("cannot use `{}`", path.display()))
    }
}

/// The files among `paths` as they stand, and the pictures in its folders, sorted.
pub(crate) fn gather(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let inside = pictures_in(path)?;
            if inside.is_empty() {
                bail!("there are no pictures (.jpg, .jpeg, .png, .webp) in `{}`", path.display());
            }
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The pictures in a folder and the folders inside, sorted by name.
pub(crate) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry =
            entry.with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
        if entry.file_type().is_file() && is_picture(entry.path()) {
            pictures.push(entry.into_path());
        }
    }
    Ok(pictures)
}

/// Whether the name is that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    ["jpg", "jpeg", "png", "webp"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Inputs in an array of a `.npy` file.
pub(crate) struct Array {
    path: PathBuf,
    reader: Mutex<npy::Reader>,
    len: usize,
}

impl Array {
    /// Opens an array of inputs of `shape`: `N x C x H x W` or `C x H x W`.
    pub(crate) fn open(path: &Path, shape: [usize; 3]) -> Result<Self> {
        let reader = npy::Reader::open(path)?;
        let len = match *reader.shape() {
            [n, c, h, w] if [c, h, w] == shape => n,
            [c, h, w] if [c, h, w] == shape => 1,
            ref found => {
                let [c, h, w] = shape;
                bail!(
                    "`{}` has the shape {found:?}; the network takes [N, {c}, {h}, {w}] or \
                     [{c}, {h}, {w}]",
                    path.display()
                )
            }
        };
        ensure!(len > 0, "there are no pictures in `{}`", path.display());
        Ok(Self { path: path.to_owned(), reader: Mutex::new(reader), len })
    }
}

impl Source for Array {
    fn len(&self) -> usize {
        self.len
    }

    fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.path.display())
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<()> {
        // Every read seeks first, so a reader that another thread left halfway is as good as new.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader
            .read(index * input.len(), input)
            .with_context(|| format!("cannot read `{}`", self.path.display()))
    }
}
