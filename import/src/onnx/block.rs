//! A residual block of the graph: what its row says, and its tensors.

use resnet_compiler::graph::{Extent, Padding, Shape, Window};

use super::chain::Branch;
use super::graph::{Attention, Conv, Network, Norm, Op, Step, ValueId};
use crate::checkpoint::Stored;
use crate::error::Fault;

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) same: Kind,
    pub(crate) stride: Extent,
    /// Whether the first 1x1 convolution of a bottleneck has the stride.
    pub(crate) on_first: bool,
    /// Whether a blur has the stride in the place of that convolution.
    pub(crate) blurs: bool,
    /// Of the first 3x3 convolution, if it has another one than the others.
    pub(crate) first_dilation: Extent,
    pub(crate) path: Path,
    /// Whether the shape changes.
    pub(crate) changes: bool,
    /// Whether the 3x3 convolutions are padded by as much as they reach, and as TensorFlow's `SAME`.
    pub(crate) padded: [bool; 2],
    pub(crate) bias: bool,
    pub(crate) projection_norm: Option<bool>,
    /// By their names in the block, without those of the shortcut.
    pub(crate) tensors: Vec<(String, Stored)>,
    /// Convolutions, by their names in the block: their biases, if they have any of their own.
    pub(crate) biases: Vec<(String, usize, Option<Stored>)>,
    pub(crate) projection: Option<Projection>,
    /// What it makes.
    pub(crate) value: ValueId,
}

/// What all blocks of a row have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) channels: usize,
    pub(crate) dilation: Extent,
    /// Width and groups.
    pub(crate) bottleneck: Option<(usize, usize)>,
    /// Field and value.
    pub(crate) attention: Option<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Path {
    Identity,
    Projection,
    PoolProjection,
    ZeroPad,
}

#[derive(Debug)]
pub(crate) struct Projection {
    pub(crate) conv: Conv,
    pub(crate) norm: Option<[(&'static str, Stored); 4]>,
}

/// A convolution of the main path with the norm that belongs to it.
struct Unit<'a> {
    step: &'a Step,
    conv: &'a Conv,
    norm: Option<&'a Norm>,
    relu: bool,
    /// The stride of the blur after the next ReLU.
    blur: Option<Extent>,
}

impl Unit<'_> {
    /// Whether a blur has its place here: that of `anti_alias`, of which there is one.
    fn takes(&self, window: &Window) -> bool {
        let three = Extent::square(3);
        let plain = Window::new(three, window.stride, Padding::even(Extent::square(1)));
        *window == plain && self.blur.is_none() && window.stride != Extent::square(1)
    }
}

/// What stands before the fork of a pre-activation block.
pub(crate) type Before<'a> = Option<&'a Norm>;

/// Reads blocks.
pub(crate) struct Blocks<'a> {
    pub(crate) network: &'a Network,
    pub(crate) pre_activation: bool,
    pub(crate) epsilon: f64,
}

