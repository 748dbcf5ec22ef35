//! The rows of the table, and the tensors by the names that they have in it.

use std::collections::BTreeMap;

use resnet_compiler::graph::{Extent, Padding, Window};
use resnet_compiler::spec::rows::Row;

use super::block::{Block, Blocks, named};
use super::chain::Item;
use super::graph::{Conv, Network, Norm, Op, Step, ValueId};
use crate::checkpoint::Stored;
use crate::draft::Draft;
use crate::error::{Fault, unknown};

/// Writes rows along the line of the network.
pub(crate) struct Rows<'a> {
    pub(super) network: &'a Network,
    items: &'a [Item<'a>],
    pub(super) blocks: Blocks<'a>,
    /// Whether the batch norms of blocks were folded into their convolutions.
    folded: bool,
    draft: Draft,
    tensors: BTreeMap<String, Stored>,
    /// Blocks of the row at work.
    pub(super) stage: Vec<Block>,
    /// Dilation of the row of blocks before.
    pub(super) dilation: Extent,
    /// Rows so far, by their kind.
    counts: BTreeMap<&'static str, usize>,
    /// What each row makes.
    ends: Vec<(ValueId, String)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn write(
        network: &'a Network,
        items: &'a [Item<'a>],
    ) -> Result<(Draft, BTreeMap<String, Stored>), Fault> {
        let pre_activation = pre_activation(items)?;
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
        rows.flush();
        rows.features()?;
        if folded {
            rows.draft.notes.push(
                "batch norms were folded into convolutions; the ones here add a bias and change nothing \
                 else"
                    .to_owned(),
            );
        }
        Ok((rows.draft, rows.tensors))
    }

    /// Reads what stands at a place of the line; returns how many items that were.
    fn item(&mut self, at: usize) -> Result<usize, Fault> {
        let step = match &self.items[at] {
            Item::Branch(branch) => return self.branch(branch, None, at).map(|used| used - at),
            Item::Step(step) => *step,
        };
        if let (Op::Norm(norm), Some(Item::Branch(branch))) = (&step.op, self.items.get(at + 2))
            && self.blocks.pre_activation
            && matches!(self.op(at + 1), Some(Op::Relu))
            && matches!(branch.main.first().map(|step| &step.op), Some(Op::Conv(_)))
            && !branch.shortcut.is_empty()
        {
            return self.branch(branch, Some(norm), at + 2).map(|used| used - at);
        }
        self.flush();
        let used = match &step.op {
            Op::Conv(conv) if self.is_classifier(conv, step, at) => {
                self.linear(step, &conv.weight, conv.bias.as_ref())
            }
            Op::Conv(conv) => self.conv(conv, at),
            Op::Norm(norm) => self.norm(step, norm, at),
            Op::MaxPool(window) => {
                let count = self.count("pool");
                let row = windowed(Row::new(format!("pool{count}"), "max_pool"), window);
                self.push(row, step.output);
                1
            }
            Op::AveragePool { window, count_padding } => {
                let count = self.count("pool");
                let mut row = windowed(Row::new(format!("pool{count}"), "average_pool"), window);
                if !count_padding {
                    row.set("count_padding", false);
                }
                self.push(row, step.output);
                1
            }
            Op::Blur(window) => {
                let count = self.count("blur");
                self.push(windowed(Row::new(format!("blur{count}"), "blur"), window), step.output);
                1
            }
            Op::Mean => {
                let name = self.numbered("avgpool");
                self.push(Row::new(name, "global_average_pool"), step.output);
                1
            }
            Op::Linear(linear) => self.linear(step, &linear.weight, linear.bias.as_ref()),
            Op::Softmax => {
                let name = self.numbered("prob");
                self.push(Row::new(name, "softmax"), step.output);
                1
            }
            // Nothing to do: flattening is a part of linear layers, and ReLU keeps what is not negative.
            Op::Reshape => {
                self.pass(step);
                1
            }
            Op::Relu if self.network.values[step.inputs[0]].positive => {
                self.pass(step);
                1
            }
            Op::Gate(_) => {
                return step.refuse(
                    "channels are weighed outside of a residual block; inside, it is the last of the main \
                     path",
                );
            }
            Op::Relu => {
                return step.refuse(
                    "a ReLU in a place where a table has none: it follows convolutions, norms and the \
                     sums of blocks",
                );
            }
            _ => {
                return step.refuse(
                    "not expected between the blocks of a residual network; a table has rows of \
                     convolutions, pools, norms, blocks, linear layers and softmax",
                );
            }
        };
        Ok(used)
    }

    fn op(&self, at: usize) -> Option<&'a Op> {
        match self.items.get(at)? {
            Item::Step(step) => Some(&step.op),
            Item::Branch(_) => None,
        }
    }

    /// Whether a ReLU is here that goes into the row before it.
    fn relu(&self, at: usize) -> bool {
        matches!(self.op(at), Some(Op::Relu)) && !self.is_output(at - 1)
    }

    /// Whether what an item makes is an answer, so that its row ends there.
    fn is_output(&self, at: usize) -> bool {
        self.network.outputs.contains(&self.made(at))
    }

    /// What an item makes.
    pub(super) fn made(&self, at: usize) -> ValueId {
        match &self.items[at] {
            Item::Step(step) => step.output,
            Item::Branch(branch) => branch.add.output,
        }
    }

    /// Whether a convolution is the last layer, over what a mean left.
    fn is_classifier(&self, conv: &Conv, step: &Step, at: usize) -> bool {
        let ends = self.items[at + 1..].iter().all(|item| match item {
            Item::Step(step) => matches!(step.op, Op::Reshape | Op::Softmax),
            Item::Branch(_) => false,
        });
        let pixels = self.network.values[step.inputs[0]].shape.pixels();
        let one = Extent::square(1);
        ends && pixels == 1
            && conv.groups == 1
            && conv.window == Window::new(one, one, Padding::NONE)
    }

    fn conv(&mut self, conv: &Conv, at: usize) -> usize {
        let number = self.count("conv");
        let mut used = 1;
        let mut conv = conv.clone();
        let channels = conv.weight.shape[0];
        let norm = match self.op(at + 1) {
            Some(Op::Norm(norm)) if !self.is_output(at) => {
                used += 1;
                Some(named(norm))
            }
            // Its norm was folded as those of the blocks were.
            _ if self.folded && !self.counts.contains_key("stage") && conv.bias.is_some() => {
                Some(self.blocks.identity(channels, conv.bias.take()))
            }
            _ => None,
        };
        let relu = self.relu(at + used);
        used += usize::from(relu);
        let mut row = windowed(Row::new(format!("conv{number}"), "conv"), &conv.window);
        row.set("channels", channels);
        if conv.groups != 1 {
            row.set("groups", conv.groups);
        }
        if norm.is_none() {
            row.set("norm", "none");
        }
        if conv.bias.is_some() == norm.is_some() {
            row.set("bias", conv.bias.is_some());
        }
        if !relu {
            row.set("activation", "none");
        }
        self.tensor(format!("conv{number}.weight"), conv.weight);
        if let Some(bias) = conv.bias {
            self.tensor(format!("conv{number}.bias"), bias);
        }
        for (part, stored) in norm.into_iter().flatten() {
            self.tensor(format!("bn{number}.{part}"), stored);
        }
        self.push(row, self.made(at + used - 1));
        used
    }

    fn norm(&mut self, step: &Step, norm: &Norm, at: usize) -> usize {
        let name = self.numbered("norm");
        let relu = self.relu(at + 1);
        let mut row = Row::new(&name, "norm");
        if !relu {
            row.set("activation", "none");
        }
        for (part, stored) in named(norm) {
            self.tensor(format!("{name}.{part}"), stored);
        }
        let end = if relu { self.made(at + 1) } else { step.output };
        self.push(row, end);
        1 + usize::from(relu)
    }

    fn linear(&mut self, step: &Step, weight: &Stored, bias: Option<&Stored>) -> usize {
        let name = self.numbered("fc");
        let classes = weight.shape[0];
        let zeros = || Stored::same(vec![classes], 0.0);
        self.tensor(format!("{name}.weight"), weight.clone());
        self.tensor(format!("{name}.bias"), bias.cloned().unwrap_or_else(zeros));
        self.draft.classes = Some(classes);
        self.push(Row::new(name, "linear").with("channels", classes), step.output);
        1
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

    /// A row that makes a value; its size is claimed, so that the table proves the reading right.
    pub(super) fn push(&mut self, mut row: Row, value: ValueId) {
        let shape = self.network.values[value].shape;
        let op = row.get("op").unwrap_or_default();
        if !matches!(op, "linear" | "norm" | "softmax") {
            row.set("output", format_args!("{}x{}", shape.height, shape.width));
        }
        self.ends.push((value, row.get("layer").unwrap_or_default().to_owned()));
        self.draft.rows.push(row);
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
    fn numbered(&mut self, word: &'static str) -> String {
        match self.count(word) {
            1 => word.to_owned(),
            count => format!("{word}{count}"),
        }
    }
}

/// Kernel, stride, dilation and padding, where they are not what a table leaves out.
fn windowed(mut row: Row, window: &Window) -> Row {
    let Window { kernel, stride, dilation, padding } = *window;
    let one = Extent::square(1);
    row.set("kernel", kernel);
    if stride != one {
        row.set("stride", stride);
    }
    if dilation != one {
        row.set("dilation", dilation);
    }
    let half = |kernel: usize, dilation: usize| (dilation * (kernel - 1)).div_ceil(2);
    let default =
        Extent::new(half(kernel.rows, dilation.rows), half(kernel.columns, dilation.columns));
    if padding == Padding::even(default) {
        return row;
    }
    let Padding { before, after } = padding;
    if before == after {
        row.set("padding", before);
    } else {
        let sides = [
            ("top", before.rows),
            ("bottom", after.rows),
            ("left", before.columns),
            ("right", after.columns),
        ];
        let sides: Vec<String> = sides
            .iter()
            .filter(|(_, pixels)| *pixels > 0)
            .map(|(side, pixels)| format!("{side}: {pixels}"))
            .collect();
        row.set("padding", format_args!("{{{}}}", sides.join(", ")));
    }
    row
}

/// Whether sums are read as they are, or by a ReLU; all alike.
fn pre_activation(items: &[Item<'_>]) -> Result<bool, Fault> {
    let mut first = None;
    for (at, item) in items.iter().enumerate() {
        let Item::Branch(branch) = item else { continue };
        let relu = match items.get(at + 1) {
            Some(Item::Step(step)) => matches!(step.op, Op::Relu),
            _ => false,
        };
        if *first.get_or_insert(relu) != relu {
            let (here, others) = if relu { ("a", "no") } else { ("no", "a") };
            return branch.add.refuse(format!(
                "{here} ReLU follows the sum, and {others} ReLU the sums before it; a table's blocks \
                 are all alike"
            ));
        }
    }
    Ok(first == Some(false))
}

/// Batch norm's epsilon, which a table has one of.
fn epsilon(network: &Network) -> Result<f64, Fault> {
    let norms = network.steps.iter().filter_map(|step| match &step.op {
        Op::Norm(norm) => Some((step, norm.epsilon)),
        _ => None,
    });
    let mut first = None;
    for (step, epsilon) in norms {
        let expected = *first.get_or_insert(epsilon);
        if expected != epsilon {
            return step.refuse(format!(
                "an epsilon of {epsilon}, and {expected} in the batch norms before it; a table has one"
            ));
        }
    }
    Ok(first.unwrap_or(1e-5))
}
