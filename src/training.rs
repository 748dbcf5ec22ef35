//! Training: epochs of steps over images.

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
pub use trainer::{Epoch, Options, Progress, TrainError, Trainer};
