//! What there is to classify: Parquet with a column of pictures, or a folder of pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use resnet_runtime::picture::EXTENSIONS;
use tempfile::TempDir;
use walkdir::WalkDir;

/// Parquet files with a column of pictures.
pub(crate) struct Pictures {
    /// A file, or a folder of files.
    pub(crate) parquet: PathBuf,
    pub(crate) column: String,
    /// Where a folder's paths are written to, until the query ends.
    _paths: Option<TempDir>,
}

/// The column of paths, where pictures are files.
const PATH: &str = "path";

impl Pictures {
    /// What is at `input`; of a folder of pictures the paths are written beside `output`, in `pieces` files, which
    /// executors read as they read the pictures.
    pub(crate) fn find(input: &Path, column: &str, output: &Path, pieces: usize) -> Result<Self> {
        let shown = input.display();
        let input = input.canonicalize().with_context(|| format!("cannot read `{shown}`"))?;
        if input.is_file() || ends_in_parquet(&input)? {
            return Ok(Self { parquet: input, column: column.to_owned(), _paths: None });
        }
        let paths = walk(&input)?;
        ensure!(
            !paths.is_empty(),
            "there are neither Parquet files nor pictures in `{shown}`; pictures end in .{}",
            EXTENSIONS.join(", .")
        );
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = tempfile::Builder::new()
            .prefix(".resnet-paths-")
            .tempdir_in(folder.unwrap_or(Path::new(".")))
            .context("cannot write the paths of the pictures beside the output")?;
        for (piece, paths) in paths.chunks(paths.len().div_ceil(pieces)).enumerate() {
            write(&folder.path().join(format!("{piece:06}.parquet")), paths)?;
        }
        let parquet = folder.path().canonicalize()?;
        Ok(Self { parquet, column: PATH.to_owned(), _paths: Some(folder) })
    }
}

/// Whether a folder has Parquet files in it.
fn ends_in_parquet(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        if entry?.path().extension().is_some_and(|ending| ending == "parquet") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The paths of all pictures in a folder and the folders inside, sorted.
fn walk(folder: &Path) -> Result<Vec<String>> {
    let (mut paths, mut others) = (Vec::new(), 0);
    let hidden = |entry: &walkdir::DirEntry| {
        entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| !hidden(entry)) {
        let entry = entry?;
        let ending = entry.path().extension().map(|e| e.to_string_lossy().to_lowercase());
        if !entry.file_type().is_file() {
            continue;
        }
        if !ending.is_some_and(|ending| EXTENSIONS.contains(&&*ending)) {
            others += 1;
            continue;
        }
        match entry.into_path().into_os_string().into_string() {
            Ok(path) => paths.push(path),
            Err(path) => bail!("the path `{}` is no UTF-8, and cannot be sent", path.display()),
        }
    }
    if others > 0 {
        eprintln!("note: skipped in `{}`: {others} files of other kinds", folder.display());
    }
    Ok(paths)
}

fn write(file: &Path, paths: &[String]) -> Result<()> {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(paths));
    let rows = RecordBatch::try_from_iter([(PATH, column)])?;
    let mut writer = ArrowWriter::try_new(fs::File::create(file)?, rows.schema(), None)?;
    writer.write(&rows)?;
    writer.close()?;
    Ok(())
}
