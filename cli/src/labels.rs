//! The names of a network's classes.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use resnet::compiler::spec;

use crate::model::{Model, read_text};

/// ImageNet's thousand classes (ILSVRC 2012) in the order of trained networks: WordNet's number, and
/// the name in torchvision's `_IMAGENET_CATEGORIES`.
const IMAGENET: &str = include_str!("labels/imagenet.txt");

/// What a user calls them.
const IMAGENET_NAME: &str = "imagenet";

/// A name for each class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) names: Vec<String>,
    /// Other names, of a data set's folders; empty, or one for each class.
    ids: Vec<String>,
}

impl Labels {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, ids: Vec::new() }
    }

    pub(crate) fn imagenet() -> Self {
        let (ids, names) = IMAGENET
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .unzip();
        Self { names, ids }
    }

    /// The labels of a model: those of `file` if one is asked for, else the table's. The command's
    /// own networks of a thousand classes are ImageNet's.
    pub(crate) fn of(model: &Model, file: Option<&Path>, outputs: usize) -> Result<Option<Self>> {
        let (labels, origin) = match (file, model.spec.labels.as_ref().map(|l| &l.value)) {
            (Some(path), _) => Self::read(path)?,
            (None, Some(spec::Labels::Names(names))) => {
                (Self::new(names.clone()), "`labels`".to_owned())
            }
            (None, Some(spec::Labels::File(name))) => Self::read(&model.beside(name))?,
            (None, None) if model.path.is_none() && outputs == 1000 => {
                return Ok(Some(Self::imagenet()));
            }
            (None, None) => return Ok(None),
        };
        ensure!(
            labels.names.len() == outputs,
            "{origin} names {} classes, but `{}` has {outputs}",
            labels.names.len(),
            model.spec.name.value
        );
        Ok(Some(labels))
    }

    /// A file with a name a line, or the names that the command carries.
    fn read(path: &Path) -> Result<(Self, String)> {
        let shown = format!("`{}`", path.display());
        if path.file_name().is_some_and(|name| name == IMAGENET_NAME) && !path.exists() {
            return Ok((Self::imagenet(), shown));
        }
        let text = read_text(path).with_context(|| format!("cannot read the labels {shown}"))?;
        let names = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
        Ok((Self::new(names), shown))
    }

    /// The classes that a folder's name may mean: of equal names, else of names that differ in case
    /// and in what is between words, else of those of which it is a part between commas.
    pub(crate) fn classes(&self, folder: &str) -> Vec<usize> {
        let all = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let both = self.names.iter().chain(&self.ids).enumerate();
            let mut classes: Vec<usize> =
                both.filter(|(_, name)| fits(name)).map(|(at, _)| at % self.names.len()).collect();
            classes.sort_unstable();
            classes.dedup();
            classes
        };
        let plain = |text: &str| text.trim().to_lowercase().replace(['_', '-'], " ");
        let wanted = plain(folder);
        let rules: [&dyn Fn(&str) -> bool; 3] =
            [&|name| name == folder, &|name| plain(name) == wanted, &|name| {
                name.split(',').any(|part| plain(part) == wanted)
            }];
        rules.into_iter().map(|rule| all(rule)).find(|found| !found.is_empty()).unwrap_or_default()
    }
}

/// Whether a folder is called as one of ImageNet's, by WordNet's number.
pub(crate) fn is_wordnet_id(folder: &str) -> bool {
    let digits = folder.strip_prefix('n').unwrap_or_default();
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_names() {
        let labels = Labels::imagenet();
        assert_eq!((labels.names.len(), labels.ids.len()), (1000, 1000));
        // Of the first, one that shares a name in WordNet, and the last.
        for (class, id, name) in [
            (0, "n01440764", "tench"),
            (134, "n02012849", "crane bird"),
            (517, "n03126707", "crane"),
            (999, "n15075141", "toilet tissue"),
        ] {
            assert_eq!((&*labels.ids[class], &*labels.names[class]), (id, name));
            assert_eq!(labels.classes(id), [class]);
            assert_eq!(labels.classes(name), [class]);
        }
        assert!(labels.ids.iter().all(|id| is_wordnet_id(id)));
    }

    #[test]
    fn folders_may_be_spelt_otherwise() {
        let names = ["tench, Tinca tinca", "tabby cat", "crane", "crane", "Cat"];
        let labels = Labels::new(names.map(str::to_owned).to_vec());
        assert_eq!(labels.classes("Tinca_tinca"), [0]);
        assert_eq!(labels.classes("tabby-cat"), [1]);
        assert_eq!(labels.classes("crane"), [2, 3]);
        assert_eq!(labels.classes("cat"), [4]);
        assert_eq!(labels.classes("dog"), [0; 0]);
    }
}
