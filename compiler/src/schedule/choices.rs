//! Choices, saved as text: those that were measured, or that a file was packed for.
//!
//! ```text
//! resnet schedule 1
//! network resnet18
//! table 2f5c8a7be1d90346
//! batch 1
//! # avx512, 1 thread: 6.91 ms, by the cost model 7.04 ms
//!
//! conv1 direct rows
//! conv2_x.0.conv1 winograd4 rows
//! ```
//!
//! A network in `bf16` has a line `precision bf16` after that. The first line has the version. `table` is the [fingerprint](crate::graph::Graph::fingerprint)
//! of the table that was measured, so that a schedule is never taken for another one. Then each
//! convolution has a line: its name, its [`Algorithm`] and its [`Order`](super::Order). `#` begins a comment.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;

use resnet_runtime::kernels::{Precision, UnknownPrecision};

use super::choice::Site;
use super::{Algorithm, Choice, Schedule, Wishes};
use crate::fuse::{Fused, FusedOp};
use crate::graph::{Graph, Op};
use crate::words::UnknownWord;

/// The version that this program writes and reads.
const VERSION: &str = "1";

/// Choices for the convolutions of one network and one batch size.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// The network's name.
    pub network: String,
    /// The fingerprint of its table.
    pub table: u64,
    /// Pictures at a time.
    pub batch: usize,
    /// What activations and products are of.
    pub precision: Precision,
    /// What is known about the measurement; lines for people.
    pub comment: String,
    /// A choice for each convolution, by its name.
    pub layers: BTreeMap<String, Choice>,
}

/// Why a text is no saved schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, from 1 on.
    pub line: usize,
    /// What was found and what was expected.
    pub reason: String,
}

/// Why a saved schedule cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ChoicesError {
    /// It is for another table.
    #[error(
        "the schedule is for the table {found:016x} (`{network}`), and this one (`{name}`) is \
         {expected:016x}: the tables differ"
    )]
    Table {
        /// The network that was tuned.
        network: String,
        /// Its fingerprint.
        found: u64,
        /// The network at hand.
        name: String,
        /// Its fingerprint.
        expected: u64,
    },
    /// It is for another batch size.
    #[error("the schedule is for batches of {found}, and batches of {expected} are asked for")]
    Batch {
        /// The batch that was tuned.
        found: usize,
        /// The batch at hand.
        expected: usize,
    },
    /// It is for another precision.
    #[error("the schedule is for {found}, and {expected} is asked for")]
    Precision {
        /// That which was tuned.
        found: Precision,
        /// That at hand.
        expected: Precision,
    },
    /// It has a line for what is no convolution of the network.
    #[error("the schedule has a line for `{layer}`, which is no convolution of `{network}`")]
    Unknown {
        /// The line's layer.
        layer: String,
        /// The network at hand.
        network: String,
    },
    /// It rests on Winograd, which is ruled out.
    #[error("the schedule has `{layer}` as {choice}, which exact results rule out")]
    Exact {
        /// The layer's name.
        layer: String,
        /// Its choice.
        choice: Choice,
    },
    /// A convolution has no line, or one that does not suit it.
    #[error("the schedule has {found} for the convolution `{layer}`")]
    Layer {
        /// The layer's name.
        layer: String,
        /// What was found.
        found: String,
    },
}

impl Choices {
    /// Those of `layers`.
    pub fn new(graph: &Graph, wishes: &Wishes, layers: BTreeMap<String, Choice>) -> Self {
        let (network, table) = (graph.name.clone(), graph.fingerprint());
        let Wishes { batch, precision, .. } = *wishes;
        Self { network, table, batch, precision, comment: String::new(), layers }
    }

    /// Those of the schedule of a network of this name and precision, whose table has this fingerprint.
    pub fn of(
        name: &str,
        table: u64,
        precision: Precision,
        fused: &Fused,
        schedule: &Schedule,
    ) -> Self {
        let choices = fused.iter().filter_map(|(id, node)| {
            Some((node.name.clone(), schedule.node(id).plan.conv()?.choice()))
        });
        let (network, layers) = (name.to_owned(), choices.collect());
        let batch = schedule.batch;
        Self { network, table, batch, precision, comment: String::new(), layers }
    }

    /// Whether they are for the table of this fingerprint, which is the network `name`'s, and this batch
    /// size and precision.
    ///
    /// # Errors
    ///
    /// If they are not.
    pub fn check(&self, name: &str, table: u64, wishes: &Wishes) -> Result<(), ChoicesError> {
        let Wishes { batch, precision, .. } = *wishes;
        if self.table != table {
            return Err(ChoicesError::Table {
                network: self.network.clone(),
                found: self.table,
                name: name.to_owned(),
                expected: table,
            });
        }
        if self.batch != batch {
            return Err(ChoicesError::Batch { found: self.batch, expected: batch });
        }
        if self.precision != precision {
            return Err(ChoicesError::Precision { found: self.precision, expected: precision });
        }
        Ok(())
    }

    /// Whether each line is for a convolution of the network, computed or not.
    ///
    /// # Errors
    ///
    /// If one is not.
    pub(crate) fn check_layers(&self, graph: &Graph, fused: &Fused) -> Result<(), ChoicesError> {
        let whole = graph.whole();
        let multiplies = |op: &Op| matches!(op, Op::Conv { .. } | Op::Linear { .. });
        let of_graph = whole.nodes.iter().filter(|node| multiplies(&node.op));
        let of_fused = fused.nodes.iter().filter(|node| matches!(node.op, FusedOp::Conv(_)));
        let known: HashSet<&str> =
            of_graph.map(|node| &*node.name).chain(of_fused.map(|node| &*node.name)).collect();
        match self.layers.keys().find(|layer| !known.contains(layer.as_str())) {
            None => Ok(()),
            Some(layer) => {
                let (layer, network) = (layer.clone(), graph.name.clone());
                Err(ChoicesError::Unknown { layer, network })
            }
        }
    }

