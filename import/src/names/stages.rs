//! The stages: which modules stand in which block.

use std::collections::BTreeMap;

use super::place::Place;
use super::{Block, Modules, Stage, natural};
use crate::error::{Fault, listed, unknown};

/// A block's name, and its modules.
type Blocks<'a> = BTreeMap<(usize, &'a str), Vec<&'a str>>;

impl Modules {
    /// Takes all modules of blocks.
    pub(super) fn stages(&mut self) -> Result<Vec<Stage>, Fault> {
        let mut stages = self.numbered_stages()?;
        if stages.is_empty() {
            stages = self.split_stages()?;
        }
        if stages.is_empty() {
            return self.no_blocks();
        }
        for block in stages.iter().flat_map(|stage| &stage.blocks) {
            let prefix = format!("{}.", block.module);
            self.map.retain(|module, _| !module.starts_with(&prefix));
        }
        Ok(stages)
    }

    /// The stages, if their names have numbers.
    fn numbered_stages(&self) -> Result<Vec<Stage>, Fault> {
        let places =
            || self.map.keys().filter_map(|module| Some((Place::in_stage(module)?, module)));
        let owners: BTreeMap<&str, &str> =
            places().map(|(place, _)| (place.owner, place.prefix)).collect();
        if owners.len() > 1 {
            let prefixes: Vec<String> = owners.values().map(|prefix| self.whole(prefix)).collect();
            return unknown(format!(
                "there are blocks under {}: more than one network, of which one is read; leave the \
                 others out of the file",
                listed(&prefixes).unwrap_or_default()
            ));
        }
        let mut found: BTreeMap<(Option<usize>, &str), BTreeMap<usize, &str>> = BTreeMap::new();
        for (place, _) in places() {
            let stage = found.entry((place.stage, place.prefix)).or_default();
            stage.insert(place.block, place.name);
        }
        let stages = found.into_iter().map(|((_, prefix), blocks)| {
            let first = blocks.keys().next().copied().unwrap_or(0);
            if first > 1 || blocks.keys().copied().ne(first..first + blocks.len()) {
                return unknown(format!("blocks of `{}` are missing", self.whole(prefix)));
            }
            let blocks = blocks.values().map(|name| self.block_of(name));
            Ok(Stage { prefix: prefix.to_owned(), blocks: blocks.collect::<Result<_, _>>()? })
        });
        stages.collect()
    }

    /// The stages of blocks that are numbered through: a new one begins where channels change, or where
    /// something projects.
    fn split_stages(&self) -> Result<Vec<Stage>, Fault> {
        let mut blocks = Blocks::new();
        for module in self.map.keys() {
            if let Some(place) = Place::in_list(module) {
                blocks.entry((place.block, place.name)).or_default().push(module);
            }
        }
        let mut stages: Vec<Stage> = Vec::new();
        for (_, name) in blocks.into_keys() {
            let block = self.block_of(name)?;
            let outputs = |block: &Block| block.convs.last().map(|conv| conv.channels);
            match stages.last_mut() {
                Some(Stage { blocks, .. })
                    if block.shortcut.is_none()
                        && blocks.last().map(outputs) == Some(outputs(&block)) =>
                {
                    blocks.push(block);
                }
                _ => stages.push(Stage { prefix: name.to_owned(), blocks: vec![block] }),
            }
        }
        Ok(stages)
    }

    fn block_of(&self, name: &str) -> Result<Block, Fault> {
        let prefix = format!("{name}.");
        let mut modules: Vec<&str> = self
            .map
            .keys()
            .map(String::as_str)
            .filter(|module| module.starts_with(&prefix))
            .collect();
        modules.sort_by_key(|module| natural(module));
        self.block(name, &modules)
    }
}
