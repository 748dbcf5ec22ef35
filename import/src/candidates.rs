//! Which networks a checkpoint holds, where it may hold several: two encoders, a student and a teacher,
//! a detector around a backbone.

use std::collections::BTreeMap;
use std::fmt;

use crate::checkpoint::{Checkpoint, Stored};
use crate::error::{Fault, unknown};
use crate::names::block_of;

/// A part of a checkpoint that is a residual network by its names.
#[derive(Debug)]
struct Candidate {
    /// What the names of its tensors begin with, dots included.
    prefix: String,
    sketch: Sketch,
}

/// What a network looks like by the names and shapes of its tensors.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sketch {
    tensors: usize,
    numbers: usize,
    /// Blocks of each stage.
    stages: BTreeMap<usize, BTreeMap<usize, usize>>,
    /// The linear layers outside of blocks, and their outputs.
    linear: Vec<(String, usize)>,
}

impl Sketch {
    pub(crate) fn of<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Self {
        let mut sketch = Self::default();
        for (name, shape) in tensors {
            sketch.tensors += 1;
            sketch.numbers = sketch.numbers.saturating_add(shape.iter().product());
            let Some(module) = name.strip_suffix(".weight") else { continue };
            match (block_of(module), shape) {
                (Some(place), &[_, _, _, _]) => {
                    let stage = sketch.stages.entry(place.stage).or_default();
                    *stage.entry(place.block).or_default() += usize::from(place.is_main);
                }
                (None, &[outputs, _]) => sketch.linear.push((module.to_owned(), outputs)),
                _ => {}
            }
        }
        sketch
    }
}

impl fmt::Display for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors, ", self.tensors)?;
        match self.numbers {
            few @ ..100_000 => write!(f, "{few} numbers")?,
            many => write!(f, "{:.1} million numbers", many as f64 / 1e6)?,
        }
        // As networks are named: the convolutions of blocks, the stem's and the classifier.
        let convs: usize = self.stages.values().flat_map(BTreeMap::values).sum();
        if convs > 0 {
            write!(f, ", resnet{}", convs + 2)?;
        }
        match &*self.linear {
            [] => f.write_str(" without classifier"),
            [(_, classes)] => write!(f, " of {classes} classes"),
            several => write!(f, " with {} linear layers", several.len()),
        }
    }
}

/// Whether tensors of these names are residual blocks.
pub(crate) fn has_blocks<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| is_block_conv(name).is_some())
}

/// What stands before the stages, if a tensor is a convolution of a block.
fn is_block_conv(name: &str) -> Option<&str> {
    let place = block_of(name.strip_suffix(".weight")?)?;
    place.is_main.then_some(place.root)
}

/// Takes the tensors that options select, without what their names begin with; all of them have to be of
/// one network.
pub(crate) fn select(
    checkpoint: &mut Checkpoint,
    prefix: Option<&str>,
    without: &[String],
) -> Result<(), Fault> {
    if let Some(prefix) = prefix {
        take(checkpoint, &dotted(prefix))?;
    }
    for part in without {
        leave_out(checkpoint, &dotted(part))?;
    }
    match &*candidates(checkpoint) {
        several @ [_, _, ..] => {
            let list = list(several, prefix);
            unknown(format!("there are several networks in it:{list}"))
        }
        _ => Ok(()),
    }
}

/// A module's name, and a dot behind it.
fn dotted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// Leaves out the tensors whose names begin so, or are that.
fn leave_out(checkpoint: &mut Checkpoint, part: &str) -> Result<(), Fault> {
    let is = |name: &str| name.starts_with(part) || name == &part[..part.len() - 1];
    let before = checkpoint.tensors.len() + checkpoint.unread.len();
    checkpoint.tensors.retain(|name, _| !is(name));
    checkpoint.unread.retain(|name, _| !is(name));
    let part = &part[..part.len() - 1];
    match before - checkpoint.tensors.len() - checkpoint.unread.len() {
        0 => unknown(format!("`--without {part}` leaves nothing out; no tensor's name begins so")),
        count => {
            checkpoint.notes.push(format!("left out: {count} tensors of `{part}`"));
            Ok(())
        }
    }
}

/// Takes the tensors whose names begin so.
fn take(checkpoint: &mut Checkpoint, prefix: &str) -> Result<(), Fault> {
    let all = std::mem::take(&mut checkpoint.tensors);
    let (mut selected, mut left) = (BTreeMap::new(), BTreeMap::new());
    for (name, stored) in all {
        match name.strip_prefix(prefix) {
            Some(inner) => drop(selected.insert(inner.to_owned(), stored)),
            None => drop(left.insert(name, stored)),
        }
    }
    if selected.is_empty() {
        checkpoint.tensors = left;
        let candidates = candidates(checkpoint);
        let list = if candidates.is_empty() {
            let names = checkpoint.tensors.keys().take(5).map(|name| format!("`{name}`"));
            format!("; its tensors are {}", names.collect::<Vec<_>>().join(", "))
        } else {
            format!(":{}", list(&candidates, None))
        };
        return unknown(format!("no tensor's name begins with `{prefix}`{list}"));
    }
    checkpoint.unread = std::mem::take(&mut checkpoint.unread)
        .into_iter()
        .filter_map(|(name, maker)| Some((name.strip_prefix(prefix)?.to_owned(), maker)))
        .collect();
    if !left.is_empty() {
        let outside = outside(left.keys(), prefix);
        checkpoint.notes.push(format!("left out: all tensors outside `{prefix}`: {outside}"));
    }
    checkpoint.tensors = selected;
    Ok(())
}

