//! The schema of rows as data: which operations there are, and which fields each of them takes.
//!
//! The reader and what it suggests, the columns of printed tables, the arguments of the inline form that stand
//! without names, and the test of the reference in `docs/table.md` follow from it.

use crate::spec::words::words;

words! {
    /// What a row does, by its `op`.
    pub enum Operation {
        /// A convolution.
        Conv = "conv",
        /// The largest pixels of windows.
        MaxPool = "max_pool",
        /// The means of windows.
        AveragePool = "average_pool",
        /// A binomial filter.
        Blur = "blur",
        /// Residual blocks of two 3x3 convolutions.
        Basic = "basic",
        /// Residual blocks of a 1x1, a 3x3 and a 1x1 convolution.
        Bottleneck = "bottleneck",
        /// A norm of its own.
        Norm = "norm",
        /// The mean over all pixels.
        GlobalAveragePool = "global_average_pool",
        /// A fully connected layer.
        Linear = "linear",
        /// Softmax over the channels.
        Softmax = "softmax",
    }
}

use Operation::{AveragePool, Basic, Blur, Bottleneck, Conv, Linear, MaxPool, Norm};

impl Operation {
    /// The fields that stand without their names in the inline form, in this order.
    pub fn positional(self) -> &'static [&'static str] {
        match self {
            Self::Conv => &["kernel", "channels"],
            Self::MaxPool | Self::AveragePool | Self::Blur => &["kernel"],
            Self::Basic | Self::Bottleneck | Self::Linear => &["channels"],
            Self::Norm | Self::GlobalAveragePool | Self::Softmax => &[],
        }
    }

    /// The fields of its rows, in the order in which they are written.
    pub fn fields(self) -> impl Iterator<Item = &'static str> {
        fields().filter(move |field| field.of.contains(&self)).map(|field| field.name)
    }
}

/// A field of rows.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The operations whose rows take it.
    pub of: &'static [Operation],
}

const WINDOWS: &[Operation] = &[Conv, MaxPool, AveragePool, Blur];
const POOLS: &[Operation] = &[MaxPool, AveragePool];
const BLOCKS: &[Operation] = &[Basic, Bottleneck];
const CONVOLUTIONS: &[Operation] = &[Conv, Basic, Bottleneck];

/// All fields, in the order in which a row is written. Those of one column stand under each other; but for the
/// last one, no row has two of them.
pub const COLUMNS: &[&[Field]] = &[
    &[field("layer", Operation::ALL)],
    &[field("op", Operation::ALL)],
    &[field("kernel", WINDOWS), field("repeat", BLOCKS)],
    &[field("channels", &[Conv, Basic, Bottleneck, Linear])],
    &[field("stride", &[Conv, MaxPool, AveragePool, Blur, Basic, Bottleneck])],
    &[field("dilation", CONVOLUTIONS)],
    &[field("first_dilation", BLOCKS)],
    &[field("padding", &[Conv, MaxPool, AveragePool, Blur, Basic, Bottleneck])],
    &[field("count_padding", POOLS)],
    &[field("rounding", POOLS)],
    &[field("width", &[Bottleneck])],
    &[field("scale", &[Bottleneck])],
    &[field("groups", &[Conv, Bottleneck])],
    &[field("stride_on", BLOCKS)],
    &[field("anti_alias", BLOCKS)],
    &[field("shortcut", BLOCKS)],
    &[field("shortcut_from", BLOCKS)],
    &[field("projection_kernel", BLOCKS), field("zero_channels", BLOCKS)],
    &[field("projection_norm", BLOCKS)],
    &[field("squeeze_excitation", BLOCKS), field("eca", BLOCKS)],
    &[field("attention_on", BLOCKS)],
    &[field("norm", &[Conv, Basic, Bottleneck, Norm])],
    &[field("bias", CONVOLUTIONS)],
    &[field("weight_standardization", CONVOLUTIONS)],
    &[field("activation", &[Conv, Basic, Bottleneck, Norm, Linear])],
    &[field("output_activation", BLOCKS)],
    &[field("weights", &[Conv, Basic, Bottleneck, Norm, Linear])],
    &[field("norm_weights", &[Conv])],
    &[
        field("input", Operation::ALL),
        field("output", Operation::ALL),
        field("upsample", Operation::ALL),
    ],
];

const fn field(name: &'static str, of: &'static [Operation]) -> Field {
    Field { name, of }
}

/// All fields, in the order in which a row is written.
pub fn fields() -> impl Iterator<Item = &'static Field> {
    COLUMNS.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/table.md");

    /// The parts of the page under its headings of the third level.
    fn sections() -> Vec<(&'static str, &'static str)> {
        let rows = DOCS.split("\n## ").find(|part| part.starts_with("Rows\n")).unwrap();
        rows.split("\n### ").map(|part| part.split_once('\n').unwrap()).collect()
    }

    /// The fields in the first column of a section's tables.
    fn documented(text: &str) -> Vec<&str> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|line| line.split_once(" | ").map(|(cell, _)| cell));
        cells.flat_map(|cell| cell.split("`, `").map(|name| name.trim_matches('`'))).collect()
    }

    #[test]
    fn every_operation_and_every_field_is_documented() {
        let sections = sections();
        let (_, every_row) = sections[0];
        for &operation in Operation::ALL {
            let quoted = format!("`{}`", operation.word());
            let section = sections.iter().find(|(heading, _)| heading.contains(&quoted));
            let (_, text) = section.unwrap_or_else(|| panic!("no heading has {quoted}"));
            for name in operation.fields() {
                let told = [every_row, text].iter().any(|text| text.contains(&format!("`{name}`")));
                assert!(told, "{quoted}: `{name}`");
            }
        }
    }

    #[test]
    fn every_field_in_the_page_is_one() {
        let mut count = 0;
        for (heading, text) in sections() {
            let mut operations = Operation::ALL.to_vec();
            operations.retain(|operation| heading.contains(&format!("`{}`", operation.word())));
            // What shortcuts are called, and the weights of attention, have tables of their own.
            let tables = text.split("\n#### ").next().unwrap().split("| `shortcut` | where").next();
            for name in documented(tables.unwrap()) {
                let takes = |operation: &Operation| operation.fields().any(|field| field == name);
                let taken = match operations[..] {
                    [] => Operation::ALL.iter().all(takes),
                    _ => operations.iter().any(takes),
                };
                assert!(taken, "{heading}: `{name}`");
                count += 1;
            }
        }
        assert!(count > 30, "only {count} fields were found");
    }

    #[test]
    fn names_are_given_once_and_positions_are_fields() {
        let names: Vec<&str> = fields().map(|field| field.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
        }
        for &operation in Operation::ALL {
            for name in operation.positional() {
                assert!(operation.fields().any(|field| field == *name), "{name}");
            }
        }
    }
}
