//! What can be wrong with a file of packed weights.

use std::fmt;

use serde_json::Value;

/// Why a file of packed weights cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PackedError {
    /// Too short, or too long.
    #[error(
        "it has {found} bytes and should have {expected}: it was cut off or added to, by a copy or \
         a download that did not end; copy it again, or {AGAIN}"
    )]
    Length {
        /// Bytes found.
        found: u64,
        /// Bytes that its head tells of.
        expected: u64,
    },
    /// Line ends were converted.
    #[error("its bytes were changed by a transfer as text; transfer it as binary, or {AGAIN}")]
    Text,
    /// The numbers are big-endian.
    #[error("its numbers are big-endian; packed weights are little-endian everywhere: {AGAIN}")]
    ByteOrder,
    /// The format is of another version.
    #[error(
        "its format has version {found}, and this program reads version {read}: {AGAIN}, with \
         the version of `resnet` that is to read it"
    )]
    Version {
        /// Its version.
        found: u32,
        /// The version that this program reads.
        read: u32,
    },
    /// The head's checksum is wrong, or it contradicts itself.
    #[error("its head is damaged: copy it again, or {AGAIN}")]
    Head,
    /// The head is whole, but not what this version writes.
    #[error("what it says of itself cannot be read ({0}): {AGAIN}")]
    About(String),
    /// The elements' checksum is wrong.
    #[error("its weights are damaged (the checksum differs): copy it again, or {AGAIN}")]
    Checksum,
    /// It was packed for another table.
    #[error(
        "it was packed for another table{}, or for this one before it was changed{}: {AGAIN}",
        Named(network),
        Because(difference)
    )]
    Table {
        /// The network it was packed for.
        network: String,
        /// The first difference in how weights are packed, if there is one.
        difference: Option<Difference>,
    },
    /// It was packed for this table with other options, or by another version of the compiler.
    #[error(
        "it was packed with {} for the same table, but this network reads its weights in another \
         way{}: compile it with the same options, or {AGAIN}, with the options of this network",
        Options(options),
        Because(difference)
    )]
    Options {
        /// The options in the command's words.
        options: String,
        /// The first difference in how weights are packed.
        difference: Option<Difference>,
    },
}

/// What to do.
const AGAIN: &str = "pack the weights again";

/// The first difference between two ways to pack the weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// A part, by its weight tensor, of which some fields differ: name, value in the file,
    /// value needed.
    Fields(String, Vec<(String, String, String)>),
    /// The file has another part in this place: that one, the one needed.
    Other(String, String),
    /// The file lacks this part.
    Missing(String),
    /// The file has a part more than the network.
    Surplus(String),
    /// The elements have another length, in bytes.
    Length {
        /// In the file.
        found: usize,
        /// Needed.
        expected: usize,
    },
}

impl Difference {
    /// Of two lines that describe a part and are not the same.
    pub(super) fn between(found: &str, expected: &str) -> Self {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or(Value::Null);
        let (found, expected): (Value, Value) = (parse(found), parse(expected));
        let (other, name) = (weight(&found), weight(&expected));
        if other != name {
            return Self::Other(other, name);
        }
        let fields = expected.as_object().into_iter().flatten();
        let differing: Vec<_> = fields
            .filter(|(field, value)| found.get(field) != Some(value))
            .map(|(field, value)| {
                let found = found.get(field).unwrap_or(&Value::Null);
                (field.clone(), found.to_string(), value.to_string())
            })
            .collect();
        Self::Fields(name, differing)
    }

    pub(super) fn surplus(line: &str) -> Self {
        Self::Surplus(weight(&serde_json::from_str(line).unwrap_or(Value::Null)))
    }
}

/// The name of a part's weight tensor.
fn weight(recipe: &Value) -> String {
    recipe.get("weight").and_then(Value::as_str).unwrap_or("something unknown").to_owned()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(name, fields) => {
                write!(f, "`{name}`")?;
                for (index, (field, found, expected)) in fields.iter().enumerate() {
                    let comma = if index == 0 { ":" } else { "," };
                    write!(f, "{comma} {field} is {found} in the file and {expected} here")?;
                }
                Ok(())
            }
            Self::Other(found, expected) => {
                write!(f, "the file has `{found}` where the network has `{expected}`")
            }
            Self::Missing(name) => write!(f, "the file has no `{name}`"),
            Self::Surplus(name) => write!(f, "the network has no `{name}`"),
            Self::Length { found, expected } => {
                write!(f, "the file has {found} bytes of weights, the network needs {expected}")
            }
        }
    }
}

struct Named<'a>(&'a String);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ", called `{}`", self.0)
    }
}

struct Options<'a>(&'a String);

impl fmt::Display for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => f.write_str("no options"),
            options => write!(f, "the options `{options}`"),
        }
    }
}

struct Because<'a>(&'a Option<Difference>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(difference) => write!(f, " ({difference})"),
            None => Ok(()),
        }
    }
}
