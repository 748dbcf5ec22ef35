//! Which tensor of a checkpoint is which of the table's.

use std::collections::BTreeMap;

use resnet_compiler::graph::Graph;

use super::Renamed;
use crate::checkpoint::{Checkpoint, Stored};
use crate::error::{Fault, listed, unknown};

/// The tensors of a table, found among those of a checkpoint.
pub(crate) struct Pairs {
    pub(super) wrapper: String,
    pub(super) modules: Renamed,
    /// What is read without being a tensor of the table, by its whole name.
    pub(super) read: Vec<String>,
}

impl Pairs {
    /// Pairs the tensors of the table's network with those of the checkpoint. All of these have to be in the
    /// network, but for the counters of batch norms. Biases that the checkpoint does not have are zeros, and
    /// scales of batch norms ones, as PyTorch's layers without them compute; `notes` says so.
    pub(crate) fn find(
        &self,
        graph: &Graph,
        checkpoint: &Checkpoint,
        notes: &mut Vec<String>,
    ) -> Result<BTreeMap<String, Stored>, Fault> {
        let mut left: BTreeMap<&str, &Stored> =
            checkpoint.tensors.iter().map(|(name, stored)| (name.as_str(), stored)).collect();
        for name in &self.read {
            left.remove(name.as_str());
        }
        let mut pairs = BTreeMap::new();
        let (mut zeros, mut ones) = (Vec::new(), Vec::new());
        for tensor in &graph.tensors {
            let (module, part) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
            let Some(old) = self.modules.get(module) else {
                return unknown(format!(
                    "the derived network needs `{module}`, which the checkpoint does not have; stages \
                     whose blocks differ are not known"
                ));
            };
            let old = |part: &str| format!("{}{old}.{part}", self.wrapper);
            let has = |part| checkpoint.tensors.contains_key(&old(part));
            let stored = match (left.remove(old(part).as_str()), part) {
                (Some(stored), _) => stored.clone(),
                (None, "bias") if has("weight") || has("running_mean") => {
                    zeros.push(old(part));
                    Stored::same(tensor.shape.to_vec(), 0.0)
                }
                (None, "weight") if has("running_mean") => {
                    ones.push(old(part));
                    Stored::same(tensor.shape.to_vec(), 1.0)
                }
                _ => return unknown(format!("`{}` is missing", old(part))),
            };
            pairs.insert(tensor.name.to_string(), stored);
        }
        for (what, number, names) in [("biases", "zeros", zeros), ("scales", "ones", ones)] {
            if let Some(listed) = listed(&names) {
                notes.push(format!("{what} that the file does not have are {number}: {listed}"));
            }
        }
        let counters = left.len();
        left.retain(|name, _| name.rsplit('.').next() != Some("num_batches_tracked"));
        match counters - left.len() {
            0 => {}
            count => notes.push(format!("left out: {count} counters `num_batches_tracked`")),
        }
        let left: Vec<String> = left.into_keys().map(str::to_owned).collect();
        match listed(&left) {
            Some(names) => unknown(format!(
                "the derived network has no place for {names}; stages whose blocks differ are not \
                 known, and a layer has no tensors but those that a table knows"
            )),
            None => Ok(pairs),
        }
    }
}
