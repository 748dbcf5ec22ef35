//! The rows of the table, and the tensors by the names that they have in it.

use std::collections::BTreeMap;

use resnet_compiler::graph::{Extent, Shape};
use resnet_compiler::spec::rows::Row;

use super::block::{Block, Blocks};
use super::chain::{Branch, Item};
use super::files::Files;
use super::graph::{Function, Network, Norm, Op, Statistics, Step, ValueId};
use super::windows::{pooled, windowed};
use crate::checkpoint::Stored;
use crate::draft::{Draft, Prepared};
use crate::error::{Fault, unknown};

/// Writes rows along the line of the network.
pub(crate) struct Rows<'a> {
    pub(super) network: &'a Network,
    items: &'a [Item<'a>],
    pub(super) blocks: Blocks<'a>,
    /// Whether the batch norms of blocks were folded into their convolutions.
    pub(super) folded: bool,
    pub(super) draft: Draft,
    tensors: BTreeMap<String, Stored>,
    /// Blocks of the row at work.
    pub(super) stage: Vec<Block>,
    /// Dilation of the row of blocks before.
    pub(super) dilation: Extent,
    /// Rows so far, by their kind.
    pub(super) counts: BTreeMap<&'static str, usize>,
    /// What each row makes.
    ends: Vec<(ValueId, String)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn write(
        network: &'a Network,
        items: &'a [Item<'a>],
        files: &Files,
    ) -> Result<(Draft, BTreeMap<String, Stored>), Fault> {
        let pre_activation = pre_activation(items);
        let epsilon = epsilon(network)?;
        let folded = items.iter().any(|item| match item {
            Item::Branch(branch) => {
                let first = branch.main.iter().position(|step| matches!(step.op, Op::Conv(_)));
                let after = first.and_then(|first| branch.main.get(first + 1));
                after.is_some_and(|step| !matches!(step.op, Op::Norm(_)))
            }
            Item::Step(_) => false,
        });
        let mut rows = Self {
            network,
            items,
            blocks: Blocks { network, pre_activation, epsilon },
            folded,
            draft: Draft {
                input: network.values[network.input].shape,
                norm_epsilon: (epsilon != 1e-5).then_some(epsilon),
                pre_activation,
                ..Draft::default()
            },
            tensors: BTreeMap::new(),
            stage: Vec::new(),
            dilation: Extent::square(1),
            counts: BTreeMap::new(),
            ends: Vec::new(),
        };
        let mut at = 0;
        while at < items.len() {
            at += rows.item(at)?;
        }
        rows.flush()?;
        rows.features()?;
        rows.share_activation();
        rows.say_what_norms_are(files);
        Ok((rows.draft, rows.tensors))
    }

    /// Reads what stands at a place of the line; returns how many items that were.
    fn item(&mut self, at: usize) -> Result<usize, Fault> {
        let step = match &self.items[at] {
            Item::Branch(branch) => return self.branch(branch, None, at).map(|used| used - at),
            Item::Step(step) => *step,
        };
        if let Some((norm, branch)) = self.before_a_fork(at) {
            return self.branch(branch, Some(norm), at + 2).map(|used| used - at);
        }
        self.flush()?;
        match &step.op {
            Op::Conv(conv) => Ok(match self.classifier(step, conv, at) {
                Some(linear) => self.linear(step, &linear, at),
                None => self.conv(step, conv, at),
            }),
            Op::Norm(norm) => self.norm(step, norm, at),
            Op::Linear(linear) => Ok(self.linear(step, linear, at)),
            // ReLU keeps what is not negative.
            Op::Apply(Function::Relu) if self.network.values[step.inputs[0]].positive => {
                self.pass(step);
                Ok(1)
            }
            op => match self.without_weights(op, self.network.values[step.inputs[0]].shape) {
                Some(row) => {
                    self.push(row, step.output, &step.label);
                    Ok(1)
                }
                None => step.refuse(misplaced(op)),
            },
        }
    }

    /// The norm, with a ReLU after it, of which both paths of a pre-activation block read what they make.
    pub(super) fn before_a_fork(
        &self,
        at: usize,
    ) -> Option<((&'a Norm, Function), &'a Branch<'a>)> {
        match (self.op(at)?, self.op(at + 1)?, self.items.get(at + 2)?) {
            (Op::Norm(norm), &Op::Apply(own), Item::Branch(branch))
                if self.blocks.pre_activation =>
            {
                let conv = matches!(branch.main.first().map(|step| &step.op), Some(Op::Conv(_)));
                (conv && branch.shortcut.is_some()).then_some(((norm, own), branch))
            }
            _ => None,
        }
    }

    /// The row of an operator that has no tensors, and is not a part of another row. `from` is what it reads.
    fn without_weights(&mut self, op: &Op, from: Shape) -> Option<Row> {
        let row = |name: String, op: &str| Row::new(name, op);
        Some(match op {
            Op::Pool { pool, said } => pooled(self.count("pool"), pool, *said, from)?,
            Op::Blur(window) => {
                windowed(row(format!("blur{}", self.count("blur")), "blur"), window)
            }
            Op::Mean => row(self.numbered("avgpool"), "global_average_pool"),
            Op::Softmax => row(self.numbered("prob"), "softmax"),
            _ => return None,
        })
    }

    pub(super) fn op(&self, at: usize) -> Option<&'a Op> {
        match self.items.get(at)? {
            Item::Step(step) => Some(&step.op),
            Item::Branch(_) => None,
        }
    }

    /// Whether the line ends before a place.
    pub(super) fn ends(&self, at: usize) -> bool {
        at >= self.items.len()
    }

    /// The activation that is here, if it goes into the row before it.
    pub(super) fn function(&self, at: usize) -> Option<Function> {
        match self.op(at) {
            Some(&Op::Apply(function)) if !self.is_output(at - 1) => Some(function),
            _ => None,
        }
    }

    /// Whether what an item makes is an answer, so that its row ends there.
    pub(super) fn is_output(&self, at: usize) -> bool {
        self.network.outputs.contains(&self.made(at))
    }

    /// What an item makes.
    pub(super) fn made(&self, at: usize) -> ValueId {
        match &self.items[at] {
            Item::Step(step) => step.output,
            Item::Branch(branch) => branch.end.output,
        }
    }

    /// Notes on batch norms that have no statistics in the file, and what values the first of them reads if it
    /// prepares the picture.
    fn say_what_norms_are(&mut self, files: &Files) {
        let first = match self.items.first() {
            Some(Item::Step(Step { op: Op::Norm(norm), .. })) => Some(&**norm),
            _ => None,
        };
        let is_folded = |norm: &Norm| matches!(norm.statistics, Statistics::Folded);
        let prepares = first.filter(|norm| is_folded(norm));
        if self.folded {
            self.note(
                "batch norms were folded into convolutions; the ones here add a bias and change nothing \
                 else"
                    .to_owned(),
            );
        }
        let folded = self.network.norms().filter(|(_, norm)| is_folded(norm));
        if folded.count() > usize::from(prepares.is_some()) {
            self.note(
                "batch norms are multiplications and additions in the file; the ones here have means of 0 and \
                 variances of 1"
                    .to_owned(),
            );
        }
        self.draft.prepared =
            match prepares {
                _ if self.network.bytes => Some(Prepared::Bytes),
                None => None,
                Some(norm) => {
                    let range = files.values(&norm.weight).zip(files.values(&norm.bias));
                    Some(range.map_or(Prepared::Unknown, |(scale, shift)| {
                        Prepared::guess(&scale, &shift)
                    }))
                }
            };
    }

    /// Says an activation at the top of the table that all its rows have, or none.
    fn share_activation(&mut self) {
        let takes = |row: &&mut Row| {
            matches!(row.get("op"), Some("conv" | "basic" | "bottleneck" | "norm"))
        };
        let mut words = self
            .draft
            .rows
            .iter_mut()
            .filter(takes)
            .map(|row| row.get("activation").unwrap_or("relu"));
        let Some(first) = words.find(|word| *word != "none").map(str::to_owned) else { return };
        if first == "relu" || words.any(|word| word != "none" && word != first) {
            return;
        }
        for row in self.draft.rows.iter_mut().filter(takes) {
            if row.get("activation") == Some(&first) {
                row.unset("activation");
            }
        }
        self.draft.activation = Function::ALL.iter().copied().find(|known| known.name() == first);
    }

    /// The rows that the graph's outputs are, unless it is the last one alone.
    fn features(&mut self) -> Result<(), Fault> {
        let mut places = Vec::new();
        for &output in &self.network.outputs {
            let Some(place) = self.ends.iter().position(|(end, _)| *end == output) else {
                return unknown(format!(
                    "the output `{}` is not what a row of the table makes; a table answers with the \
                     outputs of rows, such as whole stages",
                    self.network.values[output].name
                ));
            };
            places.push(&self.ends[place].1);
        }
        let last = self.ends.last().map(|(_, name)| name);
        if places.len() == 1 && places.first().copied() == last {
            return Ok(());
        }
        let rows = &self.draft.rows;
        let features: Vec<String> = rows
            .iter()
            .filter_map(|row| row.get("layer"))
            .filter(|layer| places.iter().any(|place| place == layer))
            .map(str::to_owned)
            .collect();
        if features.iter().ne(places.iter().copied()) {
            self.draft.notes.push("the answers are in the order of the rows".to_owned());
        }
        self.draft.features = features;
        Ok(())
    }

    /// A row that makes a value; its size is claimed, so that the table proves the reading right. `label` is the
    /// node to blame if no table can have it.
    pub(super) fn push(&mut self, mut row: Row, value: ValueId, label: &str) {
        let shape = self.network.values[value].shape;
        let op = row.get("op").unwrap_or_default();
        if !matches!(op, "linear" | "norm" | "softmax") {
            row.set("output", format_args!("{}x{}", shape.height, shape.width));
        }
        self.ends.push((value, row.get("layer").unwrap_or_default().to_owned()));
        self.draft.rows.push(row);
        self.draft.origins.push(label.to_owned());
    }

    pub(super) fn note(&mut self, note: String) {
        self.draft.notes.push(note);
    }

    /// A step without a row: what it makes is the last row's.
    fn pass(&mut self, step: &Step) {
        if let Some((_, name)) = self.ends.last() {
            self.ends.push((step.output, name.clone()));
        }
    }

    pub(super) fn tensor(&mut self, name: String, stored: Stored) {
        self.tensors.insert(name, stored);
    }

    pub(super) fn count(&mut self, kind: &'static str) -> usize {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        *count
    }

    /// `fc`, and then `fc2`.
    pub(super) fn numbered(&mut self, word: &'static str) -> String {
        match self.count(word) {
            1 => word.to_owned(),
            count => format!("{word}{count}"),
        }
    }
}

