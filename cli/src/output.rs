//! Files that appear whole or not at all, and take nothing's place that was not meant.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Stdout, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use resnet_runtime::weights::file::MAGIC;
use serde::Serialize;
use tempfile::TempPath;

use crate::{interrupt, npy};

/// Prints a value as JSON, on lines of their own.
pub(crate) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// What a file holds. An old file of the same kind is replaced, another one only at wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Packed,
    Safetensors,
    Schedule,
    Onnx,
    Svg,
    /// A page of `resnet report`; other pages are nothing to replace.
    Page,
    /// An object file for linkers.
    Object,
    /// The header of one, in C.
    Header,
    /// A page for `man`.
    Manual,
    /// A text that someone may have edited: no old file is replaced.
    Text,
}

impl Kind {
    /// Whether a file that begins so is of this kind.
    fn is(self, start: &[u8]) -> bool {
        match self {
            Self::Array => start.starts_with(npy::MAGIC),
            Self::Packed => start.starts_with(&MAGIC[..4]),
            // The length of a header, which is JSON.
            Self::Safetensors => start.get(8) == Some(&b'{'),
            Self::Schedule => start.starts_with(b"resnet schedule"),
            // The version of the format, field 1, is written first.
            Self::Onnx => matches!(start, [0x08, 1..=0x20, ..]),
            // ELF, Mach-O, or COFF of x86-64 or AArch64.
            Self::Object => {
                start.starts_with(b"\x7fELF")
                    || start.starts_with(&[0xcf, 0xfa, 0xed, 0xfe])
                    || matches!(start, [0x64, 0x86 | 0xaa, ..])
            }
            Self::Header => start.starts_with(b"// Made by `resnet emit"),
            Self::Svg => start.starts_with(b"<svg") || start.starts_with(b"<?xml"),
            Self::Page => start.starts_with(resnet_report::page::START.as_bytes()),
            // How clap_mangen begins: what an apostrophe is.
            Self::Manual => start.starts_with(b".ie \\n(.g"),
            Self::Text => false,
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::Array => Some("a .npy file"),
            Self::Packed => Some("packed weights"),
            Self::Safetensors => Some("a safetensors file"),
            Self::Schedule => Some("a schedule"),
            Self::Onnx => Some("an ONNX file"),
            Self::Svg => Some("an SVG file"),
            Self::Page => Some("a page of `resnet report`"),
            Self::Object => Some("an object file"),
            Self::Header => Some("the header of an object"),
            Self::Manual => Some("a page for `man`"),
            Self::Text => None,
        }
    }
}

/// A file that is being written. Until [`Output::finish`] the old file of that name is untouched;
/// if writing fails, it stays.
pub(crate) struct Output {
    /// The name as it was given, for messages.
    shown: PathBuf,
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    /// Renamed to the file's name at the end; removed if there is none.
    Temporary(BufWriter<File>, TempPath),
    /// A device or a pipe, which cannot be replaced.
    Direct(BufWriter<File>),
    /// What `-` stands for.
    Stdout(Stdout),
}

