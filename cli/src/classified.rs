//! A folder of pictures with one folder a class.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use resnet::Labels;
use resnet_compiler::labels::is_wordnet_id;

use crate::pictures::{Found, is_picture};

/// Pictures and their classes.
pub(crate) struct Classified {
    pub(crate) paths: Vec<PathBuf>,
    /// The class of each path.
    pub(crate) classes: Vec<usize>,
    /// The name of each class.
    pub(crate) names: Vec<String>,
    /// Files in the folders that are not read.
    pub(crate) skipped: usize,
}

impl Classified {
    /// Reads a folder with one folder a class, for a network of so many `outputs`, or of as many as there are classes.
    pub(crate) fn read(
        folder: &Path,
        labels: Option<Labels>,
        outputs: Option<usize>,
    ) -> Result<Self> {
        let shown = folder.display();
        let mut folders = Vec::new();
        let mut stray = 0;
        let entries =
            folder.read_dir().with_context(|| format!("cannot read the folder `{shown}`"))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read the folder `{shown}`"))?.path();
            if path.is_dir() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // `.git`, `.thumbnails` and their like are no classes.
                if !name.starts_with('.') {
                    folders.push((name, path));
                }
            } else if is_picture(&path) {
                stray += 1;
            }
        }
        folders.sort();
        ensure!(
            !folders.is_empty(),
            "there are no folders in `{shown}`; one a class is expected, with its pictures inside"
        );
        if stray > 0 {
            crate::voice::warning!(
                "{stray} pictures beside the folders of `{shown}` have no class"
            );
        }
        let (classes, names) = assign(&folders, labels, outputs)?;
        let mut found = Found::default();
        let mut of_pictures = Vec::new();
        for ((name, path), class) in folders.iter().zip(classes) {
            let (pictures, skipped) = (found.paths.len(), found.skipped());
            found.walk(path)?;
            of_pictures.resize(found.paths.len(), class);
            if found.paths.len() == pictures {
                let skipped = found.skipped() - skipped;
                bail!(
                    "there are no pictures in `{}` ({skipped} files of other kinds): a class without \
                     a picture cannot be counted, remove the folder `{name}`",
                    path.display()
                );
            }
        }
        found.note(folder);
        let skipped = found.skipped();
        Ok(Self { paths: found.paths, classes: of_pictures, names, skipped })
    }
}

/// The class of each folder, and the name of each class.
fn assign(
    folders: &[(String, PathBuf)],
    labels: Option<Labels>,
    outputs: Option<usize>,
) -> Result<(Vec<usize>, Vec<String>)> {
    let known = labels.as_ref().map_or(folders.len(), |labels| labels.names().len());
    let outputs = outputs.unwrap_or(known);
    let names = || folders.iter().map(|folder| folder.0.as_str());
    let advice = match names().all(is_wordnet_id) {
        true => "`--labels imagenet` knows ImageNet's folders",
        false => "give their names with `--labels FILE`, a name a line",
    };
    let Some(labels) = labels else {
        ensure!(
            folders.len() == outputs,
            "there are {} folders for {outputs} classes; without `labels` there must be one a class, in \
             sorted order: {advice}",
            folders.len()
        );
        if names()
            .enumerate()
            .any(|(at, name)| name.parse().is_ok_and(|number: usize| number != at))
        {
            crate::voice::note!(
                "folders are classes in the order of their names, not of numbers in them"
            );
        }
        return Ok(((0..outputs).collect(), names().map(str::to_owned).collect()));
    };
    let found: Vec<Vec<usize>> = names().map(|name| labels.classes(name)).collect();
    let unknown: Vec<&str> = names()
        .zip(&found)
        .filter(|(_, classes)| classes.is_empty())
        .map(|(name, _)| name)
        .collect();
    if unknown.is_empty() {
        let classes = one_each(folders, &found, labels.names())?;
        return Ok((classes, labels.names().to_vec()));
    }
    if unknown.len() == folders.len() && folders.len() == outputs {
        crate::voice::note!(
            "no folder is named like a label; they are the classes in sorted order"
        );
        return Ok(((0..outputs).collect(), labels.names().to_vec()));
    }
    let more = unknown.len().saturating_sub(10);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = unknown[..unknown.len() - more].join("`, `");
    let hint = if unknown.iter().all(|name| is_wordnet_id(name)) { advice } else { "" };
    let labels = labels.names();
    bail!(
        "folders that are no label: `{shown}`{rest}; {}{}",
        if hint.is_empty() { "the labels are: " } else { hint },
        match labels.len() {
            _ if !hint.is_empty() => String::new(),
            0..=50 => labels.join(", "),
            _ => format!("{}, …", labels[..10].join(", ")),
        }
    )
}

/// The class of each folder, where each means one, and none that another means.
fn one_each(
    folders: &[(String, PathBuf)],
    found: &[Vec<usize>],
    labels: &[String],
) -> Result<Vec<usize>> {
    let mut of_class: BTreeMap<usize, &str> = BTreeMap::new();
    for ((name, _), classes) in folders.iter().zip(found) {
        let &[class] = &classes[..] else {
            let classes: Vec<String> =
                classes.iter().map(|&class| format!("{class} (`{}`)", labels[class])).collect();
            bail!(
                "the folder `{name}` may be any of the classes {}: give the classes names that differ, \
                 with `--labels FILE`, and the folder one of them",
                classes.join(", ")
            );
        };
        if let Some(other) = of_class.insert(class, name) {
            bail!(
                "the folders `{other}` and `{name}` are both the class {class}, `{}`",
                labels[class]
            );
        }
    }
    Ok(found.iter().map(|classes| classes[0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(names: &[&str]) -> Vec<(String, PathBuf)> {
        names.iter().map(|name| (name.to_string(), PathBuf::from(name))).collect()
    }

    fn labels(names: &[&str]) -> Option<Labels> {
        Some(Labels::new(names.iter().map(|name| name.to_string()).collect()))
    }

    #[test]
    fn folders_find_their_classes() {
        let found =
            |names: &[&str], known| assign(&folders(names), known, Some(3)).map(|found| found.0);
        assert_eq!(found(&["a", "b", "c"], None).unwrap(), [0, 1, 2]);
        assert_eq!(found(&["bird", "cat"], labels(&["cat", "dog", "bird"])).unwrap(), [2, 0]);
        assert_eq!(found(&["n1", "n2", "n3"], labels(&["cat", "dog", "ant"])).unwrap(), [0, 1, 2]);
        let message = found(&["cat", "cow"], labels(&["cat", "dog", "ant"])).unwrap_err();
        let message = message.to_string();
        assert_eq!(message, "folders that are no label: `cow`; the labels are: cat, dog, ant");
        let fails = |names: &[&str], known, expected: &str| {
            let message = found(names, known).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        let cranes = || labels(&["crane", "crane", "cat"]);
        fails(&["crane"], cranes(), "any of the classes 0 (`crane`), 1 (`crane`)");
        fails(&["Cat", "cat"], cranes(), "`Cat` and `cat` are both the class 2");
        fails(&["n01440764"], None, "`--labels imagenet` knows");
        fails(&["n01440764"], cranes(), "`--labels imagenet` knows");
        assert!(found(&["a"], None).unwrap_err().to_string().contains("1 folders for 3 classes"));
    }
}
