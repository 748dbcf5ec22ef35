//! Weights that become a part of the user's program: packed now, into a file that the emitted code
//! includes.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use resnet_runtime::weights::{Weights, all_threads, load};

use super::call::Item;
use crate::plan::Plan;

/// Opens the weights in `file`, which the user called `name`.
pub(super) fn open(file: &Path, name: &str) -> Result<Weights, String> {
    Weights::open(file).map_err(|error| named(&error, file, name))
}

/// An error in which a file is called what the user wrote, not where the crate happens to lie.
fn named(error: &dyn std::error::Error, file: &Path, name: &str) -> String {
    error.to_string().replace(&*file.to_string_lossy(), name)
}

/// Packs the weights in `file` (which the user called `name`) and returns the file with the result:
/// as a run reads them.
///
/// # Errors
///
/// Weights that do not fit the table, or no place to keep what was made of them.
pub(super) fn embed(
    file: &Path,
    name: &str,
    weights: &Weights,
    item: &Item,
    plan: &Plan,
    scratch: &Path,
) -> Result<PathBuf, String> {
    let packed = load(&plan.weights, weights, all_threads());
    let packed = packed.map_err(|error| named(&error, file, name))?;
    // Of the machine that builds; emitted code refuses one of another byte order.
    let bytes: &[u8] = packed.as_bytes();
    // The name follows from the content: builds at the same time write the same file or another.
    let mut hash = DefaultHasher::new();
    hash.write(bytes);
    let file_name = format!("{}-{:016x}.weights", item.name, hash.finish());
    // A user's crate has a folder of its own if it has a build script; the macro's crate always
    // has one, but where it was built by somebody else it may be read-only.
    let folders = std::env::var_os("OUT_DIR").map(PathBuf::from).into_iter();
    let folders = folders.chain([scratch.to_owned(), std::env::temp_dir().join("resnet-weights")]);
    let mut refused = String::new();
    for folder in folders {
        let path = folder.join(&file_name);
        match keep(&folder, &path, bytes) {
            Ok(()) => return Ok(path),
            Err(error) => refused += &format!("\n{}: {error}", path.display()),
        }
    }
    Err(format!("there is no place to keep the packed weights:{refused}"))
}

/// Writes a file unless it is there, never leaving half of it. Its name stands for its content.
fn keep(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() == bytes.len() as u64) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let half = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&half, bytes)?;
    std::fs::rename(&half, path)
}