impl Output {
    /// Prepares to write `path`; `-` is standard output. Refuses a path that is one of `inputs`,
    /// however it is spelt, and without `force` a file that is there and not of the same kind.
    pub(crate) fn create<'a>(
        path: &Path,
        kind: Kind,
        force: bool,
        inputs: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let shown = path.display();
        let output = |path, sink| Ok(Self { shown: shown.to_string().into(), path, sink });
        if path == Path::new("-") {
            return output(path.to_owned(), Sink::Stdout(io::stdout()));
        }
        // Through a link its target is replaced, not the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        for input in inputs {
            if input.canonicalize().is_ok_and(|input| input == target) {
                bail!("`{shown}` would be written over the input `{}`", input.display());
            }
        }
        let metadata = target.metadata().ok();
        if metadata.as_ref().is_some_and(|m| m.is_dir()) {
            bail!("cannot write `{shown}`: it is a folder");
        }
        if let Some(metadata) = &metadata
            && !metadata.is_file()
        {
            let file = File::options().write(true).open(&target);
            let file = file.with_context(|| format!("cannot write `{shown}`"))?;
            return output(target, Sink::Direct(BufWriter::new(file)));
        }
        if metadata.is_some() && !force {
            let start = start_of(&target).with_context(|| format!("cannot read `{shown}`"))?;
            let but = kind.name().map_or(String::new(), |name| format!(" and is not {name}"));
            ensure!(
                start.is_empty() || kind.is(&start),
                "`{shown}` exists already{but}: give `--force` to replace it, or another name"
            );
        }
        let folder = match target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        ensure!(
            folder.is_dir(),
            "cannot write `{shown}`: there is no folder `{}`",
            folder.display()
        );
        remove_leftovers(folder);
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
        // Like any other file: what the umask leaves, not the owner alone.
        #[cfg(unix)]
        let permissions = {
            use std::os::unix::fs::PermissionsExt;
            std::fs::Permissions::from_mode(0o666)
        };
        #[cfg(unix)]
        builder.permissions(permissions);
        // Its own message names the temporary file, which nobody asked for.
        let file = builder
            .tempfile_in(folder)
            .map_err(|error| io::Error::from(error.kind()))
            .with_context(|| format!("cannot write `{shown}`"))?;
        let (file, temporary) = file.into_parts();
        interrupt::remember(&temporary);
        // As long as this process lives, nobody takes it for a leftover. Where files have no locks, nobody
        // removes any.
        let _ = file.try_lock();
        output(target, Sink::Temporary(BufWriter::new(file), temporary))
    }

    /// The same for a text, which may have been edited since it was written: it is replaced without `force` if it
    /// is this one already.
    pub(crate) fn create_text<'a>(
        path: &Path,
        text: &str,
        force: bool,
        inputs: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let same = std::fs::read(path).is_ok_and(|old| old == text.as_bytes());
        Self::create(path, Kind::Text, force || same, inputs)
    }

    /// Whether it goes to standard output, where then nothing else may go.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self.sink, Sink::Stdout(_))
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Sink::Temporary(file, temporary) = self.sink {
            drop(file);
            temporary
                .persist(&self.path)
                .map_err(|error| error.error)
                .with_context(|| format!("cannot write `{}`", self.shown.display()))?;
        }
        Ok(())
    }

    /// Says which file an error is about.
    fn named<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| match self.sink {
            Sink::Stdout(_) => of_stdout(error),
            _ => {
                let message = format!("cannot write `{}`: {error}", self.shown.display());
                io::Error::new(error.kind(), message)
            }
        })
    }
}

/// How the names of files that are being written begin and end.
const TEMPORARY: (&str, &str) = (".resnet-", ".tmp");

/// A file younger than this may not be locked yet by the process that made it.
const YOUNG: Duration = Duration::from_secs(60);

/// Removes from a folder what processes left there that were killed while they wrote.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if !name.starts_with(TEMPORARY.0.as_bytes()) || !name.ends_with(TEMPORARY.1.as_bytes()) {
            continue;
        }
        let is_old = |metadata: Metadata| {
            let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
            metadata.is_file() && age.is_some_and(|age| age > YOUNG)
        };
        // The entry's own metadata: a link is not followed.
        if !entry.metadata().is_ok_and(is_old) {
            continue;
        }
        let lock = File::options().write(true).open(entry.path());
        if lock.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Standard output, for results. Its errors say so.
pub(crate) struct Results(pub(crate) StdoutLock<'static>);

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

/// The first bytes of a file.
fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut start)?;
    Ok(start)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::Temporary(file, _) | Sink::Direct(file) => file.write(bytes),
            Sink::Stdout(out) => out.write(bytes),
        };
        self.named(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match &mut self.sink {
            Sink::Temporary(file, _) | Sink::Direct(file) => file.flush(),
            Sink::Stdout(out) => out.flush(),
        };
        self.named(flushed)
    }
}
