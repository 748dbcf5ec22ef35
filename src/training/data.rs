//! What is trained on: images with classes.

use std::borrow::Cow;
use std::path::PathBuf;

use resnet_runtime::picture::{self, Image, Preprocess};

use crate::Source;

/// Images with classes, each decoded when its turn comes.
pub trait Dataset: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of an image.
    fn class(&self, index: usize) -> usize;

    /// What messages call an image.
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }

    /// An image.
    ///
    /// # Errors
    ///
    /// An image that cannot be had, in words: training stops.
    fn image(&self, index: usize) -> Result<Cow<'_, Image>, String>;
}

/// Images in memory.
#[derive(Clone, Debug, Default)]
pub struct InMemory {
    images: Vec<Image>,
    classes: Vec<usize>,
}

impl InMemory {
    /// Adds an image.
    pub fn push(&mut self, image: Image, class: usize) {
        self.images.push(image);
        self.classes.push(class);
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn class(&self, index: usize) -> usize {
        self.classes[index]
    }

    fn image(&self, index: usize) -> Result<Cow<'_, Image>, String> {
        Ok(Cow::Borrowed(&self.images[index]))
    }
}

/// Images in files.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Each file, and the class of what is in it.
    pub files: Vec<(PathBuf, usize)>,
}

impl Dataset for Files {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn class(&self, index: usize) -> usize {
        self.files[index].1
    }

    fn name(&self, index: usize) -> String {
        format!("`{}`", self.files[index].0.display())
    }

    fn image(&self, index: usize) -> Result<Cow<'_, Image>, String> {
        let path = &self.files[index].0;
        let of = |error: String| format!("{}: {error}", self.name(index));
        let bytes = picture::read(path).map_err(|error| of(error.to_string()))?;
        Image::decode(&bytes).map(Cow::Owned).map_err(of)
    }
}

/// Images as they are for inference, to be [fed](crate::feed) to a network.
pub struct Prepared<'a, D: ?Sized> {
    data: &'a D,
    preprocess: &'a Preprocess,
    shape: [usize; 3],
}

impl<'a, D: Dataset + ?Sized> Prepared<'a, D> {
    /// Images for a network whose input is `shape`: channels, height and width.
    pub fn new(data: &'a D, preprocess: &'a Preprocess, shape: [usize; 3]) -> Self {
        Self { data, preprocess, shape }
    }
}

impl<D: Dataset + ?Sized> Source for Prepared<'_, D> {
    type Error = String;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, String> {
        let image = self.data.image(index)?;
        let made = self.preprocess.apply_into(&image, self.shape, input);
        made.map(|()| None).map_err(|error| format!("{}: {error}", self.data.name(index)))
    }
}
