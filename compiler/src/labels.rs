//! The names of a network's classes.

use std::io;
use std::path::Path;

use resnet_runtime::file;

/// ImageNet's thousand classes (ILSVRC 2012) in the order of trained networks: WordNet's number, and
/// the name in torchvision's `_IMAGENET_CATEGORIES`.
const IMAGENET: &str = include_str!("labels/imagenet.txt");

/// What a user calls them.
const IMAGENET_NAME: &str = "imagenet";

/// A name for each class, in the order of a network's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    /// Other names, of a data set's folders; empty, or one for each class.
    ids: Vec<String>,
    /// What messages call them.
    origin: String,
}

/// There are more or fewer labels than classes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin} names {found} classes, but `{network}` has {expected}")]
pub struct LabelsError {
    /// The labels' file, or `labels`.
    pub origin: String,
    /// Labels.
    pub found: usize,
    /// The network.
    pub network: String,
    /// Its classes.
    pub expected: usize,
}

impl Labels {
    /// These names.
    pub fn new(names: Vec<String>) -> Self {
        Self { names, ids: Vec::new(), origin: "`labels`".to_owned() }
    }

    /// ImageNet's thousand classes, in the order of torchvision and timm.
    pub fn imagenet() -> Self {
        let (ids, names) = IMAGENET
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .unzip();
        Self { names, ids, origin: format!("`{IMAGENET_NAME}`") }
    }

    /// Those of a text with a name a line; messages call it `origin`.
    pub fn from_lines(text: &str, origin: &str) -> Self {
        // Editors of Windows begin texts with a mark of their encoding.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let names = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
        Self { names, ids: Vec::new(), origin: format!("`{origin}`") }
    }

    /// Those of a file with a name a line; a file `imagenet` that is not there is [`Labels::imagenet`].
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no text or too long for one, in plain words.
    pub fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        if path.file_name().is_some_and(|name| name == IMAGENET_NAME) && !path.exists() {
            return Ok(Self::imagenet());
        }
        Ok(Self::from_lines(&file::read_text(path)?, &path.display().to_string()))
    }

    /// Makes sure that there is one for each of a network's classes.
    ///
    /// # Errors
    ///
    /// Another number of names.
    pub fn for_network(self, network: &str, classes: usize) -> Result<Self, LabelsError> {
        if self.names.len() == classes {
            return Ok(self);
        }
        let (origin, found, network) = (self.origin, self.names.len(), network.to_owned());
        Err(LabelsError { origin, found, network, expected: classes })
    }

    /// A name for each class.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The classes that a folder's name may mean: of equal names, else of names that differ in case
    /// and in what is between words, else of those of which it is a part between commas.
    pub fn classes(&self, folder: &str) -> Vec<usize> {
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
pub fn is_wordnet_id(folder: &str) -> bool {
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
