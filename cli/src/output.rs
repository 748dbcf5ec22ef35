//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tempfile::NamedTempFile;

/// Prints a value as JSON, on lines of their own.
pub(crate) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// A file that is being written. Until [`Output::finish`] the old file of that name is untouched;
/// if writing fails, it stays.
pub(crate) struct Output {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    /// Renamed to the file's name at the end.
    Temporary(BufWriter<NamedTempFile>),
    /// A device or a pipe, which cannot be replaced.
    Direct(BufWriter<File>),
}

impl Output {
    /// Prepares to write `path`. Refuses a path that is one of `inputs`, however it is spelt.
    pub(crate) fn create<'a>(
        path: &Path,
        inputs: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let shown = path.display();
        // Through a link its target is replaced, not the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for input in inputs {
            if input.canonicalize().is_ok_and(|input| input == target) {
                bail!("`{shown}` would be written over the input `{}`", input.display());
            }
        }
        let failed = || format!("cannot write `{shown}`");
        let metadata = target.metadata().ok();
        if metadata.as_ref().is_some_and(|m| m.is_dir()) {
            bail!("cannot write `{shown}`: it is a folder");
        }
        if metadata.is_some_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(&target).with_context(failed)?;
            return Ok(Self { path: target, sink: Sink::Direct(BufWriter::new(file)) });
        }
        let folder = match target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".resnet-");
        // Like any other file: what the umask leaves, not the owner alone.
        #[cfg(unix)]
        let permissions = {
            use std::os::unix::fs::PermissionsExt;
            std::fs::Permissions::from_mode(0o666)
        };
        #[cfg(unix)]
        builder.permissions(permissions);
        let file = builder.tempfile_in(folder).with_context(failed)?;
        Ok(Self { path: target, sink: Sink::Temporary(BufWriter::new(file)) })
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<()> {
        let failed = || format!("cannot write `{}`", self.path.display());
        match self.sink {
            Sink::Direct(mut file) => file.flush().with_context(failed),
            Sink::Temporary(file) => {
                let file = file.into_inner().map_err(|e| e.into_error()).with_context(failed)?;
                file.persist(&self.path).map_err(|e| e.error).with_context(failed)?;
                Ok(())
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Temporary(file) => file.write(bytes),
            Sink::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Temporary(file) => file.flush(),
            Sink::Direct(file) => file.flush(),
        }
    }
}
