//! Training: epochs of steps over images, or of the classifier alone.

mod augment;
mod batch;
mod checkpoint;
mod data;
mod fit;
mod gradients;
mod rate;
mod start;
mod trainer;

pub use augment::{Augment, Crop, UnknownCrop};
pub use checkpoint::CheckpointError;
pub use data::{Dataset, Files, InMemory, Prepared};
pub use fit::{Backbone, Classifier, Features, FitError, FitOptions, fit};
pub use gradients::{GradientOptions, Gradients, LayerGradient, gradients};
pub use rate::Schedule;
pub use trainer::{Epoch, Options, Progress, TrainError, Trainer};
