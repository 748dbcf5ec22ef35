//! Images with classes, as `train` and `fit` take them: a folder with one folder a class, or a `.npz` file.

mod arrays;

use std::path::Path;

use anyhow::Result;
use resnet::Labels;
use resnet::train::{Dataset, Files};

use crate::classified::Classified;
use crate::stdin::check_folder;

/// Images with classes.
pub(crate) struct Labelled {
    pub(crate) images: Box<dyn Dataset>,
    /// The names of the classes: the labels', else the folders'.
    pub(crate) names: Option<Vec<String>>,
}

/// Reads what an option names: of so many `classes`, or of any number.
pub(crate) fn read(
    path: &Path,
    option: &str,
    labels: Option<Labels>,
    classes: Option<usize>,
) -> Result<Labelled> {
    if path.is_file() {
        let images = Box::new(arrays::read(path)?);
        return Ok(Labelled { images, names: labels.map(|labels| labels.names().to_vec()) });
    }
    check_folder(path, option)?;
    let Classified { paths, classes, names, .. } = Classified::read(path, labels, classes)?;
    let images = Box::new(Files { files: paths.into_iter().zip(classes).collect() });
    Ok(Labelled { images, names: Some(names) })
}
