//! What is needed to go on: a safetensors file with the weights, and beside them the velocities, the average, and where
//! the training was.

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::trainer::{Position, Trainer, safetensors_of, tensors};

/// Why a checkpoint cannot be gone on from, or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is damaged.
    #[error("the checkpoint cannot be read: {0}")]
    Damaged(String),
    /// It is a safetensors file of something else.
    #[error("the file is no checkpoint of a training: its metadata has no `{KEY}`")]
    Other,
    /// It is of another training.
    #[error("the checkpoint is of a training with another {what}: {found} there, {expected} here")]
    Differs {
        /// What differs.
        what: &'static str,
        /// The checkpoint's.
        found: String,
        /// This training's.
        expected: String,
    },
    /// A checkpoint cannot be put together.
    #[error("the checkpoint cannot be written: {0}")]
    Write(String),
}

/// The key of the metadata.
const KEY: &str = "resnet.training";

const VELOCITY: &str = "velocity.";
const AVERAGE: &str = "average.";

#[derive(Debug, Serialize, Deserialize)]
struct Training {
    /// A number for the table.
    table: u64,
    images: usize,
    /// In words: whoever reads it compares.
    options: String,
    at: Position,
}

impl Training {
    fn of(trainer: &Trainer) -> Self {
        let mut options = trainer.options.clone();
        // The same bits come of any number of threads and of any memory; of another instruction set they do not.
        (options.threads, options.memory) = (None, None);
        Self {
            table: trainer.graph.fingerprint(),
            images: trainer.images,
            options: format!("{options:?}"),
            at: trainer.at,
        }
    }
}

pub(super) fn save(trainer: &Trainer) -> Result<Vec<u8>, CheckpointError> {
    let own = tensors(&trainer.step);
    let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for spec in &trainer.graph.tensors {
        let shape = spec.shape.to_vec();
        if let Some(velocity) = trainer.step.velocity(&spec.name) {
            all.push((format!("{VELOCITY}{}", spec.name), shape.clone(), velocity));
        }
        if let Some(average) = &trainer.average {
            let values = average[&*spec.name].clone();
            all.push((format!("{AVERAGE}{}", spec.name), shape.clone(), values));
        }
        all.push((spec.name.to_string(), shape, own[&*spec.name].clone()));
    }
    let training = serde_json::to_string(&Training::of(trainer));
    let training = training.map_err(|error| CheckpointError::Write(error.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), training)]);
    let named = all.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), &values[..]));
    safetensors_of(named, Some(metadata)).map_err(CheckpointError::Write)
}

pub(super) fn restore(trainer: &mut Trainer, bytes: &[u8]) -> Result<(), CheckpointError> {
    let damaged = |error: &dyn std::fmt::Display| CheckpointError::Damaged(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
    let training = header.metadata().as_ref().and_then(|map| map.get(KEY));
    let found: Training = serde_json::from_str(training.ok_or(CheckpointError::Other)?)
        .map_err(|error| damaged(&error))?;
    let expected = Training::of(trainer);
    for (what, found, expected) in [
        ("table", found.table.to_string(), expected.table.to_string()),
        ("number of images", found.images.to_string(), expected.images.to_string()),
        ("set of options", found.options.clone(), expected.options),
    ] {
        if found != expected {
            return Err(CheckpointError::Differs { what, found, expected });
        }
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
    let read = |name: &str, len: usize| -> Result<Vec<f32>, CheckpointError> {
        let tensor = file.tensor(name).map_err(|error| damaged(&error))?;
        let data = tensor.data();
        if tensor.dtype() != Dtype::F32 || data.len() != len * 4 {
            return Err(damaged(&format!("`{name}` has not the table's size")));
        }
        let (floats, _) = data.as_chunks();
        Ok(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    };
    // All is read before anything is changed.
    let mut own = Vec::new();
    let mut average = BTreeMap::new();
    for spec in &trainer.graph.tensors {
        let (name, len) = (&spec.name, spec.shape.iter().product());
        let velocity = match trainer.step.velocity(name) {
            Some(_) => Some(read(&format!("{VELOCITY}{name}"), len)?),
            None => None,
        };
        if trainer.average.is_some() {
            average.insert(name.to_string(), read(&format!("{AVERAGE}{name}"), len)?);
        }
        own.push((name.to_string(), read(name, len)?, velocity));
    }
    for (name, values, velocity) in own {
        trainer.step.set(&name, &values, velocity.as_deref());
    }
    if trainer.average.is_some() {
        trainer.average = Some(average);
    }
    trainer.at = found.at;
    Ok(())
}
