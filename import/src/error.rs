//! What can be wrong with a checkpoint.

/// Why a checkpoint could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read.
    #[error("cannot read the checkpoint `{origin}`: {reason}")]
    Open {
        /// The path as it was given.
        origin: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file is of another format.
    #[error("`{origin}` is {found}; networks are read from safetensors, PyTorch and ONNX files")]
    Foreign {
        /// Path, or a phrase.
        origin: String,
        /// What it is.
        found: &'static str,
    },
    /// The file is damaged, truncated, or says what its format does not allow.
    #[error("`{origin}` is damaged, or no checkpoint: {reason}")]
    Corrupt {
        /// Path, or a phrase.
        origin: String,
        /// Where, what was found and what was expected.
        reason: String,
    },
    /// A pickle asks for code to be run.
    #[error(
        "`{origin}` would run `{global}`; refused. A checkpoint is read as data: save the state \
         dict alone, `torch.save(model.state_dict(), path)`"
    )]
    Code {
        /// Path, or a phrase.
        origin: String,
        /// The function or class, with its module.
        global: String,
    },
    /// The tensors are not those of a network that a layer table can describe.
    #[error("`{origin}`: {reason}")]
    Unknown {
        /// Path, or a phrase.
        origin: String,
        /// What was found and what was expected.
        reason: String,
    },
}

/// What went wrong inside a file whose name the reader at work does not know.
#[derive(Debug)]
pub(crate) enum Fault {
    Foreign(&'static str),
    Corrupt(String),
    Code(String),
    Unknown(String),
}

impl Fault {
    pub(crate) fn at(self, origin: &str) -> ImportError {
        let origin = origin.to_owned();
        match self {
            Self::Foreign(found) => ImportError::Foreign { origin, found },
            Self::Corrupt(reason) => ImportError::Corrupt { origin, reason },
            Self::Code(global) => ImportError::Code { origin, global },
            Self::Unknown(reason) => ImportError::Unknown { origin, reason },
        }
    }
}

pub(crate) fn corrupt<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Corrupt(reason.into()))
}

pub(crate) fn unknown<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unknown(reason.into()))
}
