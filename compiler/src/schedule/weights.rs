//! What the packed weights of a network consist of: decided once, for all batch sizes.

use resnet_runtime::kernels::Panels;
use resnet_runtime::weights::{Content, Recipe};

use crate::fuse::formats;
use crate::fuse::{Conv, Fused, FusedNode};

/// The packed weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// What they consist of, by rising offsets.
    pub recipes: Vec<Recipe>,
    /// Bytes; the largest number, where they are more.
    pub bytes: usize,
}

impl Parts {
    /// The part that begins at a byte.
    pub fn at(&self, offset: usize) -> Option<&Recipe> {
        let found = self.recipes.binary_search_by_key(&offset, |recipe| recipe.offset);
        found.ok().map(|index| &self.recipes[index])
    }

    /// Adds a part behind the others; where it begins.
    pub(super) fn add(&mut self, content: Content) -> usize {
        let offset = self.bytes;
        self.bytes = self.bytes.saturating_add(content.bytes());
        self.recipes.push(Recipe { content, offset });
        offset
    }

    pub(super) fn vector(&mut self, weight: &str, channels: usize) -> usize {
        self.add(Content::Vector { weight: weight.to_owned().into(), channels })
    }

    /// Where the numbers of a scale are, which all activations of that scale share.
    pub(super) fn scale(&mut self, weight: &str) -> usize {
        let content = Content::Scale { weight: weight.to_owned().into() };
        let found = self.recipes.iter().find(|recipe| recipe.content == content);
        found.map(|recipe| recipe.offset).unwrap_or_else(|| self.add(content))
    }

    pub(super) fn quantised(
        &mut self,
        fused: &Fused,
        node: &FusedNode,
        conv: &Conv,
        panels: Panels,
    ) -> usize {
        self.add(Content::Quantised { source: formats::source(fused, node, conv), panels })
    }
}
