//! The file of answers: written beside its place, and put there when it is whole.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

pub(crate) struct Output {
    path: PathBuf,
    file: NamedTempFile,
    writer: ArrowWriter<std::fs::File>,
}

/// Whether answers can be put at `path`.
pub(crate) fn check(path: &Path, force: bool) -> Result<()> {
    let shown = path.display();
    ensure!(!path.is_dir(), "`{shown}` is a folder; the output is a file");
    ensure!(force || !path.exists(), "`{shown}` is there already; `--force` replaces it");
    Ok(())
}

impl Output {
    pub(crate) fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".resnet-answers-");
        // As any file that is made; a temporary one would be its owner's alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot write beside `{}`", path.display()))?;
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let writer = ArrowWriter::try_new(file.reopen()?, schema, Some(properties))?;
        Ok(Self { path: path.to_owned(), file, writer })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(rows)?)
    }

    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, file, writer } = self;
        writer.close()?;
        file.as_file().sync_all()?;
        file.persist(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(())
    }
}
