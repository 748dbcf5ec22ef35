//! What is said of names that are not understood.

use super::{Modules, StemConv};
use crate::error::{Fault, listed, unknown};

impl Modules {
    /// A name as it stands in the file.
    pub(super) fn whole(&self, name: &str) -> String {
        format!("{}{}", self.wrapper, name.trim_end_matches('.'))
    }

    /// The tensors that nobody took, by their names in the file.
    fn left(&self) -> Vec<String> {
        let names = self.map.iter().flat_map(|(module, parts)| {
            let dot = if module.is_empty() { "" } else { "." };
            parts.keys().map(move |part| format!("{}{module}{dot}{part}", self.wrapper))
        });
        names.collect()
    }

    /// Shows what is most likely to be of a block: convolutions of the name that most of them share.
    pub(super) fn no_blocks<T>(&self) -> Result<T, Fault> {
        let volumes = self.map.keys().find(|module| self.shape(module).len() == 5);
        if let Some(module) = volumes {
            return unknown(format!(
                "`{}` has five dimensions: a convolution over volumes or films, which tables do not have",
                self.whole(module)
            ));
        }
        let mut names: Vec<String> =
            self.map.keys().filter(|m| self.conv(m).is_some()).cloned().collect();
        if names.is_empty() {
            names = self.left();
        }
        // Names of many parts are those of blocks.
        names.sort_by_key(|name| std::cmp::Reverse(name.matches(['.', '_']).count()));
        let names: Vec<String> = names.iter().map(|name| self.whole(name)).collect();
        match listed(&names) {
            None => unknown("there are no tensors in it"),
            Some(names) => unknown(format!(
                "no residual blocks: expected names with the numbers of a stage, a block and a convolution, \
                 such as `layer1.0.conv1`, found {names}"
            )),
        }
    }

    /// Checks that nothing but the parts that were found is there.
    pub(super) fn check_all_taken(&self, stem: &[StemConv]) -> Result<(), Fault> {
        for pair in stem.windows(2) {
            let [before, conv] = [&pair[0].conv, &pair[1].conv];
            // A convolution of a part that comes after the blocks, such as a head for segmentation.
            if !before.channels.is_multiple_of(conv.inputs) {
                return unknown(format!(
                    "`{}` reads {} channels, and what stands before the blocks makes {}; it has no \
                     place in a network of a stem, blocks and a classifier",
                    self.whole(&conv.module),
                    conv.inputs,
                    before.channels
                ));
            }
        }
        let left = self.left();
        let Some(names) = listed(&left) else { return Ok(()) };
        let pools = left.iter().any(|name| name.contains("attnpool") || name.contains("attn_pool"));
        let why = if pools {
            ": CLIP's pool by attention is no row of a table"
        } else {
            " in a network of a stem, blocks and a classifier"
        };
        unknown(format!("there is no place for {names}{why}"))
    }
}
