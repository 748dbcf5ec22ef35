//! Numbers, shapes and operations as a page writes them.

pub(super) use resnet_compiler::counts::{grouped, scaled};

use crate::network::{Dimensions, Field};

/// `256×56×56`; of a single pixel the channels alone.
pub(super) fn shape([channels, height, width]: Dimensions) -> String {
    match (height, width) {
        (1, 1) => channels.to_string(),
        _ => format!("{channels}×{height}×{width}"),
    }
}

/// A table's words for an operation: `conv 3×3/2`, `max pool 3×3/2`.
pub(super) fn operation(words: &str) -> String {
    let characters: Vec<char> = words.chars().collect();
    let digit = |index: Option<usize>| {
        index.and_then(|index| characters.get(index)).is_some_and(char::is_ascii_digit)
    };
    let written = characters.iter().enumerate().map(|(index, character)| match character {
        'x' if digit(index.checked_sub(1)) && digit(Some(index + 1)) => '×',
        '_' => ' ',
        character => *character,
    });
    written.collect()
}

/// Bytes in three digits: `98.6 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1023.5 {
            return format!("{value:.*} {unit}", decimals(value, unit));
        }
        value /= 1024.0;
    }
    format!("{value:.2} GiB")
}

fn decimals(value: f64, unit: &str) -> usize {
    match value {
        _ if unit == "B" => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    }
}

/// A part of a whole in percent; nothing of nothing.
pub(super) fn share(part: f64, whole: f64) -> String {
    let percent = 100.0 * part / whole;
    match percent {
        _ if part <= 0.0 || whole <= 0.0 => String::new(),
        percent if percent < 0.05 => "≈0%".to_owned(),
        percent if percent < 9.95 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// Milliseconds in three digits.
pub(super) fn milliseconds(ms: f64) -> String {
    let decimals = match ms {
        ms if ms < 0.9995 => 3,
        ms if ms < 9.995 => 2,
        _ => 1,
    };
    format!("{ms:.decimals$}")
}

/// A receptive field: `427`, `427×211`, with a star if means over the whole picture count as well; of what has no
/// pixels any more, `all`.
pub(super) fn field(field: &Field, output: Dimensions) -> String {
    let Field { rows, columns, whole, .. } = *field;
    if whole && output[1] * output[2] == 1 {
        return "all".to_owned();
    }
    let size = if rows == columns { rows.to_string() } else { format!("{rows}×{columns}") };
    if whole { size + "*" } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1 << 10), "1.00 KiB");
        assert_eq!(bytes(102_228_128), "97.5 MiB");
        assert_eq!(bytes(3 << 30), "3.00 GiB");
        assert_eq!(share(1.0, 3.0), "33%");
        assert_eq!(share(1.0, 3e4), "≈0%");
        assert_eq!(share(0.0, 3.0), "");
        assert_eq!(milliseconds(0.01234), "0.012");
        assert_eq!(milliseconds(12.34), "12.3");
    }

    #[test]
    fn only_sizes_have_a_times_sign() {
        assert_eq!(operation("max_pool 3x3/2"), "max pool 3×3/2");
        assert_eq!(operation("conv 1x7 pad 0x3"), "conv 1×7 pad 0×3");
        assert_eq!(shape([64, 7, 8]), "64×7×8");
        assert_eq!(shape([1000, 1, 1]), "1000");
    }

    #[test]
    fn fields_say_whether_all_pixels_count() {
        let of = |rows, columns, whole| Field { rows, columns, stride: [1, 1], whole };
        assert_eq!(field(&of(7, 7, false), [8, 4, 4]), "7");
        assert_eq!(field(&of(7, 9, true), [8, 4, 4]), "7×9*");
        assert_eq!(field(&of(7, 9, true), [8, 1, 1]), "all");
    }
}
