//! Counts as a person reads them.

/// A count with a comma every three digits: `11,689,512`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count to four digits with a unit: `118.0M`, `1.814G`.
pub fn scaled(count: u64) -> String {
    let mut value = count as f64;
    let mut units = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // 999.95 and more would be printed as 1000.0.
    while value >= 999.95
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    let decimals = match value {
        _ if unit.is_empty() => 0,
        value if value < 9.9995 => 3,
        value if value < 99.995 => 2,
        _ => 1,
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(11_689_512), "11,689,512");
    }

    #[test]
    fn counts_are_scaled_to_four_digits() {
        assert_eq!(scaled(0), "0");
        assert_eq!(scaled(512), "512");
        assert_eq!(scaled(999), "999");
        assert_eq!(scaled(1_000), "1.000k");
        assert_eq!(scaled(118_013_952), "118.0M");
        assert_eq!(scaled(12_845_056), "12.85M");
        assert_eq!(scaled(999_999), "1.000M");
        assert_eq!(scaled(9_999_900_000), "10.00G");
        assert_eq!(scaled(1_814_073_344), "1.814G");
        assert_eq!(scaled(u64::MAX), "18.45E");
    }
}
