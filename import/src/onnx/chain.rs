//! The network as one line from the picture to the answer, with a branch for each residual block.

use resnet_compiler::graph::Extent;

use super::graph::{Network, Op, Step, ValueId};
use crate::error::{Fault, unknown};

/// A part of the line.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    Step(&'a Step),
    Branch(Branch<'a>),
}

/// A residual block: two paths from one activation to an addition. A plain one has no shortcut; it is
/// told by the attention that ends it.
#[derive(Debug)]
pub(crate) struct Branch<'a> {
    pub(crate) input: ValueId,
    /// The one with more convolutions.
    pub(crate) main: Vec<&'a Step>,
    pub(crate) shortcut: Option<Vec<&'a Step>>,
    /// The addition, or the attention of a plain block.
    pub(crate) end: &'a Step,
}

/// Follows the readers of every activation, from the picture on.
pub(crate) fn decompose(network: &Network) -> Result<Vec<Item<'_>>, Fault> {
    let readers = network.readers();
    let mut items = Vec::new();
    let mut value = network.input;
    // A gate that stands before the last convolution of a block without a shortcut; whether after an activation.
    let mut gated: Option<bool> = None;
    loop {
        value = match *readers[value] {
            [] => break,
            [reader] => {
                let step = &network.steps[reader];
                if step.inputs.len() != 1 {
                    return step
                        .refuse("what it adds does not come from where its other input does");
                }
                items.push(Item::Step(step));
                let norm_follows = matches!(*readers[step.output], [reader]
                    if matches!(network.steps[reader].op, Op::Norm(_)));
                match (&step.op, gated) {
                    (Op::Gate(_), _) => {
                        let pooled = |item: &&Item<'_>| {
                            matches!(item, Item::Step(step)
                            if matches!(step.op, Op::Pool { .. } | Op::Blur(_)))
                        };
                        let before = items.iter().rev().skip(1).find(|item| !pooled(item));
                        let after_activation = matches!(before, Some(Item::Step(step))
                            if matches!(step.op, Op::Apply(_)));
                        let post = matches!(*readers[step.output], [reader]
                            if matches!(network.steps[reader].op, Op::Apply(_)));
                        if after_activation || !plain_block(&mut items, post) {
                            gated = Some(after_activation);
                        }
                    }
                    // The convolution after attention, and its norm.
                    (Op::Conv(_), Some(post)) if !(post && norm_follows) => {
                        plain_block(&mut items, post);
                        gated = None;
                    }
                    (Op::Norm(_), Some(true)) => {
                        plain_block(&mut items, true);
                        gated = None;
                    }
                    // A Res2Net's block without a shortcut.
                    (Op::Conv(_) | Op::Norm(_), None) if !norm_follows && ends_chunks(&items) => {
                        plain_block(&mut items, true);
                    }
                    _ => {}
                }
                step.output
            }
            [a, b] => {
                let (first, second) = (path(network, &readers, a)?, path(network, &readers, b)?);
                let add = &network.steps[first.1];
                if first.1 != second.1 {
                    return add.refuse(format!(
                        "the paths that begin at `{}` do not meet here; a residual block has two paths \
                         from one activation to one sum",
                        network.values[value].name
                    ));
                }
                let convs =
                    |path: &[&Step]| path.iter().filter(|s| matches!(s.op, Op::Conv(_))).count();
                let (main, shortcut) = match convs(&first.0) >= convs(&second.0) {
                    true => (first.0, second.0),
                    false => (second.0, first.0),
                };
                let shortcut = Some(shortcut);
                gated = None;
                items.push(Item::Branch(Branch { input: value, main, shortcut, end: add }));
                add.output
            }
            ref many => {
                let labels: Vec<&str> =
                    many.iter().take(4).map(|&reader| &*network.steps[reader].label).collect();
                return unknown(format!(
                    "`{}` is read by {} nodes ({}); in a residual network by one, or by two that begin \
                     a block",
                    network.values[value].name,
                    many.len(),
                    labels.join(", ")
                ));
            }
        };
    }
    Ok(items)
}

/// Whether the last convolution, with its norm if it has one, stands just behind chunks.
fn ends_chunks(items: &[Item<'_>]) -> bool {
    let mut ops = items.iter().rev().map(|item| match item {
        Item::Step(step) => Some(&step.op),
        Item::Branch(_) => None,
    });
    let conv = match ops.next().flatten() {
        Some(Op::Norm(_)) => ops.next().flatten(),
        other => other,
    };
    matches!(conv, Some(Op::Conv(_))) && matches!(ops.next().flatten(), Some(Op::Chunks(_)))
}

/// The kernel of a convolution, or of those of chunks.
fn kernel(op: &Op) -> Option<Extent> {
    match op {
        Op::Conv(conv) => Some(conv.window.kernel),
        Op::Chunks(chunks) => Some(chunks.chunks[0].conv.window.kernel),
        _ => None,
    }
}

/// Makes a block of the last steps, which have no shortcut and attention at their end or before the last
/// convolution: two convolutions of 3x3, or those of a bottleneck. If these are not there the steps stay; whether
/// they were. `post`: activations come after norms, the last one after the block.
fn plain_block(items: &mut Vec<Item<'_>>, post: bool) -> bool {
    let steps: Vec<&Step> = items
        .iter()
        .rev()
        .map_while(|item| match item {
            Item::Step(step) => Some(*step),
            Item::Branch(_) => None,
        })
        .collect();
    let convs: Vec<(usize, &Op)> = steps
        .iter()
        .map(|step| &step.op)
        .enumerate()
        .filter(|(_, op)| kernel(op).is_some())
        .collect();
    let has = |kernels: &[usize]| {
        let mut found = convs.iter().map(|(_, op)| kernel(op));
        kernels.iter().all(|&side| found.next().flatten() == Some(Extent::square(side)))
    };
    let count = match (has(&[1, 3, 1]), has(&[3, 3])) {
        (true, _) => 3,
        (_, true) => 2,
        _ => return false,
    };
    let (Some(&(place, _)), Some(&end)) = (convs.get(count - 1), steps.first()) else {
        return false;
    };
    let relu = |step: &Step| matches!(step.op, Op::Apply(_));
    // Before activation, the norm and the ReLU that precede the first convolution are the block's.
    let before = match steps.get(place + 1..).unwrap_or_default() {
        [first, second, ..] if !post && relu(first) && matches!(second.op, Op::Norm(_)) => 2,
        [first, ..] if !post && relu(first) => 1,
        _ => 0,
    };
    let main: Vec<&Step> = steps[..=place + before].iter().rev().copied().collect();
    items.truncate(items.len() - main.len());
    items.push(Item::Branch(Branch { input: main[0].inputs[0], main, shortcut: None, end }));
    true
}

/// The steps from a reader to the next addition, and that.
fn path<'a>(
    network: &'a Network,
    readers: &[Vec<usize>],
    first: usize,
) -> Result<(Vec<&'a Step>, usize), Fault> {
    let mut steps = Vec::new();
    let mut at = first;
    loop {
        let step = &network.steps[at];
        if matches!(step.op, Op::Add) {
            return Ok((steps, at));
        }
        steps.push(step);
        let [next] = *readers[step.output] else {
            return step.refuse(format!(
                "what it makes is read by {} nodes, inside a residual block, whose paths are lines",
                readers[step.output].len()
            ));
        };
        at = next;
    }
}
