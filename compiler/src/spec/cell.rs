//! What one cell may say: numbers, extents, shapes, words.

use crate::geometry::{Extent, Shape};
use crate::limits::Limits;
use crate::spec::Claim;
use crate::spec::tree::abbreviate;

/// Largest number a cell may hold; a tensor may not have more elements.
pub(super) const MOST: usize = Limits::HERE.number;

/// Why a cell's text is refused.
pub(crate) struct Refused {
    /// Completes "`channels` ...".
    pub(crate) reason: String,
    /// How to mend it.
    pub(crate) help: Option<String>,
    /// The word that was probably meant.
    pub(crate) meant: Option<String>,
}

impl Refused {
    pub(super) fn new(reason: impl Into<String>, help: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: Some(help.into()), meant: None }
    }
}

/// A whole number of at least `least`; `_` may group its digits.
pub(super) fn number(text: &str, least: usize) -> Result<usize, Refused> {
    let wanted = || format!("write a whole number from {least} to {MOST}");
    let digits = text.strip_prefix('-').unwrap_or(text).replace('_', "");
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric || !text.ends_with(|c: char| c.is_ascii_digit()) || text.starts_with('_') {
        let reason = format!("is `{}`, which is not a whole number", abbreviate(text));
        return Err(Refused::new(reason, wanted()));
    }
    let shown = abbreviate(text);
    if text.starts_with('-') {
        return Err(Refused::new(format!("is {shown}, which is negative"), wanted()));
    }
    match digits.parse::<usize>() {
        Ok(value) if value < least => {
            Err(Refused::new(format!("is {shown}; it must be at least {least}"), wanted()))
        }
        Ok(value) if value <= MOST => Ok(value),
        _ => Err(Refused::new(format!("is {shown}, which is too large"), wanted())),
    }
}

/// Numbers with `x` between them, at most three.
fn numbers(text: &str, least: usize, wanted: &str) -> Result<Vec<usize>, Refused> {
    let parts: Vec<&str> = text.split(['x', 'X']).map(str::trim).collect();
    let numeric = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    if parts.len() > 3 || !parts.iter().all(numeric) {
        let reason = format!("is `{}`, which cannot be read", abbreviate(text));
        return Err(Refused::new(reason, wanted));
    }
    parts.iter().map(|part| number(part, least)).collect()
}

/// `3`, or `3x5` for rows x columns.
pub(super) fn extent(text: &str, least: usize) -> Result<Extent, Refused> {
    let wanted = "write one number for both directions, such as 3, or rows x columns, such as 3x5";
    match numbers(text, least, wanted)?[..] {
        [both] => Ok(Extent::square(both)),
        [rows, columns] => Ok(Extent::new(rows, columns)),
        _ => Err(Refused::new(format!("is `{text}`, which has too many numbers"), wanted)),
    }
}

/// `CxHxW`.
pub(super) fn shape(text: &str) -> Result<Shape, Refused> {
    let wanted = "write channels x height x width, such as 3x224x224";
    match numbers(text, 1, wanted)?[..] {
        [channels, height, width] => Ok(Shape::new(channels, height, width)),
        _ => Err(Refused::new(format!("is `{text}`, which is not a shape"), wanted)),
    }
}

/// `HxW` or `CxHxW`.
pub(super) fn claim(text: &str) -> Result<Claim, Refused> {
    let wanted =
        "write height x width, such as 56x56, or channels x height x width, such as 64x56x56";
    match numbers(text, 1, wanted)?[..] {
        [height, width] => Ok(Claim { channels: None, height, width }),
        [channels, height, width] => Ok(Claim { channels: Some(channels), height, width }),
        _ => Err(Refused::new(format!("is `{text}`, which is not a size"), wanted)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, Refused> {
    choice(text, &[("true", true), ("false", false)])
}

/// One of a few words.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Refused> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let meant = closest(text, &known);
    let help = match meant {
        Some(word) => format!("did you mean `{word}`? It may be {}", listed(&known)),
        None => format!("it may be {}", listed(&known)),
    };
    let refused = Refused::new(format!("is `{}`, which is unknown", abbreviate(text)), help);
    Err(Refused { meant: meant.map(str::to_owned), ..refused })
}

/// A factor: a positive number.
pub(super) fn factor(text: &str) -> Result<f64, Refused> {
    let value = real(text)?;
    if value > 0.0 {
        return Ok(value);
    }
    let help = "write a positive factor such as 2 or 0.5";
    Err(Refused::new(format!("is {text}; it must be positive"), help))
}

/// Like [`extent`], but of odd numbers.
pub(super) fn odd_extent(text: &str) -> Result<Extent, Refused> {
    let extent = extent(text, 1)?;
    match [extent.rows, extent.columns].into_iter().find(|size| size.is_multiple_of(2)) {
        Some(even) => Err(Refused::new(
            format!("is {text}, and {even} is even"),
            "write odd numbers of pixels, which half of the kernel can pad on both sides",
        )),
        None => Ok(extent),
    }
}

/// A finite number.
pub(super) fn real(text: &str) -> Result<f64, Refused> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && (value as f32).is_finite() => Ok(value),
        _ => Err(Refused::new(
            format!("is `{}`, which is not a number", abbreviate(text)),
            "write a number such as 0.485 or 1e-5",
        )),
    }
}

/// A name: not empty, not endless, nothing that a terminal or a file format would trip over.
pub(crate) fn name(text: &str) -> Result<String, Refused> {
    const LONGEST: usize = 100;
    let help = "write letters, digits and signs";
    if text.trim().is_empty() {
        Err(Refused::new("is empty", help))
    } else if text.chars().count() > LONGEST {
        Err(Refused::new(format!("is longer than {LONGEST} characters"), "write a shorter one"))
    } else if text.chars().any(char::is_control) {
        Err(Refused::new("contains control characters", help))
    } else {
        Ok(text.into())
    }
}

/// The word that `text` was probably meant to be.
pub(crate) fn closest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['_', '-', ' '], "");
    let text = plain(&abbreviate(text));
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&text, &plain(word)), *word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `` `a`, `b` or `c` ``.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
