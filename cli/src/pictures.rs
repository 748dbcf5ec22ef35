//! Inputs from pictures and from arrays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use resnet::{ImageFile, Images, Source};
use resnet_runtime::picture::EXTENSIONS;
use walkdir::{DirEntry, WalkDir};

use crate::npy;
use crate::stdin::{self, is_stdin};

/// A picture to be read when its turn comes; from standard input, of which there is one, at once.
pub(crate) fn picture(path: &Path) -> Result<ImageFile> {
    if !is_stdin(path) {
        return Ok(ImageFile::Path(path.to_owned()));
    }
    let bytes = stdin::bytes().context("cannot read a picture from standard input")?;
    Ok(ImageFile::Bytes { name: "-".to_owned(), bytes })
}

/// The files among `paths` as they stand, and the pictures in its folders, sorted.
pub(crate) fn gather(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !is_stdin(path) && path.is_dir() {
            let mut found = Found::default();
            found.walk(path)?;
            if found.paths.is_empty() {
                bail!(
                    "there are no pictures in `{}`{}",
                    path.display(),
                    found.left_out_for_error()
                );
            }
            found.note(path);
            files.append(&mut found.paths);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The pictures in folders, and what was left out.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) paths: Vec<PathBuf>,
    /// Files whose names are no picture's, by their endings.
    others: BTreeMap<String, usize>,
    /// Files and folders whose names begin with a dot.
    hidden: usize,
    /// Links to nothing, or to a folder that they are in.
    links: usize,
}

impl Found {
    /// Adds the pictures in a folder and the folders inside, sorted by name.
    pub(crate) fn walk(&mut self, folder: &Path) -> Result<()> {
        let mut entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if leads_nowhere(&error) => {
                    self.links += 1;
                    continue;
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read the folder `{}`", folder.display()));
                }
            };
            let is_folder = entry.file_type().is_dir();
            if entry.depth() > 0 && is_hidden(&entry) {
                self.hidden += 1;
                if is_folder {
                    entries.skip_current_dir();
                }
            } else if entry.file_type().is_file() && is_picture(entry.path()) {
                self.paths.push(entry.into_path());
            } else if !is_folder {
                let kind = ending(entry.path()).map_or("no ending".into(), |e| format!(".{e}"));
                *self.others.entry(kind).or_default() += 1;
            }
        }
        Ok(())
    }

    /// How many files, folders and links were left out.
    pub(crate) fn skipped(&self) -> usize {
        self.others.values().sum::<usize>() + self.hidden + self.links
    }

    /// How many files and links were left out, and of which kinds; `None`: none.
    fn left_out(&self) -> Option<String> {
        const SHOWN: usize = 8;
        let mut parts = Vec::new();
        let others: usize = self.others.values().sum();
        if others > 0 {
            let kinds: Vec<&str> = self.others.keys().take(SHOWN).map(String::as_str).collect();
            let more = if self.others.len() > SHOWN { ", …" } else { "" };
            let files = if others == 1 { "1 file" } else { &format!("{others} files") };
            parts.push(format!("{files} of other kinds ({}{more})", kinds.join(", ")));
        }
        if self.hidden > 0 {
            parts.push(format!("{} hidden", self.hidden));
        }
        if self.links > 0 {
            let links = if self.links == 1 { "1 link" } else { &format!("{} links", self.links) };
            parts.push(format!("{links} to nothing or to a folder around it"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// The same to stand behind a message.
    fn left_out_for_error(&self) -> String {
        let known = EXTENSIONS.join(", .");
        match self.left_out() {
            Some(left_out) => format!(": {left_out} were skipped; pictures end in .{known}"),
            None => format!("; pictures end in .{known}"),
        }
    }

    /// Says what was left out.
    pub(crate) fn note(&self, folder: &Path) {
        if let Some(left_out) = self.left_out() {
            crate::voice::note!("skipped in `{}`: {left_out}", folder.display());
        }
    }
}

/// A link to nothing, or in a circle.
fn leads_nowhere(error: &walkdir::Error) -> bool {
    error.loop_ancestor().is_some()
        || error.path().is_some_and(|path| path.is_symlink())
            && error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn ending(path: &Path) -> Option<String> {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase())
}

/// Whether the name is that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    ending(path).is_some_and(|ending| EXTENSIONS.contains(&&*ending))
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

impl Array {
    /// What messages call an input.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.path.display())
    }
}

impl Source for Array {
    type Error = anyhow::Error;

    fn len(&self) -> usize {
        self.len
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>> {
        // Every read seeks first, so a reader that another thread left halfway is as good as new.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader
            .read(index * input.len(), input)
            .with_context(|| format!("cannot read `{}`", self.path.display()))?;
        // In 8 bits they would become a number, and the answer would not show it.
        let count = input.iter().filter(|value| !value.is_finite()).count();
        Ok((count > 0).then(|| {
            format!(
                "`{}` has {count} of {} values that are not finite",
                self.name(index),
                input.len()
            )
        }))
    }
}

/// What the network is fed with.
pub(crate) enum Inputs {
    Images(Images),
    Array(Array),
}

impl Inputs {
    /// What messages call an input.
    pub(crate) fn name(&self, index: usize) -> String {
        match self {
            Self::Images(pictures) => pictures.name(index),
            Self::Array(array) => array.name(index),
        }
    }
}

impl Source for Inputs {
    type Error = anyhow::Error;

    fn len(&self) -> usize {
        match self {
            Self::Images(pictures) => pictures.len(),
            Self::Array(array) => array.len(),
        }
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>> {
        match self {
            Self::Images(pictures) => Ok(pictures.load(index, input)?),
            Self::Array(array) => array.load(index, input),
        }
    }
}
