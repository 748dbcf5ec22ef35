//! Options of the commands that write tables by rule.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use resnet_compiler::family::{Block, FamilyError, Form, Member};
use resnet_compiler::graph::Shape;
use resnet_compiler::spec::Shortcut;

/// What all networks of a family have in common.
#[derive(Debug, Args)]
pub(crate) struct FamilyOptions {
    /// The form for small pictures: no pool, three stages of 16, 32 and 64 channels.
    #[arg(long)]
    pub(crate) cifar: bool,
    /// The residual block [default: the one of that depth in the literature].
    #[arg(long, value_enum)]
    pub(crate) block: Option<BlockName>,
    /// What stands beside the blocks, as tables name it [default: projection; with `--cifar` zero_pad].
    #[arg(long, value_name = "SHORTCUT", value_parser = shortcut)]
    shortcut: Option<Shortcut>,
    /// Groups of the bottlenecks' 3x3 convolutions: 32 in most ResNeXts.
    #[arg(long, value_name = "G")]
    groups: Option<NonZeroUsize>,
    /// Channels of each group in the first stage: 4 in a ResNeXt 32x4d; 128, and no groups, in the
    /// Wide ResNet-50-2.
    #[arg(long, value_name = "C")]
    width_per_group: Option<NonZeroUsize>,
    /// How many classes there are [default: 1000; with `--cifar` 10].
    #[arg(long, value_name = "N")]
    classes: Option<NonZeroUsize>,
    /// The picture [default: 3x224x224; with `--cifar` 3x32x32].
    #[arg(long, value_name = "CxHxW", value_parser = shape)]
    input: Option<Shape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BlockName {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1, a 3x3 and a 1x1 convolution.
    Bottleneck,
}

/// How many blocks a network has.
pub(crate) enum Size {
    Depth(usize),
    /// Blocks of each of three stages.
    N(usize),
    Repeats(Vec<usize>),
}

impl FamilyOptions {
    /// The network of a size and a width.
    pub(crate) fn member(&self, size: Size, width: f64) -> Result<Member, FamilyError> {
        let form = if self.cifar { Form::Cifar } else { Form::ImageNet };
        let block = self.block.map(|block| match block {
            BlockName::Basic => Block::Basic,
            BlockName::Bottleneck => Block::Bottleneck,
        });
        let or_basic = block.unwrap_or(Block::Basic);
        let member = match size {
            Size::Depth(depth) => Member::of_depth(form, depth, block)?,
            Size::N(n) => Member::of_repeats(form, or_basic, [n; 3]),
            Size::Repeats(repeats) => Member::of_repeats(form, or_basic, repeats),
        };
        Ok(Member {
            shortcut: self.shortcut.unwrap_or(member.shortcut),
            width,
            groups: self.groups.map_or(member.groups, NonZeroUsize::get),
            width_per_group: self.width_per_group.map(NonZeroUsize::get),
            input: self.input.unwrap_or(member.input),
            classes: self.classes.map_or(member.classes, NonZeroUsize::get),
            ..member
        })
    }
}

/// The table's word for a shortcut.
fn shortcut(text: &str) -> Result<Shortcut, String> {
    Shortcut::ALL.iter().copied().find(|shortcut| shortcut.word() == text).ok_or_else(|| {
        let words: Vec<&str> = Shortcut::ALL.iter().map(|shortcut| shortcut.word()).collect();
        format!("expected one of {}", words.join(", "))
    })
}

/// `channels x height x width`, each at least 1.
fn shape(text: &str) -> Result<Shape, String> {
    let parts: Option<Vec<NonZeroUsize>> = text.split('x').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([c, height, width]) => Ok(Shape::new(c.get(), height.get(), width.get())),
        _ => Err("expected channels x height x width, such as 3x224x224".to_owned()),
    }
}

/// Numbers of at least 1, as in `18,34,50`, `3..=18` or both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers(pub(crate) Vec<usize>);

/// More networks than anybody waits for.
const MOST_NUMBERS: usize = 1000;

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let range = range(part.trim())?;
            let room = MOST_NUMBERS - numbers.len();
            if range.end() - range.start() >= room {
                return Err(format!("these are more than {MOST_NUMBERS} numbers"));
            }
            numbers.extend(range);
        }
        Ok(Self(numbers))
    }
}

/// `7`, `3..=18`, or `3..19` for the same without its end.
fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let number = |digits: &str| match digits.trim().parse::<NonZeroUsize>() {
        Ok(number) => Ok(number.get()),
        Err(_) => Err(format!(
            "`{digits}` in `{text}` is no number of at least 1; write 18,34,50 or 3..=18"
        )),
    };
    let Some((start, end)) = text.split_once("..") else {
        let number = number(text)?;
        return Ok(number..=number);
    };
    let (start, end) = match end.strip_prefix('=') {
        Some(end) => (number(start)?, number(end)?),
        None => (number(start)?, number(end)? - 1),
    };
    if start > end {
        return Err(format!("there is no number in `{text}`: write the smaller one first"));
    }
    Ok(start..=end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_lists_and_ranges() {
        for (text, expected) in [
            ("7", &[7][..]),
            ("18,34, 50", &[18, 34, 50]),
            ("3..=6", &[3, 4, 5, 6]),
            ("3..6,9", &[3, 4, 5, 9]),
            ("5..=5", &[5]),
        ] {
            assert_eq!(text.parse(), Ok(Numbers(expected.to_vec())), "{text}");
        }
        assert_eq!("1..=1000".parse::<Numbers>().unwrap().0.len(), 1000);
    }

    #[test]
    fn bad_ranges_say_why() {
        for (text, reason) in [
            ("", "`` in `` is no number"),
            ("3,", "is no number"),
            ("0", "`0` in `0` is no number of at least 1"),
            ("-3..=5", "`-3` in `-3..=5`"),
            ("3..", "`` in `3..`"),
            ("..=9", "is no number"),
            ("a..=9", "`a` in `a..=9`"),
            ("1.5", "is no number"),
            ("3...6", "is no number"),
            ("18..=3", "there is no number in `18..=3`"),
            ("3..3", "there is no number in `3..3`"),
            ("1..=1001", "more than 1000"),
            ("1..=600,1..=600", "more than 1000"),
            ("1..=18446744073709551615", "more than 1000"),
        ] {
            let error = text.parse::<Numbers>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
