//! Training: a table, images with classes, and options become weights that every other part of this crate reads.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use resnet::train::{InMemory, Options, Trainer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec = resnet::Spec::from_yaml(resnet::zoo("cifar-resnet20").unwrap())?;
//! let data = InMemory::default(); // with images pushed to it
//! let mut trainer = Trainer::new(&spec, &data, Options::default())?;
//! while !trainer.is_done() {
//!     let epoch = trainer.epoch(&data, |_| ControlFlow::Continue(()))?;
//!     println!("{epoch:?}");
//! }
//! std::fs::write("w.safetensors", trainer.weights()?)?;
//! # Ok(()) }
//! ```

mod augment;
mod batch;
mod checkpoint;
mod data;
mod rate;
mod start;
mod trainer;

pub use augment::{Augment, Crop};
pub use checkpoint::CheckpointError;
pub use data::{Dataset, Files, InMemory};
pub use rate::Schedule;
pub use resnet_compiler::train::{StepError, TrainError as TableError};
pub use resnet_runtime::kernels::Decay;
pub use trainer::{Epoch, Options, Progress, TrainError, Trainer};
