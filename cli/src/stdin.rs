//! Standard input and output in the place of files, which `-` stands for.

use std::io::{self, Error, ErrorKind, Read, StdinLock};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use resnet_runtime::file;

/// The largest published residual network is smaller; what is longer may have no end.
const LONGEST: u64 = 4 << 30;

/// Whether the path stands for standard input or output.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Standard input, for the one file that `-` may stand for.
pub(crate) fn stdin() -> io::Result<StdinLock<'static>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        let reason = "it has been read already: `-` can stand for one file";
        return Err(Error::new(ErrorKind::InvalidInput, reason));
    }
    Ok(io::stdin().lock())
}

/// All bytes of standard input.
pub(crate) fn bytes() -> io::Result<Vec<u8>> {
    whole(stdin()?, LONGEST)
}

fn whole(source: impl Read, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        let reason = format!("it is longer than {longest} bytes: give a file");
        return Err(Error::new(ErrorKind::InvalidData, reason));
    }
    Ok(bytes)
}

/// Reads a text from a file, or from standard input for `-`.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    match is_stdin(path) {
        true => file::text(stdin()?),
        false => file::read_text(path),
    }
}

/// Refuses `-` for a folder.
pub(crate) fn check_folder(path: &Path, what: &str) -> Result<()> {
    ensure!(
        !is_stdin(path),
        "{what}: a folder is expected, which `-` is not (`./-` is one of that name)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_refused() {
        assert_eq!(whole(&b"abc"[..], 3).unwrap(), b"abc");
        let error = whole(io::repeat(0), 3).unwrap_err().to_string();
        assert_eq!(error, "it is longer than 3 bytes: give a file");
    }
}
