//! The main path of a block: convolutions, each with what belongs to it.

use resnet_compiler::graph::{Extent, Padding, Window};
use resnet_compiler::spec::AntiAlias;

use super::{Before, Blocks, NormKind, is_mean_of_strides};
use crate::error::Fault;
use crate::onnx::chain::Branch;
use crate::onnx::graph::{Attention, Chunk, Chunks, Conv, Function, Network, Norm, Op, Step};

/// A convolution of the main path with the norm that belongs to it.
pub(super) struct Unit<'a> {
    pub(super) step: &'a Step,
    pub(super) conv: &'a Conv,
    pub(super) norm: Option<&'a Norm>,
    /// What stands after it in the block, or before it with pre-activation.
    pub(super) function: Option<Function>,
    /// Those of a Res2Net's chunks, the first of which `conv` and `norm` are.
    pub(super) chunks: Option<&'a Chunks>,
    /// What stands after the next ReLU, and its stride.
    pub(super) pool: Option<(AntiAlias, Extent)>,
}

impl<'a> Unit<'a> {
    fn new(
        step: &'a Step,
        conv: &'a Conv,
        norm: Option<&'a Norm>,
        function: Option<Function>,
    ) -> Self {
        Self { step, conv, norm, function, chunks: None, pool: None }
    }

    pub(super) fn norm_kind(&self) -> NormKind {
        self.norm.map_or(NormKind::Batch, NormKind::of)
    }

    /// Takes a pool that has the place of `anti_alias` here, of which there is one.
    fn take(&mut self, step: &Step, network: &Network) -> Result<(), Fault> {
        let three =
            Window::new(Extent::square(3), Extent::square(1), Padding::even(Extent::square(1)));
        let from = network.values[step.inputs[0]].shape;
        let found = match &step.op {
            Op::Blur(window) if *window == (Window { stride: window.stride, ..three }) => {
                Some((AntiAlias::Blur, window.stride))
            }
            op => is_mean_of_strides(op, from).map(|stride| (AntiAlias::Average, stride)),
        };
        if found.is_none() || self.pool.is_some() {
            return step.refuse(
                "a pool in a block; a table has one, in the place of a stride: the mean of stride x stride \
                 pixels, or a 3x3 blur",
            );
        }
        self.pool = found;
        Ok(())
    }
}

/// Convolutions, and attention with the number of those before it.
type Units<'a> = (Vec<Unit<'a>>, Option<(&'a Attention, usize)>);

impl Blocks<'_> {
    /// Norms and ReLUs before convolutions.
    pub(super) fn units_before<'s>(
        &self,
        branch: &Branch<'s>,
        before: Before<'s>,
    ) -> Result<Units<'s>, Fault> {
        let positive = self.network.values[branch.input].positive;
        // ReLU keeps what is not negative.
        let mut function = positive.then_some(Function::Relu);
        let mut norm = before.map(|(norm, own)| {
            function = Some(own);
            norm
        });
        let mut units: Vec<Unit<'_>> = Vec::new();
        let mut attention = None;
        for &step in &branch.main {
            match &step.op {
                Op::Norm(found) if norm.is_none() && (function.is_none() || units.is_empty()) => {
                    (norm, function) = (Some(&**found), None);
                }
                Op::Apply(own) if function.is_none() || units.is_empty() => function = Some(*own),
                Op::Conv(conv) => {
                    units.push(Unit::new(step, conv, norm, function));
                    (norm, function) = (None, None);
                }
                Op::Blur(_) | Op::Pool { .. } if function.is_some() && !units.is_empty() => {
                    let last = units.len() - 1;
                    units[last].take(step, self.network)?;
                }
                Op::Gate(found) if norm.is_none() && function.is_none() && attention.is_none() => {
                    attention = Some((found, units.len()));
                }
                _ => return misplaced(step),
            }
        }
        if norm.is_some() || function.is_some() {
            return branch.end.refuse("a pre-activation block ends with a convolution");
        }
        agree(&units)?;
        Ok((units, attention))
    }
}

