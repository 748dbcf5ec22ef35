//! Rows of a table as YAML, with their cells under each other.
//!
//! ```
//! use resnet_compiler::spec::rows::{Row, aligned};
//!
//! let stem = Row::new("conv1", "conv").with("kernel", 7).with("stride", 2).with("channels", 64);
//! let text = aligned(&[stem, Row::new("avgpool", "global_average_pool").with("output", "1x1")]);
//! assert!(text.starts_with("  - {layer: conv1,   op: conv, kernel: 7, channels: 64, stride: 2}\n"));
//! ```

use std::fmt::{Display, Write};

use crate::spec::schema::{COLUMNS, Field};

/// The last column has cells of several fields.
const LAST: usize = COLUMNS.len() - 1;

/// A row of a table that is being written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    cells: Vec<(&'static str, String)>,
}

impl Row {
    /// A row with a name and an operation.
    pub fn new(layer: impl Display, op: impl Display) -> Self {
        Self::default().with("layer", layer).with("op", op)
    }

    /// The same with one more cell; `value` is YAML.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Display) -> Self {
        self.set(field, value);
        self
    }

    /// Sets a cell; `value` is YAML.
    pub fn set(&mut self, field: &'static str, value: impl Display) {
        self.cells.retain(|(known, _)| *known != field);
        self.cells.push((field, value.to_string()));
    }

    /// Removes a cell.
    pub fn unset(&mut self, field: &str) {
        self.cells.retain(|(known, _)| *known != field);
    }

    /// What a cell says, if it is there.
    pub fn get(&self, field: &str) -> Option<&str> {
        let mut cells = self.cells.iter();
        cells.find(|(known, _)| *known == field).map(|(_, value)| value.as_str())
    }

    /// The cells as they are printed, by their columns.
    fn columns(&self) -> [Option<String>; LAST + 1] {
        let mut columns = [const { None }; LAST + 1];
        for (field, value) in &self.cells {
            let is_of = |fields: &&[Field]| fields.iter().any(|known| known.name == *field);
            let column = COLUMNS.iter().position(is_of).unwrap_or(LAST);
            let before = columns[column].take().map_or(String::new(), |cell| cell + ", ");
            columns[column] = Some(format!("{before}{field}: {value}"));
        }
        columns
    }
}

/// Words that stand for something else than themselves in YAML, in some of its versions.
const RESERVED: [&str; 8] = ["null", "true", "false", "yes", "no", "on", "off", "nan"];

/// A text as YAML: plain where nothing in it could mean anything else.
pub(crate) fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    if is_word && !RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return text.to_owned();
    }
    // A string of JSON is one of YAML; strings always serialise.
    serde_json::to_string(text).unwrap_or_default()
}

/// Rows as lines of YAML. The long word `global_average_pool` runs over its column, which has the cells
/// of no other row pushed away.
pub fn aligned(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().map(Row::columns).collect();
    let is_long = |row: &[Option<String>]| row[2..LAST].iter().all(Option::is_none);
    let widths: [usize; LAST + 1] = std::array::from_fn(|column| {
        let others = rows.iter().filter(|row| column != 1 || !is_long(*row));
        others.filter_map(|row| row[column].as_ref()).map(|cell| cell.len() + 2).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let last = row.iter().rposition(Option::is_some).unwrap_or(0);
        let (mut line, mut start) = (String::new(), 0);
        for (column, cell) in row.iter().enumerate().take(last + 1) {
            if let Some(cell) = cell {
                let missing = start - line.len().min(start);
                let comma = if column == last { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(line, "{:missing$}{cell}{comma}", "");
            }
            start += widths[column];
        }
        let _ = writeln!(text, "  - {{{line}}}");
    }
    text
}
