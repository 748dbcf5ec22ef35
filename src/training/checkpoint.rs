//! What is needed to go on: a safetensors file with the weights, and beside them the velocities, the average, and where
//! the training was.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use resnet_runtime::kernels::Isa;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::augment::Augment;
use super::trainer::{Options, Position, Trainer, safetensors_of, tensors};

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
        /// What differs: the table, the number of images, an option.
        what: String,
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
    /// All options that the bits depend on, by name. One that is not there was not known yet, and was what it is by default.
    options: BTreeMap<String, String>,
    at: Position,
}

impl Training {
    fn of(trainer: &Trainer) -> Self {
        Self {
            table: trainer.graph.fingerprint(),
            images: trainer.images,
            options: named(&trainer.options),
            at: trainer.at,
        }
    }

    /// What another training does not have in common with this one.
    fn differs(&self, other: &Self) -> Option<CheckpointError> {
        let differs = |what: &str, found: String, expected: String| {
            let what = what.to_owned();
            (found != expected).then_some(CheckpointError::Differs { what, found, expected })
        };
        let defaults = named(&Options::default());
        let mut names: Vec<&String> = self.options.keys().chain(other.options.keys()).collect();
        names.sort();
        let value = |of: &Self, name: &String| {
            let value = of.options.get(name).or_else(|| defaults.get(name));
            value.map_or("unknown", |value| value).to_owned()
        };
        differs("table", self.table.to_string(), other.table.to_string())
            .or_else(|| {
                differs("number of images", self.images.to_string(), other.images.to_string())
            })
            .or_else(|| {
                let mut names = names.into_iter();
                names.find_map(|name| differs(name, value(self, name), value(other, name)))
            })
    }
}

/// The options that the bits of a training depend on, by name.
fn named(options: &Options) -> BTreeMap<String, String> {
    let Options {
        epochs,
        batch,
        rate,
        schedule,
        warm_up: _,
        momentum,
        nesterov,
        decay,
        decay_kind,
        smoothing,
        augment: Augment { crop, flip, cutout, mixup },
        average,
        freeze,
        // The same bits come of any memory and of any number of threads.
        memory: _,
        seed,
        threads: _,
        isa,
    } = options;
    let isa = isa.unwrap_or_else(Isa::detect);
    let all: [(&str, &dyn fmt::Debug); 18] = [
        ("epochs", epochs),
        ("batch", batch),
        ("rate", rate),
        ("schedule", schedule),
        ("warm-up", &options.warm_up()),
        ("momentum", momentum),
        ("nesterov", nesterov),
        ("decay", decay),
        ("kind of decay", decay_kind),
        ("smoothing", smoothing),
        ("crop", crop),
        ("flip", flip),
        ("cutout", cutout),
        ("mixup", mixup),
        ("average", average),
        ("set of frozen layers", freeze),
        ("seed", seed),
        ("instruction set", &isa.name()),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), format!("{value:?}"))).collect()
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
    if let Some(error) = found.differs(&Training::of(trainer)) {
        return Err(error);
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
