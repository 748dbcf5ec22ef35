//! The network as one line from the picture to the answer, with a branch for each residual block.

use super::graph::{Network, Op, Step, ValueId};
use crate::error::{Fault, unknown};

/// A part of the line.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    Step(&'a Step),
    Branch(Branch<'a>),
}

/// Two paths from one activation to an addition.
#[derive(Debug)]
pub(crate) struct Branch<'a> {
    pub(crate) input: ValueId,
    /// The one with more convolutions.
    pub(crate) main: Vec<&'a Step>,
    pub(crate) shortcut: Vec<&'a Step>,
    pub(crate) add: &'a Step,
}

/// Follows the readers of every activation, from the picture on.
pub(crate) fn decompose(network: &Network) -> Result<Vec<Item<'_>>, Fault> {
    let readers = network.readers();
    let mut items = Vec::new();
    let mut value = network.input;
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
                items.push(Item::Branch(Branch { input: value, main, shortcut, add }));
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
