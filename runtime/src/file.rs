//! Opening files: one place that says what can be read as one, and in which words it cannot.
//!
//! Weights, pictures and checkpoints are read whole or at any place, so they have to be regular files: a device
//! such as `/dev/zero` has no end, and a named pipe holds up who opens it. Texts, and arrays whose header says
//! how long they are, may come through the pipe of a shell.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// No table, schedule or list of labels is longer; a file that is was given by mistake.
pub(crate) const LONGEST_TEXT: u64 = 16 << 20;

/// Opens a regular file.
///
/// # Errors
///
/// There is no file, it cannot be opened, or it is a folder, a pipe or a device; in plain words.
pub fn open(path: &Path) -> Result<File> {
    // Before it is opened, because opening a pipe waits for its other end; and what was opened, because
    // the name may be another file's by then.
    check(&path.metadata().map_err(plain)?)?;
    let file = File::open(path).map_err(plain)?;
    check(&file.metadata().map_err(plain)?)?;
    Ok(file)
}

/// Reads a regular file.
///
/// # Errors
///
/// See [`open`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open(path)?;
    let length = file.metadata().map_err(plain)?.len();
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.try_reserve_exact(length).ok())
        .ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "it is larger than the memory"))?;
    file.read_to_end(&mut bytes).map_err(plain)?;
    Ok(bytes)
}

/// Opens a regular file, a device or a pipe that a shell made (`/dev/stdin`, `<(command)`). How much is read
/// of it is the caller's to bound.
///
/// # Errors
///
/// There is no file, it cannot be opened, or it is a folder or a pipe with a name of its own.
pub fn open_stream(path: &Path) -> Result<File> {
    let metadata = path.metadata().map_err(plain)?;
    let of_shell = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    if metadata.is_dir() || (is_pipe(&metadata) && !of_shell) {
        check(&metadata)?;
    }
    File::open(path).map_err(plain)
}

/// Reads a text of at most 16 MiB, from what [`open_stream`] opens.
///
/// # Errors
///
/// See [`open_stream`]; a longer file, and one that is no UTF-8 text.
pub fn read_text(path: &Path) -> Result<String> {
    text(open_stream(path)?)
}

/// Reads a text of at most 16 MiB, such as standard input.
///
/// # Errors
///
/// What cannot be read, is longer, or is no UTF-8 text.
pub fn text(source: impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    source.take(LONGEST_TEXT + 1).read_to_end(&mut bytes).map_err(plain)?;
    let wrong = |reason: String| Err(Error::new(ErrorKind::InvalidData, reason));
    if bytes.len() as u64 > LONGEST_TEXT {
        return wrong(format!("it is longer than {} MiB", LONGEST_TEXT >> 20));
    }
    String::from_utf8(bytes).or_else(|error| {
        wrong(format!("it is no UTF-8 text (at byte {})", error.utf8_error().valid_up_to()))
    })
}

/// An error of the operating system in plain words, without its number.
pub fn plain(error: Error) -> Error {
    let words = match error.kind() {
        ErrorKind::NotFound => "there is no such file",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::IsADirectory => "it is a folder",
        _ => return error,
    };
    Error::new(error.kind(), words)
}

fn check(metadata: &Metadata) -> Result<()> {
    let what = match metadata {
        metadata if metadata.is_file() => return Ok(()),
        metadata if metadata.is_dir() => {
            return Err(Error::new(ErrorKind::IsADirectory, "it is a folder"));
        }
        metadata if is_pipe(metadata) => "it is a pipe",
        _ => "it is a device",
    };
    let reason = format!(
        "{what}; a regular file is expected, which has an end and can be read at any place"
    );
    Err(Error::new(ErrorKind::InvalidInput, reason))
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_fifo() || metadata.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_no_file() {
        let folder = std::env::temp_dir().join(format!("resnet-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pipe = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let said = |path: &Path| read(path).unwrap_err().to_string();
        assert!(
            said(Path::new("/dev/zero")).starts_with("it is a device; a regular file is expected")
        );
        // Nobody writes to it: opening it would wait for ever.
        assert!(said(&pipe).starts_with("it is a pipe; a regular file is expected"));
        assert!(read_text(&pipe).unwrap_err().to_string().starts_with("it is a pipe"));
        assert_eq!(said(&folder), "it is a folder");
        assert_eq!(said(&folder.join("none")), "there is no such file");
        assert_eq!(
            read_text(Path::new("/dev/zero")).unwrap_err().to_string(),
            "it is longer than 16 MiB"
        );
        assert_eq!(read_text(Path::new("/dev/null")).unwrap(), "");
        let file = folder.join("file");
        std::fs::write(&file, [b'a', 0xff]).unwrap();
        assert_eq!(read(&file).unwrap(), [b'a', 0xff]);
        assert_eq!(read_text(&file).unwrap_err().to_string(), "it is no UTF-8 text (at byte 1)");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
