//! What an import has to say.

use std::fmt;

/// What a file leaves open, and what was taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    /// What was assumed.
    pub what: String,
    /// The option of `resnet import` that changes it, with an example; `None` if none does.
    pub option: Option<String>,
    /// Whether almost all networks of the kind have it so. The others are worth a look.
    pub usual: bool,
}

/// A line of its own.
impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "assumed: {}", self.what)?;
        match &self.option {
            Some(option) => write!(f, " (else `{option}`)"),
            None => Ok(()),
        }
    }
}

/// The usual ones in one line; nothing for none.
pub(crate) fn in_short(assumed: &[Assumption]) -> Option<String> {
    let usual = assumed.iter().filter(|assumption| assumption.usual);
    let parts: Vec<String> = usual
        .map(|Assumption { what, option, .. }| match option {
            // The option alone, without its value.
            Some(option) => format!("{what} (`{}`)", option.split(' ').next().unwrap_or_default()),
            None => what.clone(),
        })
        .collect();
    (!parts.is_empty()).then(|| format!("assumed, as is usual: {}", parts.join("; ")))
}