/// Whether norms and activations stand before convolutions. A main path that begins with one shows it, and so
/// does an identity beside a path that begins with a convolution; else, whether sums are read as they are.
fn pre_activation(items: &[Item<'_>]) -> bool {
    let branches = || {
        items.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Branch(branch) => Some((at, branch)),
            Item::Step(_) => None,
        })
    };
    let op = |at: usize| match items.get(at) {
        Some(Item::Step(step)) => Some(&step.op),
        _ => None,
    };
    let begins = |branch: &Branch<'_>| {
        matches!(branch.main.first().map(|step| &step.op), Some(Op::Norm(_) | Op::Apply(_)))
    };
    if branches().any(|(_, branch)| begins(branch)) {
        return true;
    }
    // A norm and an activation before the fork may be a row of their own, before a block of either kind.
    let normed = |at: usize| {
        let before = |back: usize| at.checked_sub(back).and_then(op);
        matches!((before(2), before(1)), (Some(Op::Norm(_)), Some(Op::Apply(_))))
    };
    let is_identity = |branch: &Branch<'_>| branch.shortcut.as_ref().is_some_and(Vec::is_empty);
    if branches().any(|(at, branch)| is_identity(branch) && !normed(at)) {
        return false;
    }
    let first = branches().next();
    first.is_some_and(|(at, _)| !matches!(op(at + 1), Some(Op::Apply(_))))
}

