//! Numbers of bytes with units.

/// What stands behind a number of bytes, without regard to case.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// A number of bytes, with a unit behind it: `80MB`, `64MiB`, `1.5G`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number = number.trim_end();
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (Some(&(_, unit)), true) = (known, digits(whole) && digits(fraction)) else {
        return Err("expected a number of bytes, such as 65536, 80MB, 64MiB or 1.5G".to_owned());
    };
    let too_many = || "more bytes than there are addresses".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_many())?;
    let fraction: f64 = format!("0.{fraction}").parse().unwrap_or(0.0);
    // Less than a unit, so it fits.
    let rest = (fraction * unit as f64) as u64;
    let bytes = whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(rest));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(too_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        for (text, expected) in [
            ("0", 0),
            ("65536", 65536),
            ("64K", 65536),
            ("64m", 64 << 20),
            ("1G", 1 << 30),
            ("80MB", 80_000_000),
            ("80 MiB", 80 << 20),
            ("1.5G", 3 << 29),
            ("0.1kb", 100),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "M", "-1", "1.G", ".5G", "1X", "99999999999999999G", "64 M B", "1e3", "+1"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