/// Norms and ReLUs after convolutions.
pub(super) fn units_after<'s>(branch: &Branch<'s>, network: &Network) -> Result<Units<'s>, Fault> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut attention = None;
    for &step in &branch.main {
        let units_so_far = units.len();
        match (&step.op, units.last_mut()) {
            (Op::Conv(conv), _) => units.push(Unit::new(step, conv, None, None)),
            (Op::Chunks(chunks), Some(_)) => {
                let Chunk { conv, norm } = &chunks.chunks[0];
                let unit = Unit::new(step, conv, norm.as_ref(), chunks.function);
                units.push(Unit { chunks: Some(&**chunks), ..unit });
            }
            _ if attention.is_some_and(|(_, place)| place == units_so_far) => {
                return step.refuse(
                    "it follows squeeze-and-excitation, or ECA, after which in a block come a convolution or the sum",
                );
            }
            (Op::Norm(norm), Some(last)) if last.norm.is_none() && last.function.is_none() => {
                last.norm = Some(norm);
            }
            (Op::Apply(own), Some(last)) if last.function.is_none() => last.function = Some(*own),
            (Op::Blur(_) | Op::Pool { .. }, Some(last)) if last.function.is_some() => {
                last.take(step, network)?;
            }
            (Op::Gate(found), Some(_)) if attention.is_none() => {
                attention = Some((found, units_so_far));
            }
            _ => return misplaced(step),
        }
    }
    let Some((last, before)) = units.split_last() else { return Ok((units, attention)) };
    agree(before)?;
    let gated = attention.is_some_and(|(_, place)| place == units.len());
    if last.function.is_some()
        && !(gated && last.function == before.first().and_then(|unit| unit.function))
    {
        return branch
            .end
            .refuse("an activation ends the main path; in a block it comes after the sum");
    }
    Ok((units, attention))
}

/// The activations of a block have to be one.
fn agree(units: &[Unit<'_>]) -> Result<(), Fault> {
    let word = |function: Option<Function>| function.unwrap_or(Function::None);
    let first = units.first().and_then(|unit| unit.function);
    match units.iter().find(|unit| unit.function != first) {
        Some(unit) => unit.step.refuse(format!(
            "its activation is `{}`, and that of the block's first convolution `{}`; a block has one",
            word(unit.function),
            word(first)
        )),
        None => Ok(()),
    }
}

pub(super) fn misplaced<T>(step: &Step) -> Result<T, Fault> {
    step.refuse(
        "not expected in this place; a block's main path is convolutions, each with a norm and \
         an activation, and perhaps squeeze-and-excitation after the last or the last but one",
    )
}

/// The convolutions have to be those of a basic block or of a bottleneck.
pub(super) fn check_kernels(branch: &Branch<'_>, units: &[Unit<'_>]) -> Result<(), Fault> {
    let kernels: &[usize] = match units.len() {
        2 => &[3, 3],
        3 => &[1, 3, 1],
        count => {
            return branch.end.refuse(format!(
                "the block that ends here has on its main path {count} convolution{}; a table has basic \
                 blocks of two and bottlenecks of three",
                if count == 1 { "" } else { "s" }
            ));
        }
    };
    let one = Extent::square(1);
    let bottleneck = units.len() == 3;
    for (unit, &kernel) in units.iter().zip(kernels) {
        let window = &unit.conv.window;
        if window.kernel != Extent::square(kernel) {
            let what = if bottleneck { "bottleneck" } else { "basic block" };
            return unit.step.refuse(format!(
                "a kernel of {}; in this place of a {what} it is {kernel}",
                window.kernel
            ));
        }
        if kernel == 1 && window.dilation != one {
            return unit.step.refuse("a 1x1 convolution with a dilation");
        }
        if unit.conv.groups != 1 && (kernel == 1 || !bottleneck) {
            return unit.step.refuse("groups; a table has them in a bottleneck's 3x3 convolution");
        }
    }
    Ok(())
}

/// The block's stride, and which convolution has it.
pub(super) fn strides(branch: &Branch<'_>, units: &[Unit<'_>]) -> Result<(Extent, usize), Fault> {
    let one = Extent::square(1);
    let mut strides = Vec::new();
    let mut pools = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let own = unit.conv.window.stride;
        if unit.pool.is_some() {
            pools.push(index);
            if own != one {
                return unit
                    .step
                    .refuse(format!("a stride of {own} before a pool, which has it alone"));
            }
        }
        strides.push(unit.pool.map_or(own, |(_, stride)| stride));
    }
    // The second of three has it, and the first of two, unless the others show another place.
    let default = units.len() - 2;
    let strided: Vec<usize> = (0..units.len()).filter(|&index| strides[index] != one).collect();
    let place = match (&*strided, &*pools) {
        (&[place], []) => Some(place),
        (&[place], &[pool]) => (place == pool).then_some(place),
        // Of a blur without a stride, only its place says which convolution would have it.
        ([], &[pool]) => Some(pool),
        ([], []) => Some(default),
        _ => None,
    };
    let may = |place: usize| place < 2 && (pools.is_empty() || place + 1 < units.len());
    match place.filter(|&place| may(place)) {
        Some(place) => Ok((strides[place], place)),
        None => {
            let shown: Vec<String> = strides.iter().map(Extent::to_string).collect();
            branch.end.refuse(format!(
                "the block that ends here has the strides {}{}; one convolution has a stride, or a pool \
                 after it: the first or the second",
                shown.join(", "),
                if pools.is_empty() { "" } else { ", some of them of pools" }
            ))
        }
    }
}
