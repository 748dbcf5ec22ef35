//! Expected counts: checked to the digits that are written.

use std::fmt;

use crate::diagnostics::{Diagnostic, Diagnostics, Spanned};
use crate::spec::Spec;

/// What the author expects the network to count; a budget that fails the build.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Weighted layers, projections not counted.
    pub depth: Option<Spanned<Expected>>,
    /// Weights, biases and batch norm's scales and shifts.
    pub params: Option<Spanned<Expected>>,
    /// Multiply-adds of one picture.
    pub macs: Option<Spanned<Expected>>,
    /// Twice the multiply-adds.
    pub flops: Option<Spanned<Expected>>,
    /// Bytes of the activations' memory in a session on one thread; only the schedule knows it.
    pub arena_bytes: Option<Spanned<Expected>>,
}

/// A number with as many digits as somebody cared to write: `18`, `1.814e9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    text: String,
    digits: u128,
    /// The number is `digits * 10^exponent`.
    exponent: i32,
}

impl Expected {
    /// Parses digits, perhaps a fraction, perhaps an exponent; `_` may group digits. `None` for
    /// anything else and for more digits than any count has.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat().replace('_', "");
        let starts_well = whole.starts_with(|c: char| c.is_ascii_digit());
        if !starts_well || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let places = fraction.bytes().filter(u8::is_ascii_digit).count();
        let exponent = exponent.checked_sub(i32::try_from(places).ok()?)?;
        (exponent.abs() <= 30).then_some(())?;
        Some(Self { text: text.into(), digits: digits.parse().ok()?, exponent })
    }

    /// Whether `count`, rounded to the digits that are written, is this number. An integer
    /// without an exponent is met exactly.
    pub fn matches(&self, count: u64) -> bool {
        let power = 10u128.pow(self.exponent.unsigned_abs());
        let count = u128::from(count);
        if self.exponent <= 0 {
            // No overflow for a count below 10^8 places; beyond, digits do not match anyway.
            return count.checked_mul(power) == Some(self.digits);
        }
        let Some(value) = self.digits.checked_mul(power) else { return false };
        count.abs_diff(value).checked_mul(2).is_some_and(|twice| twice <= power)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The complaint if a count is not what was expected.
pub(crate) fn check(
    field: &str,
    expected: Option<&Spanned<Expected>>,
    count: u64,
) -> Option<Diagnostic> {
    let expected = expected.filter(|expected| !expected.value.matches(count))?;
    let counted = crate::counts::grouped(count);
    let diagnostic = Diagnostic::new(
        expected.span,
        format!("`expect.{field}` is {}, but the network has {counted}", expected.value),
    );
    let help = format!(
        "change the table, or write `{field}: {count}`; a number with an exponent, such as \
         1.814e9, is checked to the digits it has"
    );
    let diagnostic = diagnostic.label(format!("counted: {counted}")).help(help);
    Some(diagnostic.fix(expected.span, field, count))
}

impl Spec {
    /// Checks `expect.arena_bytes`, which only the scheduler knows.
    ///
    /// # Errors
    ///
    /// If the arena's size is not what the author expects, to the digits that are written.
    pub fn check_arena_bytes(&self, arena_bytes: u64) -> Result<(), Diagnostics> {
        match check("arena_bytes", self.expect.arena_bytes.as_ref(), arena_bytes) {
            Some(diagnostic) => Err(Diagnostics::one(self.source.clone(), diagnostic)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, count: u64) -> bool {
        Expected::parse(text).expect(text).matches(count)
    }

    #[test]
    fn an_integer_is_met_exactly() {
        assert!(matches("11689512", 11_689_512));
        assert!(matches("11_689_512", 11_689_512));
        assert!(!matches("11689512", 11_689_513));
        assert!(matches("18.0", 18));
        assert!(!matches("18.5", 18));
        assert!(matches("0", 0));
    }

    #[test]
    fn an_exponent_is_met_to_its_digits() {
        assert!(matches("1.814e9", 1_814_073_344));
        assert!(!matches("1.813e9", 1_814_073_344));
        assert!(matches("1.8e9", 1_814_073_344));
        assert!(matches("2e9", 1_814_073_344));
        assert!(!matches("1.80e9", 1_814_073_344));
        assert!(matches("11.514E+9", 11_513_626_624));
        assert!(matches("0.27e6", 269_722));
        // Halfway is right in both directions.
        assert!(matches("1e1", 5) && matches("1e1", 15));
        assert!(!matches("1e1", 4) && !matches("1e1", 16));
        assert!(matches("18e0", 18));
        assert!(matches("180e-1", 18));
    }

    #[test]
    fn hostile_numbers_are_refused_or_do_not_match() {
        for text in
            ["", "e9", ".5", "-1", "+1", "1e", "1e99999999999", "1e40", "1M", "0x10", "1e9M"]
        {
            assert_eq!(Expected::parse(text), None, "{text}");
        }
        assert_eq!(Expected::parse(&"9".repeat(1000)), None);
        assert!(!matches("999999999999999999999999999999e30", u64::MAX));
        assert!(!matches("1e-30", u64::MAX));
        assert!(matches("1.8446744073709551615e19", u64::MAX));
        assert!(!matches("1.8446744073709551614e19", u64::MAX));
    }

    #[test]
    fn the_arena_is_a_budget_too() {
        let table = "name: n\ninput: 1x1x1\ntable: [{layer: s, op: softmax}]\n";
        let spec = Spec::from_yaml(&format!("{table}expect: {{arena_bytes: 4096}}\n")).unwrap();
        assert!(spec.check_arena_bytes(4096).is_ok());
        let error = spec.check_arena_bytes(4160).unwrap_err().to_string();
        assert!(
            error.contains("`expect.arena_bytes` is 4096, but the network has 4,160"),
            "{error}"
        );
        assert!(Spec::from_yaml(table).unwrap().check_arena_bytes(1).is_ok());
    }
}
