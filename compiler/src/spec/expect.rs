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
    /// Bytes of the activations' arena; only the schedule knows it.
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
    let counted = crate::report::grouped(count);
    let diagnostic = Diagnostic::new(
        expected.span,
        format!("`expect.{field}` is {}, but the network has {counted}", expected.value),
    );
    Some(diagnostic.label(format!("counted: {counted}")).help(format!(
        "change the table, or write `{field}: {count}`; a number with an exponent, such as \
         1.814e9, is checked to the digits it has"
    )))
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