/// What to do where all tensors are no network, but some are. `prefix` was taken away from their names.
pub(crate) fn advice(checkpoint: &Checkpoint, prefix: Option<&str>) -> Option<String> {
    let candidates = candidates(checkpoint);
    let [candidate] = &*candidates else { return None };
    let Candidate { prefix: inner, sketch } = candidate;
    if sketch.tensors < checkpoint.tensors.len() {
        return Some(format!("there is a network in a part of it:{}", list(&candidates, prefix)));
    }
    let [(first, _), _, ..] = &*sketch.linear else { return None };
    // A head of several layers, such as `fc.0` and `fc.2`.
    let (head, _) = first[inner.len()..].split_once('.')?;
    let head = format!("{inner}{head}");
    let is_head = |module: &str| module.strip_prefix(&*head).is_some_and(|r| r.starts_with('.'));
    sketch.linear.iter().all(|(module, _)| is_head(module)).then(|| {
        format!("`--without {head}` leaves them out, and the answer is what stands before them")
    })
}

fn list(candidates: &[Candidate], taken: Option<&str>) -> String {
    let taken = taken.map_or(String::new(), dotted);
    let line = |candidate: &Candidate| {
        let Candidate { prefix, sketch } = candidate;
        let prefix = format!("{taken}{}", prefix.trim_end_matches('.'));
        match &*prefix {
            "" => format!("\n  without `--prefix`: {sketch}"),
            prefix => format!("\n  `--prefix {prefix}`: {sketch}"),
        }
    };
    candidates.iter().take(8).map(line).collect()
}

/// Names in groups, each by what they share with `prefix` and one part more.
fn outside<'a>(names: impl Iterator<Item = &'a String>, prefix: &str) -> String {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        let shared = prefix.match_indices('.').map(|(dot, _)| dot + 1);
        let shared = shared.take_while(|&end| name.get(..end) == Some(&prefix[..end])).last();
        let shared = shared.unwrap_or(0);
        let end = name[shared..].find('.').map_or(name.len(), |dot| shared + dot + 1);
        *groups.entry(&name[..end]).or_default() += 1;
    }
    let more = groups.len().saturating_sub(6);
    let mut texts: Vec<String> = groups
        .iter()
        .take(6)
        .map(|(group, count)| match group.ends_with('.') {
            true => format!("{count} under `{group}`"),
            false => format!("`{group}`"),
        })
        .collect();
    if more > 0 {
        texts.push(format!("and {more} groups more"));
    }
    texts.join(", ")
}

/// The parts of a checkpoint under which residual blocks are found, each as narrow as holds a whole
/// network.
fn candidates(checkpoint: &Checkpoint) -> Vec<Candidate> {
    let mut roots: Vec<&str> =
        checkpoint.tensors.keys().filter_map(|name| is_block_conv(name)).collect();
    roots.sort_unstable();
    roots.dedup();
    let candidate = |&root: &&str| {
        let others =
            |prefix: &str| roots.iter().any(|&other| other != root && other.starts_with(prefix));
        let mut prefix = root;
        // Out of an encoder of stages alone, to the stem that is beside it; and to a classifier.
        while !prefix.is_empty() {
            let outer = prefix[..prefix.len() - 1].rfind('.').map_or("", |dot| &prefix[..=dot]);
            if others(outer)
                || !(is_headless(checkpoint, prefix) || adds_classifier(checkpoint, outer, prefix))
            {
                break;
            }
            prefix = outer;
        }
        let tensors = under(checkpoint, prefix).map(|(name, stored)| (name, &*stored.shape));
        Candidate { prefix: prefix.to_owned(), sketch: Sketch::of(tensors) }
    };
    roots.iter().map(candidate).collect()
}

/// The tensors whose names begin so.
fn under<'a>(
    checkpoint: &'a Checkpoint,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Stored)> {
    let from = checkpoint.tensors.range(prefix.to_owned()..);
    from.map(|(name, stored)| (name.as_str(), stored))
        .take_while(move |(n, _)| n.starts_with(prefix))
}

/// Whether no convolution stands outside blocks.
fn is_headless(checkpoint: &Checkpoint, prefix: &str) -> bool {
    let is_outside =
        |name: &str| name.rsplit_once('.').is_none_or(|(module, _)| block_of(module).is_none());
    !under(checkpoint, prefix).any(|(name, stored)| stored.shape.len() == 4 && is_outside(name))
}

/// Whether what `outer` holds beside `inner` is one linear layer.
fn adds_classifier(checkpoint: &Checkpoint, outer: &str, inner: &str) -> bool {
    let mut beside = under(checkpoint, outer).filter(|(name, _)| !name.starts_with(inner));
    let mut matrices = 0;
    let linear = beside.all(|(_, stored)| {
        matrices += usize::from(stored.shape.len() == 2);
        stored.shape.len() <= 2
    });
    linear && matrices == 1
}
