//! What stands beside the main path of a block.

use resnet_compiler::graph::{Extent, Padding, PoolKind, Pooling, Shape, Window};

use super::units::misplaced;
use super::{Blocks, NormKind, Path, Projection, is_mean_of_strides};
use crate::error::Fault;
use crate::onnx::chain::Branch;
use crate::onnx::graph::{Conv, Norm, Op, Step};

/// A shortcut.
pub(super) struct Shortcut {
    pub(super) path: Path,
    /// The kernel of a mean without a stride.
    pub(super) pooled: Option<Extent>,
    pub(super) projection: Option<Projection>,
    /// Whether it reads the block's input, before a norm.
    pub(super) from_input: bool,
}

impl Shortcut {
    fn without_weights(path: Path) -> Self {
        Self { path, pooled: None, projection: None, from_input: false }
    }
}

impl Blocks<'_> {
    /// `changes`: the block changes the shape of what it reads, `from`. `folded`: its norms were folded into
    /// convolutions.
    pub(super) fn shortcut(
        &self,
        branch: &Branch<'_>,
        (stride, changes): (Extent, bool),
        from: Shape,
        folded: bool,
    ) -> Result<Shortcut, Fault> {
        let Some(steps) = branch.shortcut.as_deref() else {
            return Ok(Shortcut::without_weights(Path::None));
        };
        let ops: Vec<&Op> = steps.iter().map(|step| &step.op).collect();
        let mut shortcut = match *ops {
            [] => return Ok(Shortcut::without_weights(Path::Identity)),
            [Op::Conv(conv), ref rest @ ..] => {
                let norm = norm(rest, &steps[1..])?;
                let projection = self.project(steps[0], conv, norm, (stride, folded))?;
                let projection = Some(projection);
                Shortcut { projection, ..Shortcut::without_weights(Path::Projection) }
            }
            [pool @ Op::Pool { .. }, Op::Conv(conv), ref rest @ ..] if changes => {
                let pooled = pool_kernel(pool, stride, from);
                let Some(pooled) = pooled else { return other(branch, steps) };
                let norm = norm(rest, &steps[2..])?;
                let one = Extent::square(1);
                let projection = Some(self.project(steps[1], conv, norm, (one, folded))?);
                Shortcut { projection, pooled, ..Shortcut::without_weights(Path::PoolProjection) }
            }
            [Op::Subsample(_)]
            | [Op::PadChannels(_)]
            | [Op::Subsample(_), Op::PadChannels(_)]
            | [Op::PadChannels(_), Op::Subsample(_)] => {
                let after = check_zeros(steps, stride)?;
                Shortcut::without_weights(Path::ZeroPad { pools: false, after })
            }
            [pool] | [pool, Op::PadChannels(_)]
                if is_mean_of_strides(pool, from) == Some(stride) =>
            {
                let after = check_zeros(steps, stride)?;
                Shortcut::without_weights(Path::ZeroPad { pools: true, after })
            }
            _ => return other(branch, steps),
        };
        shortcut.from_input = self.pre_activation && starts_with_norm(branch);
        Ok(shortcut)
    }

    fn project(
        &self,
        step: &Step,
        conv: &Conv,
        norm: Option<&Norm>,
        (stride, folded): (Extent, bool),
    ) -> Result<Projection, Fault> {
        let kernel = conv.window.kernel;
        let odd = !kernel.rows.is_multiple_of(2) && !kernel.columns.is_multiple_of(2);
        let half = Padding::even(Extent::new(kernel.rows / 2, kernel.columns / 2));
        let window = Window::new(kernel, stride, half);
        let same = window.padded_to_same(self.network.values[step.inputs[0]].shape);
        let padded = [conv.window == window, conv.window == same];
        if !odd || padded == [false; 2] || conv.groups != 1 {
            return step.refuse(format!(
                "the convolution of a shortcut is {}{}; a projection has an odd kernel, padded by half of \
                 it, and the block's stride, {stride}",
                conv.window,
                if conv.groups == 1 { "" } else { ", in groups" }
            ));
        }
        let mut conv = conv.clone();
        Ok(match norm {
            Some(norm) => {
                let tensors = self.named(norm);
                Projection { conv, padded, norm: Some(NormKind::of(norm)), tensors }
            }
            // A bias is what is left of a norm.
            None if folded && (conv.bias.is_some() || !self.pre_activation) => {
                let tensors = self.identity(conv.weight.shape[0], conv.bias.take());
                Projection { conv, padded, norm: Some(NormKind::Batch), tensors }
            }
            None => Projection { conv, padded, norm: None, tensors: Vec::new() },
        })
    }
}

/// The norm after a projection, which nothing follows.
fn norm<'a>(ops: &[&'a Op], steps: &[&Step]) -> Result<Option<&'a Norm>, Fault> {
    match *ops {
        [] => Ok(None),
        [Op::Norm(norm)] => Ok(Some(norm)),
        [Op::Norm(_), ..] => misplaced(steps[1]),
        _ => misplaced(steps[0]),
    }
}

/// Whether a pool is that of ResNet-D; `Some` is its kernel if it has no stride.
fn pool_kernel(pool: &Op, stride: Extent, from: Shape) -> Option<Option<Extent>> {
    if stride != Extent::square(1) {
        return (is_mean_of_strides(pool, from) == Some(stride)).then_some(None);
    }
    let Op::Pool { pool, .. } = pool else { return None };
    let kernel = pool.window.kernel;
    let window = Window::new(kernel, stride, Padding::NONE).padded_to_same(from);
    let mean = Pooling { kind: PoolKind::Average, window, zeros: window.padding };
    let small = kernel.max(Extent::square(2)) == Extent::square(2);
    (small && *pool == mean).then_some(Some(kernel))
}

/// Pixels and channels of zeros, as option A has them; whether all zeros are behind.
fn check_zeros(steps: &[&Step], stride: Extent) -> Result<bool, Fault> {
    let mut all_after = false;
    for step in steps {
        match step.op {
            Op::Subsample([rows, columns]) if Extent::new(rows, columns) != stride => {
                return step.refuse(format!("a stride other than the block's {stride}"));
            }
            Op::PadChannels([before, after]) if before != (before + after) / 2 => {
                all_after = before == 0;
                if !all_after {
                    return step.refuse(format!(
                        "{before} channels of zeros before and {after} after; a table has half of them \
                         before, or none"
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(all_after)
}

fn other<T>(branch: &Branch<'_>, steps: &[&Step]) -> Result<T, Fault> {
    let labels: Vec<&str> = steps.iter().map(|step| &*step.label).collect();
    branch.end.refuse(format!(
        "the shortcut that ends here is {}; a table has the identity, a convolution, a mean over the stride \
         and a convolution, or strided pixels, or their means, with zeros for new channels",
        labels.join(", ")
    ))
}

fn starts_with_norm(branch: &Branch<'_>) -> bool {
    matches!(branch.main.first().map(|step| &step.op), Some(Op::Norm(_) | Op::Apply(_)))
}
