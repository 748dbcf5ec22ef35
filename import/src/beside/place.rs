//! Where the weights are: a file, or the one of a folder that has them.

use std::path::{Path, PathBuf};

use crate::error::{Fault, unknown};

/// What timm and transformers call a model's weights, the first that is there.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Lists of the files that weights were divided into.
const INDEXES: [&str; 2] = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];

/// Extensions of files that can be read.
const READ: [&str; 7] = ["safetensors", "bin", "pth", "pt", "tar", "ckpt", "onnx"];

/// Weights to be read.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// What the network is called if it has no other name.
    pub(crate) name: String,
    /// The file, for a comment.
    pub(crate) shown: String,
    /// Whether `name` is a folder's, or one that every network's file has.
    pub(crate) nameless: bool,
    pub(crate) note: Option<String>,
}

impl Place {
    /// Finds the weights in a folder, or takes the file. Links are followed, as a cache of Hugging Face's
    /// hub has them.
    pub(crate) fn find(path: &Path) -> Result<Self, Fault> {
        if !path.is_dir() {
            return Ok(Self::of_file(path));
        }
        let folder = folder_name(path);
        let present = |name: &&&str| path.join(name).is_file();
        if let [name, others @ ..] = &*WEIGHTS.iter().filter(present).collect::<Vec<_>>() {
            let note =
                others.first().map(|other| format!("read is `{name}`, not `{other}` beside it"));
            return Ok(Self::in_folder(path, name, folder, note));
        }
        if let Some(index) = INDEXES.iter().find(present) {
            return unknown(format!(
                "the weights are divided into several files, which `{index}` lists; save them as one: \
                 `model.save_pretrained(folder, max_shard_size=\"100GB\")`"
            ));
        }
        let mut others: Vec<String> = match path.read_dir() {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| path.join(name).is_file())
                .collect(),
            Err(error) => return unknown(format!("the folder cannot be read: {error}")),
        };
        others.sort();
        let readable = |name: &&String| {
            let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|extension| READ.contains(&extension))
        };
        let list = |names: &[&String]| {
            let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
            let more = names.len() - shown.len();
            let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{rest}", shown.join(", "))
        };
        match &*others.iter().filter(readable).collect::<Vec<_>>() {
            [name] => Ok(Self::in_folder(path, name, folder, None)),
            [] if others.is_empty() => unknown("there are no files in this folder"),
            [] => unknown(format!(
                "there are no weights in this folder: `model.safetensors` or `pytorch_model.bin` is expected, \
                 found {}",
                list(&others.iter().collect::<Vec<_>>())
            )),
            several => unknown(format!(
                "several files of this folder may be the weights: {}; give one of them",
                list(several)
            )),
        }
    }

    /// A file, or what has the name of one.
    pub(crate) fn of_file(path: &Path) -> Self {
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = Path::new(&shown).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let nameless = WEIGHTS.contains(&&*shown);
        let folder = if nameless { path.parent().map(folder_name) } else { None };
        let name = folder.filter(|name| !name.is_empty()).unwrap_or(stem);
        Self { file: path.to_owned(), name, shown, nameless, note: None }
    }

    fn in_folder(path: &Path, name: &str, folder: String, note: Option<String>) -> Self {
        let shown = format!("{folder}/{name}").trim_start_matches('/').to_owned();
        Self { file: path.join(name), name: folder, shown, nameless: true, note }
    }
}

/// The name of a folder; of a snapshot in the cache of a hub, that of its repository.
fn folder_name(folder: &Path) -> String {
    let Ok(absolute) = std::path::absolute(folder) else { return String::new() };
    let mut names = absolute.components().rev().map(|part| part.as_os_str().to_string_lossy());
    let own = names.next().unwrap_or_default();
    match (names.next(), names.next()) {
        (Some(parent), Some(repository)) if parent == "snapshots" => {
            repository.rsplit("--").next().unwrap_or_default().to_owned()
        }
        _ => own.trim_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_called_as_their_folders() {
        let name = |path: &str| Place::of_file(Path::new(path)).name;
        assert_eq!(name("/nets/resnet50.a1_in1k/model.safetensors"), "resnet50.a1_in1k");
        assert_eq!(name("/nets/resnet50.pth"), "resnet50");
        let snapshot = "/hub/models--timm--resnet18d.ra2_in1k/snapshots/0123abcd/pytorch_model.bin";
        assert_eq!(name(snapshot), "resnet18d.ra2_in1k");
    }
}