impl Blocks<'_> {
    pub(crate) fn read(
        &self,
        branch: &Branch<'_>,
        before: Before<'_>,
        value: ValueId,
    ) -> Result<Block, Fault> {
        let (units, attention) = match self.pre_activation {
            true => self.units_before(branch, before)?,
            false => units_after(branch)?,
        };
        let from = self.network.values[branch.input].shape;
        check_kernels(branch, &units)?;
        let (stride, on_first) = strides(branch, &units)?;
        let (same, first_dilation) = self.kind(&units, attention)?;
        let padded = self.padded(&units)?;
        let changes = stride != Extent::square(1) || from.channels != same.channels;
        let (path, projection) = self.shortcut(branch, stride, from)?;
        if self.pre_activation && path != Path::Identity && starts_with_norm(branch) {
            return branch.add.refuse(
                "the shortcut reads the block's input; in a table's pre-activation block it reads what \
                 the first norm and ReLU made",
            );
        }
        let mut block = Block {
            same,
            stride,
            on_first,
            blurs: units.iter().any(|unit| unit.blur.is_some()),
            first_dilation,
            path,
            changes,
            padded,
            bias: false,
            projection_norm: projection.as_ref().map(|projection| projection.norm.is_some()),
            tensors: Vec::new(),
            biases: Vec::new(),
            projection,
            value,
        };
        self.tensors(&mut block, &units);
        if let Some(attention) = attention {
            block.attend(attention);
        }
        let own = block.biases.iter().any(|(.., bias)| bias.is_some());
        block.bias = own
            || block.projection.as_ref().is_some_and(|projection| projection.conv.bias.is_some());
        Ok(block)
    }

    /// Norms and ReLUs before convolutions.
    fn units_before<'s>(
        &self,
        branch: &Branch<'s>,
        before: Before<'s>,
    ) -> Result<(Vec<Unit<'s>>, Option<&'s Attention>), Fault> {
        let positive = self.network.values[branch.input].positive;
        let (mut norm, mut relu) = (before, positive);
        let mut units: Vec<Unit<'_>> = Vec::new();
        let mut attention = None;
        for &step in &branch.main {
            match &step.op {
                _ if attention.is_some() => {
                    return step.refuse("nothing follows a block's attention");
                }
                Op::Norm(found) if norm.is_none() && (!relu || units.is_empty()) => {
                    (norm, relu) = (Some(&**found), false);
                }
                Op::Relu => relu = true,
                Op::Conv(conv) => {
                    if !relu {
                        return step.refuse(
                            "a ReLU is expected before it, as before the other convolutions of \
                             pre-activation blocks",
                        );
                    }
                    units.push(Unit { step, conv, norm, relu, blur: None });
                    (norm, relu) = (None, false);
                }
                Op::Blur(window) if relu && units.last().is_some_and(|unit| unit.takes(window)) => {
                    if let Some(last) = units.last_mut() {
                        last.blur = Some(window.stride);
                    }
                }
                Op::Gate(found) if norm.is_none() && !relu => attention = Some(found),
                _ => return misplaced(step),
            }
        }
        if norm.is_some() || relu {
            return branch.add.refuse("a pre-activation block ends with a convolution");
        }
        Ok((units, attention))
    }

    /// What the convolutions say together.
    fn kind(
        &self,
        units: &[Unit<'_>],
        attention: Option<&Attention>,
    ) -> Result<(Kind, Extent), Fault> {
        let bottleneck = units.len() == 3;
        let outputs = |unit: &Unit<'_>| unit.conv.weight.shape[0];
        let channels = units.last().map_or(0, outputs);
        let width = outputs(&units[0]);
        let expected = if bottleneck { width } else { channels };
        if let Some(unit) = units[..units.len() - 1].iter().find(|unit| outputs(unit) != expected) {
            return unit.step.refuse(format!(
                "it makes {} channels, where the block's table row would have {expected}",
                outputs(unit)
            ));
        }
        let dilation = |index: usize| units[index].conv.window.dilation;
        let bottleneck = bottleneck.then(|| (width, units[1].conv.groups));
        let attention = attention.map(|attention| match attention {
            Attention::SqueezeExcitation(layers) => {
                let [(weight, _), _] = &**layers;
                ("squeeze_excitation", format!("{{channels: {}}}", weight.shape[0]))
            }
            Attention::Efficient(weight) => ("eca", weight.shape[2].to_string()),
        });
        let kind = Kind { channels, dilation: dilation(1), bottleneck, attention };
        Ok((kind, dilation(usize::from(units.len() == 3))))
    }

    /// Which paddings the 3x3 convolutions all may have.
    fn padded(&self, units: &[Unit<'_>]) -> Result<[bool; 2], Fault> {
        let mut padded = [true; 2];
        for unit in units {
            let window = unit.conv.window;
            let shape = self.network.values[unit.step.inputs[0]].shape;
            let half = window.kernel.rows / 2;
            let even = Padding::even(Extent::new(
                half * window.dilation.rows,
                half * window.dilation.columns,
            ));
            let like_tensorflow = Window { padding: Padding::NONE, ..window }.padded_to_same(shape);
            let fits = [even == window.padding, like_tensorflow.padding == window.padding];
            if fits == [false; 2] {
                return unit.step.refuse(format!(
                    "a padding of {}; in a block it is {even}, or as TensorFlow's SAME",
                    window.padding
                ));
            }
            padded = [padded[0] && fits[0], padded[1] && fits[1]];
        }
        if padded == [false; 2] {
            return units[0]
                .step
                .refuse("the paddings of the block's convolutions do not go together");
        }
        Ok(padded)
    }

    fn shortcut(
        &self,
        branch: &Branch<'_>,
        stride: Extent,
        from: Shape,
    ) -> Result<(Path, Option<Projection>), Fault> {
        let steps = &*branch.shortcut;
        let ops: Vec<&Op> = steps.iter().map(|step| &step.op).collect();
        let one = Extent::square(1);
        let project = |conv: &Conv, norm: Option<&Norm>, stride: Extent| {
            let window = Window::new(one, stride, Padding::NONE);
            if conv.window != window || conv.groups != 1 {
                return branch.add.refuse(format!(
                    "the shortcut's convolution is {}; a projection is {window}",
                    conv.window
                ));
            }
            let mut conv = conv.clone();
            let norm = match norm {
                Some(norm) => Some(named(norm)),
                // A bias without a norm is what is left of one.
                None if conv.bias.is_some() || !self.pre_activation => {
                    Some(self.identity(conv.weight.shape[0], conv.bias.take()))
                }
                None => None,
            };
            Ok(Some(Projection { conv, norm }))
        };
        Ok(match *ops {
            [] => (Path::Identity, None),
            [Op::Conv(conv)] => (Path::Projection, project(conv, None, stride)?),
            [Op::Conv(conv), Op::Norm(norm)] => {
                (Path::Projection, project(conv, Some(norm), stride)?)
            }
            [Op::AveragePool { window, count_padding }, Op::Conv(conv), ref rest @ ..]
                if is_shortcut_pool(window, *count_padding, stride, from) =>
            {
                let norm = match *rest {
                    [] => None,
                    [Op::Norm(norm)] => Some(&**norm),
                    _ => return misplaced(steps[2]),
                };
                (Path::PoolProjection, project(conv, norm, one)?)
            }
            [Op::Subsample(_)]
            | [Op::PadChannels(_)]
            | [Op::Subsample(_), Op::PadChannels(_)]
            | [Op::PadChannels(_), Op::Subsample(_)] => {
                for step in steps {
                    match step.op {
                        Op::Subsample([rows, columns]) if Extent::new(rows, columns) != stride => {
                            return step
                                .refuse(format!("a stride other than the block's {stride}"));
                        }
                        Op::PadChannels([before, after]) if before != (before + after) / 2 => {
                            return step.refuse(format!(
                                "{before} channels of zeros before and {after} after; a table has half \
                                 of them before"
                            ));
                        }
                        _ => {}
                    }
                }
                (Path::ZeroPad, None)
            }
            _ => {
                let labels: Vec<&str> = steps.iter().map(|step| &*step.label).collect();
                return branch.add.refuse(format!(
                    "the shortcut that ends here is {}; a table has the identity, a 1x1 convolution, a \
                     mean over the stride and a 1x1 convolution, or strided pixels with zeros for new \
                     channels",
                    labels.join(", ")
                ));
            }
        })
    }

    /// Names the tensors of the main path.
    fn tensors(&self, block: &mut Block, units: &[Unit<'_>]) {
        let word = if self.pre_activation { "norm" } else { "bn" };
        // The bias that a norm left when it was folded into the convolution before it.
        let mut left = None;
        for (number, unit) in (1..).zip(units) {
            let conv = unit.conv;
            let channels = conv.weight.shape[0];
            let mut bias = conv.bias.clone();
            let norm_channels =
                if self.pre_activation { conv.weight.shape[1] * conv.groups } else { channels };
            let norm = match unit.norm {
                Some(norm) => named(norm),
                None if self.pre_activation => self.identity(norm_channels, left.take()),
                None => self.identity(norm_channels, bias.take()),
            };
            if self.pre_activation && units.get(number).is_some_and(|next| next.norm.is_none()) {
                left = bias.take();
            }
            block.tensors.push((format!("conv{number}.weight"), conv.weight.clone()));
            block.biases.push((format!("conv{number}.bias"), channels, bias));
            for (part, stored) in norm {
                block.tensors.push((format!("{word}{number}.{part}"), stored));
            }
        }
    }

    /// A batch norm that adds a bias and changes nothing else.
    pub(crate) fn identity(
        &self,
        channels: usize,
        bias: Option<Stored>,
    ) -> [(&'static str, Stored); 4] {
        let same = |value: f32| Stored::same(vec![channels], value);
        [
            ("weight", same(1.0)),
            ("bias", bias.unwrap_or_else(|| same(0.0))),
            ("running_mean", same(0.0)),
            ("running_var", same((1.0 - self.epsilon) as f32)),
        ]
    }
}

impl Block {
    fn attend(&mut self, attention: &Attention) {
        let mut push = |name: &str, stored: Stored| self.tensors.push((name.to_owned(), stored));
        match attention {
            Attention::SqueezeExcitation(layers) => {
                for (name, (weight, bias)) in ["fc1", "fc2"].iter().zip(&**layers) {
                    let zeros = || Stored::same(vec![weight.shape[0]], 0.0);
                    push(&format!("se.{name}.bias"), bias.clone().unwrap_or_else(zeros));
                    push(&format!("se.{name}.weight"), weight.clone());
                }
            }
            Attention::Efficient(weight) => push("se.conv.weight", weight.clone()),
        }
    }
}

/// Norms and ReLUs after convolutions.
fn units_after<'s>(branch: &Branch<'s>) -> Result<(Vec<Unit<'s>>, Option<&'s Attention>), Fault> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut attention = None;
    for &step in &branch.main {
        match (&step.op, units.last_mut()) {
            _ if attention.is_some() => return step.refuse("nothing follows a block's attention"),
            (Op::Conv(conv), last) => {
                if last.is_some_and(|last| !last.relu) {
                    return step
                        .refuse("a ReLU is expected before it, after the convolution before");
                }
                units.push(Unit { step, conv, norm: None, relu: false, blur: None });
            }
            (Op::Norm(norm), Some(last)) if last.norm.is_none() && !last.relu => {
                last.norm = Some(norm);
            }
            (Op::Relu, Some(last)) => last.relu = true,
            (Op::Blur(window), Some(last)) if last.relu && last.takes(window) => {
                last.blur = Some(window.stride);
            }
            (Op::Gate(found), Some(last)) if !last.relu => attention = Some(found),
            _ => return misplaced(step),
        }
    }
    if units.last().is_some_and(|last| last.relu) {
        return branch.add.refuse("a ReLU ends the main path; in a block it comes after the sum");
    }
    Ok((units, attention))
}

fn misplaced<T>(step: &Step) -> Result<T, Fault> {
    step.refuse(
        "not expected in this place; a block's main path is convolutions, each with batch norm and \
         ReLU, and perhaps squeeze-and-excitation at its end",
    )
}

/// The convolutions have to be those of a basic block or of a bottleneck.
fn check_kernels(branch: &Branch<'_>, units: &[Unit<'_>]) -> Result<(), Fault> {
    let kernels: &[usize] = match units.len() {
        2 => &[3, 3],
        3 => &[1, 3, 1],
        count => {
            return branch.add.refuse(format!(
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

/// The block's stride, and whether the first of three convolutions has it.
fn strides(branch: &Branch<'_>, units: &[Unit<'_>]) -> Result<(Extent, bool), Fault> {
    let one = Extent::square(1);
    let mut strides = Vec::new();
    for unit in units {
        let own = unit.conv.window.stride;
        if unit.blur.is_some() && own != one {
            return unit
                .step
                .refuse(format!("a stride of {own} before a blur, which has it alone"));
        }
        strides.push(unit.blur.unwrap_or(own));
    }
    Ok(match *strides {
        [stride, last] if last == one => (stride, false),
        [first, middle, last] if last == one && first == one => (middle, false),
        [first, middle, last] if last == one && middle == one => (first, true),
        _ => {
            let shown: Vec<String> = strides.iter().map(Extent::to_string).collect();
            return branch.add.refuse(format!(
                "the block that ends here has the strides {}; one convolution has a stride, not \
                 the last",
                shown.join(", ")
            ));
        }
    })
}

fn starts_with_norm(branch: &Branch<'_>) -> bool {
    matches!(branch.main.first().map(|step| &step.op), Some(Op::Norm(_) | Op::Relu))
}

/// Whether a pool is that of ResNet-D, over the pixels that there are.
fn is_shortcut_pool(window: &Window, count_padding: bool, stride: Extent, from: Shape) -> bool {
    let after = Extent::new(
        from.height.next_multiple_of(stride.rows) - from.height,
        from.width.next_multiple_of(stride.columns) - from.width,
    );
    let padding = Padding { before: Extent::square(0), after };
    // Rows at the edge that no window reaches make another shape, which the sum finds out.
    *window == Window::new(stride, stride, padding) && (!count_padding || padding == Padding::NONE)
}

pub(super) fn named(norm: &Norm) -> [(&'static str, Stored); 4] {
    let [weight, bias, mean, variance] = norm.tensors.clone();
    [("weight", weight), ("bias", bias), ("running_mean", mean), ("running_var", variance)]
}
