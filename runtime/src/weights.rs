//! Weights, from a file's tensors to the memory that kernels read.
//!
//! ```text
//! Weights (source) -load-> Packed          named tensors, folded and laid out
//!                    |       ^
//!        WeightsPlan (recipe)|             which tensors, in which format, at which offset
//!                            |
//!         PackedFile (file) -'             what was packed before
//! ```
//!
//! A network asks for *tensors* ([`TensorSpec`]) and says how they are packed: a [`Recipe`] for each
//! part of the packed weights. [`load`] reads tensors of [`Weights`], folds and packs them
//! ([`pack`]), or checks that a file of packed weights ([`PackedFile`]) holds what the recipes say.
//! The formats are the kernels' ([`Panels`](crate::kernels::Panels)).

mod dtype;
mod error;
pub mod file;
mod load;
pub mod pack;
mod packed;
pub mod quantised;
mod recipe;
mod source;
mod tensor;

pub use error::{Found, Mismatch, WeightsError};
pub use file::PackedFile;
pub use load::{LoadError, all_threads, fold, load};
pub use packed::Packed;
pub use recipe::{Content, ConvSource, QuantisedSource, Recipe, Slice, WeightsPlan};
pub use source::{Tensor, Weights};
pub use tensor::{Init, Name, NormTensors, Stored, TensorSpec};
