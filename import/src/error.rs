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
    /// A tensor that is needed, or the whole of a pickle, is what code makes that would have to be run.
    #[error(
        "`{origin}`: {what} is made by `{global}`, which would have to be run; refused. A checkpoint is \
         read as data: save plain tensors, `torch.save(model.state_dict(), path)`"
    )]
    Code {
        /// Path, or a phrase.
        origin: String,
        /// The tensor, or a phrase.
        what: String,
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
    Code { what: String, global: String },
    Unknown(String),
}

impl Fault {
    /// The same, in a file within the file.
    pub(crate) fn inside(self, what: &str) -> Self {
        match self {
            Self::Corrupt(reason) => Self::Corrupt(format!("{what}: {reason}")),
            fault => fault,
        }
    }

    /// The same with what to do about another kind of network.
    pub(crate) fn advised(self, advice: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::Unknown(reason) => Self::Unknown(match advice() {
                Some(advice) => format!("{reason}; {advice}"),
                None => reason,
            }),
            fault => fault,
        }
    }

    pub(crate) fn at(self, origin: &str) -> ImportError {
        let origin = origin.to_owned();
        match self {
            Self::Foreign(found) => ImportError::Foreign { origin, found },
            Self::Corrupt(reason) => ImportError::Corrupt { origin, reason },
            Self::Code { what, global } => ImportError::Code { origin, what, global },
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

/// The first few names for a message, and how many more there are; nothing for none.
pub(crate) fn listed(names: &[String]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(3));
    let shown: Vec<String> = shown.iter().map(|name| format!("`{name}`")).collect();
    match more {
        [] if shown.is_empty() => None,
        [] => Some(shown.join(", ")),
        _ => Some(format!("{} and {} more", shown.join(", "), more.len())),
    }
}