    /// The choice for a convolution.
    pub(super) fn choose(&self, site: &Site<'_>, exact: bool) -> Result<Choice, ChoicesError> {
        let layer = site.name.to_owned();
        match self.layers.get(site.name) {
            Some(&choice) if exact && choice.algorithm != Algorithm::Direct => {
                Err(ChoicesError::Exact { layer, choice })
            }
            Some(&choice) if site.allows(choice) => Ok(choice),
            Some(choice) => Err(ChoicesError::Layer { layer, found: format!("`{choice}`") }),
            None => Err(ChoicesError::Layer { layer, found: "no line".to_owned() }),
        }
    }
}

impl FromStr for Choices {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut lines = (1..)
            .zip(text.lines())
            .map(|(line, text)| (line, text.split('#').next().unwrap_or_default().trim()))
            .filter(|(_, text)| !text.is_empty());
        let mut next = |key: &str, what: &str| {
            let error = |line, found: &str| ParseError {
                line,
                reason: format!("found `{found}`, expected `{key} {what}`"),
            };
            let (line, text) = lines.next().ok_or_else(|| error(1, "the end"))?;
            let value = text.strip_prefix(key).filter(|value| value.starts_with(' '));
            let value = value.map(str::trim).ok_or_else(|| error(line, text))?;
            Ok((line, value.to_owned(), error(line, text)))
        };
        let (line, version, _) = next("resnet schedule", VERSION)?;
        if version != VERSION {
            let reason = format!(
                "the schedule has version {version}, and this program reads version {VERSION}"
            );
            return Err(ParseError { line, reason });
        }
        let (_, network, _) = next("network", "NAME")?;
        let (_, table, error) = next("table", "FINGERPRINT (16 hexadecimal digits)")?;
        let table = u64::from_str_radix(&table, 16).map_err(|_| error)?;
        let (_, batch, error) = next("batch", "NUMBER, at least 1")?;
        let batch = batch.parse().ok().filter(|&batch| batch > 0).ok_or(error)?;
        let (mut layers, mut precision) = (BTreeMap::new(), Precision::F32);
        for (line, text) in lines {
            let error = |reason| ParseError { line, reason };
            let words: Vec<&str> = text.split_whitespace().collect();
            if let ["precision", word] = words[..]
                && layers.is_empty()
            {
                let unknown = |unknown: UnknownPrecision| error(unknown.to_string());
                precision = word.parse().map_err(unknown)?;
                continue;
            }
            let [name, algorithm, order] = words[..] else {
                let form = "NAME ALGORITHM ORDER, as in `conv1 direct rows`";
                return Err(error(format!("found `{text}`, expected {form}")));
            };
            let word = |unknown: UnknownWord| error(unknown.to_string());
            let algorithm = algorithm.parse().map_err(word)?;
            let order = order.parse().map_err(word)?;
            if layers.insert(name.to_owned(), Choice { algorithm, order }).is_some() {
                return Err(error(format!("`{name}` has a line above already")));
            }
        }
        Ok(Self { network, table, batch, precision, comment: String::new(), layers })
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "resnet schedule {VERSION}")?;
        writeln!(f, "network {}", self.network)?;
        writeln!(f, "table {:016x}", self.table)?;
        writeln!(f, "batch {}", self.batch)?;
        if self.precision != Precision::F32 {
            writeln!(f, "precision {}", self.precision)?;
        }
        for line in self.comment.lines() {
            writeln!(f, "# {line}")?;
        }
        writeln!(f)?;
        for (name, choice) in &self.layers {
            writeln!(f, "{name} {choice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "resnet schedule 1\nnetwork a b\ntable 00000000000000ff\nbatch 2\n# measured\n\
                        \nconv1 direct rows\nconv2_x.0.conv1 winograd4 panels\n";

    #[test]
    fn what_is_printed_is_read() {
        let choices: Choices = TEXT.parse().unwrap();
        assert_eq!((choices.table, choices.batch, choices.layers.len()), (255, 2, 2));
        let choices = Choices { comment: "measured".to_owned(), ..choices };
        assert_eq!(choices.to_string(), TEXT);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (from, to, message) in [
            ("resnet schedule 1", "resnet schedule 2", "line 1: the schedule has version 2"),
            ("resnet schedule 1", "conv1: 1", "line 1: found `conv1: 1`, expected `resnet"),
            ("table 00000000000000ff", "table x", "line 3: found `table x`"),
            ("batch 2", "batch 0", "line 4: found `batch 0`"),
            (
                "direct rows",
                "direct",
                "line 7: found `conv1 direct`, expected NAME ALGORITHM ORDER",
            ),
            ("direct rows", "fft rows", "line 7: found `fft`, expected one of direct, winograd2"),
            ("direct rows", "direct rose", "line 7: found `rose`, expected one of rows, panels"),
            ("conv2_x.0.conv1", "conv1", "line 8: `conv1` has a line above already"),
            (TEXT, "", "line 1: found `the end`"),
        ] {
            let error = TEXT.replace(from, to).parse::<Choices>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
