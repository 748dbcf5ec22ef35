//! ResNets over Arrow arrays of pictures.
//!
//! ```no_run
//! use arrow_array::{Array, BinaryArray};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = resnet_arrow::ArrowNetwork::open("resnet18", "resnet18.safetensors")?;
//! let pictures = BinaryArray::from_opt_vec(vec![Some(&b"a file's bytes"[..]), None]);
//! let answers = network.classify(&pictures)?; // label, class, probability, error
//! assert!(answers.is_null(1));
//! # Ok(()) }
//! ```
//!
//! Any engine that works on Arrow arrays can call [`ArrowNetwork`] from as many threads as it has: a call
//! decodes, preprocesses and computes on its own thread and starts none, the network is shared, and each
//! call that runs at the same time has a session of its own. However many rows come at once, one picture
//! ([`ArrowNetwork::BATCH`]) is decoded at a time.
//!
//! A picture that cannot be read is an answer too: its `error` says why, and what else is asked of it is
//! NULL. A picture that is NULL has the answer NULL. Answers have the bits that `resnet run` gives on the
//! same machine.

mod answers;
mod description;
mod network;
mod pictures;

pub use answers::{classes_type, features_type};
pub use description::{Description, UnreadableDescription};
pub use network::{ArrowNetwork, OpenError, RowsError};
pub use pictures::{PICTURE_TYPES, UnknownType};