/// The norms' epsilon, which a table has one of.
fn epsilon(network: &Network) -> Result<f64, Fault> {
    let norms = network.norms().filter_map(|(step, norm)| match norm.statistics {
        Statistics::Running { epsilon, .. } | Statistics::Groups { epsilon, .. } => {
            Some((step, epsilon))
        }
        Statistics::Folded => None,
    });
    let mut first = None;
    for (step, epsilon) in norms {
        let expected = *first.get_or_insert(epsilon);
        if expected != epsilon {
            return step.refuse(format!(
                "an epsilon of {epsilon}, and {expected} in the norms before it; a table has one"
            ));
        }
    }
    Ok(first.unwrap_or(1e-5))
}

/// Why an operator has no row where it is.
fn misplaced(op: &Op) -> &'static str {
    match op {
        Op::Gate(_) => {
            "channels are weighed outside of a residual block; inside, it is the last of the main path"
        }
        Op::Apply(_) => {
            "an activation in a place where a table has none: it follows convolutions, norms, linear layers and the \
             sums of blocks"
        }
        Op::Pool { .. } => {
            "it reaches over the edges by more than half its kernel, which in a table only rounding up \
             (`rounding: up`) does"
        }
        _ => {
            "not expected between the blocks of a residual network; a table has rows of convolutions, pools, \
             norms, blocks, linear layers and softmax"
        }
    }
}
