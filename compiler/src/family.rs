//! Tables that are written by rule: a form, a depth, a width.
//!
//! ```
//! use resnet_compiler::family::{Block, Form, Member};
//!
//! let member = Member::of_depth(Form::ImageNet, 26, Some(Block::Bottleneck))?;
//! assert_eq!(member.repeats, [2, 2, 2, 2]);
//! let text = Member { classes: 10, ..member }.table()?;
//! assert!(text.contains("layer: fc,"));
//! # Ok::<(), resnet_compiler::family::FamilyError>(())
//! ```

use std::fmt::{self, Display, Write};

use crate::diagnostics::Diagnostics;
use crate::graph::{Graph, Shape};
use crate::spec::rows::{self, Row, scalar};
use crate::spec::{Shortcut, Spec};

/// What stands before the stages, and how wide the first one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A 7x7 convolution of stride 2 and a max pool before stages of 64, 128, ... channels: Table 1 of
    /// the 2015 paper.
    ImageNet,
    /// A 3x3 convolution before stages of 16, 32, ... channels: its section 4.2.
    Cifar,
}

/// The residual block of all stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// A 1x1, a 3x3 and a 1x1 convolution, the last one with four times the channels.
    Bottleneck,
}

impl Block {
    /// Convolutions on the main path.
    fn layers(self) -> usize {
        match self {
            Self::Basic => 2,
            Self::Bottleneck => 3,
        }
    }

    /// Output channels for each channel of a basic block in the same stage.
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// The table's word for it.
impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::Bottleneck => "bottleneck",
        })
    }
}

/// A network of a family: what its table is written from.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The stem and the base of the channels.
    pub form: Form,
    /// The block of all stages.
    pub block: Block,
    /// Blocks of each stage. A stage after the first halves the picture and doubles the channels.
    pub repeats: Vec<usize>,
    /// What stands beside the blocks.
    pub shortcut: Shortcut,
    /// Multiplies the channels of every convolution, the stem's too. All have to stay whole.
    pub width: f64,
    /// Groups of the bottlenecks' 3x3 convolutions (ResNeXt).
    pub groups: usize,
    /// Channels of each group of the first stage's 3x3 convolutions, before they are multiplied by
    /// `width`; each later stage has twice as many. With one group these are all of them: 128 makes
    /// the Wide ResNet-50-2. `None`: the 3x3 convolutions have a quarter of the blocks' channels.
    pub width_per_group: Option<usize>,
    /// The picture.
    pub input: Shape,
    /// Answers.
    pub classes: usize,
    /// The network's name; `None` makes one from what sets the member apart.
    pub name: Option<String>,
}

/// Why there is no such table.
#[derive(Debug, thiserror::Error)]
pub enum FamilyError {
    /// No repeats have the depth.
    #[error("{0}")]
    Depth(String),
    /// Stages without blocks, no stages, or more than a picture has pixels to halve.
    #[error("1 to {MOST_STAGES} stages of at least one block are needed, found {0:?}")]
    Repeats(Vec<usize>),
    /// Channels that are no whole number.
    #[error(
        "{base} channels times a width of {width} are no whole, positive number of channels (of at \
         most {MOST_CHANNELS})"
    )]
    Width {
        /// Channels at a width of 1.
        base: usize,
        /// The multiplier.
        width: f64,
    },
    /// Groups in a block that has no grouped convolution.
    #[error("groups, and a width of groups, are for bottlenecks: these are basic blocks")]
    Groups,
    /// The table contradicts itself: groups that do not divide the channels, a network that is
    /// too large, a name that is none.
    #[error(transparent)]
    Table(#[from] Diagnostics),
}

/// More stages leave one pixel of any picture that fits in memory.
const MOST_STAGES: usize = 16;

/// As many elements as a tensor may have.
const MOST_CHANNELS: usize = 1 << 31;

/// Depth, block and repeats that have names in the literature: 18 to 152 are those of Table 1 of the
/// 2015 paper, 200 that of "Identity Mappings in Deep Residual Networks" (He et al., 2016); 10, 14 and
/// 26 have one or two blocks in each stage.
const DEPTHS: [(usize, Block, [usize; 4]); 9] = [
    (10, Block::Basic, [1, 1, 1, 1]),
    (14, Block::Bottleneck, [1, 1, 1, 1]),
    (18, Block::Basic, [2, 2, 2, 2]),
    (26, Block::Bottleneck, [2, 2, 2, 2]),
    (34, Block::Basic, [3, 4, 6, 3]),
    (50, Block::Bottleneck, [3, 4, 6, 3]),
    (101, Block::Bottleneck, [3, 4, 23, 3]),
    (152, Block::Bottleneck, [3, 8, 36, 3]),
    (200, Block::Bottleneck, [3, 24, 36, 3]),
];

impl Member {
    /// The network whose stages have so many blocks, with what its form has in the 2015 paper: ImageNet's
    /// 224x224 pictures, 1000 classes and projections where the shape changes (option B), or CIFAR-10's
    /// 32x32 pictures, 10 classes and shortcuts without parameters (option A).
    pub fn of_repeats(form: Form, block: Block, repeats: impl Into<Vec<usize>>) -> Self {
        let (shortcut, side, classes) = match form {
            Form::ImageNet => (Shortcut::Projection, 224, 1000),
            Form::Cifar => (Shortcut::ZeroPad, 32, 10),
        };
        Self {
            form,
            block,
            repeats: repeats.into(),
            shortcut,
            width: 1.0,
            groups: 1,
            width_per_group: None,
            input: Shape::new(3, side, side),
            classes,
            name: None,
        }
    }

    /// The network of a depth. ImageNet's have the repeats of the literature, and the block of
    /// that depth if none is asked for; CIFAR's have three stages of `n` blocks, 6n + 2 layers if
    /// they are basic ones (as they are if nothing is asked for) and 9n + 2 if they are bottlenecks.
    ///
    /// # Errors
    ///
    /// [`FamilyError::Depth`] if there is none, with the nearest ones.
    pub fn of_depth(form: Form, depth: usize, block: Option<Block>) -> Result<Self, FamilyError> {
        match form {
            Form::ImageNet => {
                let suits = |of: Block| block.is_none_or(|block| block == of);
                let known = DEPTHS.iter().filter(|(_, of, _)| suits(*of));
                match known.clone().find(|(of, ..)| *of == depth) {
                    Some(&(_, block, repeats)) => Ok(Self::of_repeats(form, block, repeats)),
                    None => Err(unknown_depth(depth, block, known)),
                }
            }
            Form::Cifar => {
                let block = block.unwrap_or(Block::Basic);
                let layers = 3 * block.layers();
                let n = depth.saturating_sub(2) / layers;
                if n >= 1 && depth == layers * n + 2 {
                    return Ok(Self::of_repeats(form, block, [n; 3]));
                }
                let near: Vec<String> = [n, n + 1]
                    .into_iter()
                    .filter(|n| *n >= 1)
                    .map(|n| format!("{} (n = {n})", layers.saturating_mul(n).saturating_add(2)))
                    .collect();
                Err(FamilyError::Depth(format!(
                    "CIFAR's networks of {block} blocks have {layers}n + 2 layers, not {depth}; the \
                     nearest depth is {}",
                    near.join(" or ")
                )))
            }
        }
    }

    /// Convolutions and linear layers, projections not counted.
    pub fn depth(&self) -> usize {
        let blocks = self.repeats.iter().fold(0_usize, |sum, n| sum.saturating_add(*n));
        blocks.saturating_mul(self.block.layers()).saturating_add(2)
    }

    /// The name that was given, or one such as `resnet50`, `resnext50_32x4d`, `cifar-resnet20-w2`.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let form = match self.form {
            Form::ImageNet => "",
            Form::Cifar => "cifar-",
        };
        let (depth, groups) = (self.depth(), self.groups);
        let mut name = match self.width_per_group {
            Some(width) if groups > 1 => format!("{form}resnext{depth}_{groups}x{width}d"),
            Some(width) => format!("{form}resnet{depth}_{width}d"),
            None if groups > 1 => format!("{form}resnet{depth}-g{groups}"),
            None => format!("{form}resnet{depth}"),
        };
        if self.width != 1.0 {
            name += &format!("-w{}", self.width);
        }
        name
    }

    /// The table, with a size claimed for each row and counts that are expected, so that it checks
    /// itself when it is compiled.
    ///
    /// # Errors
    ///
    /// What [`FamilyError`] lists.
    pub fn table(&self) -> Result<String, FamilyError> {
        let stages = 1..=MOST_STAGES;
        if !stages.contains(&self.repeats.len()) || self.repeats.contains(&0) {
            return Err(FamilyError::Repeats(self.repeats.clone()));
        }
        let name = self.name();
        let mut text = self.comment();
        // Writing to a string cannot fail.
        let _ = write!(text, "name: {}\ninput: {}\ntable:\n", scalar(&name), self.input);
        text += &rows::aligned(&self.rows()?);
        let graph = Graph::build(&Spec::from_yaml_named(&text, &name)?)?;
        let Graph { depth, params, macs, .. } = graph;
        let _ = writeln!(
            text,
            "expect: {{depth: {depth}, params: {params}, macs: {:.3e}}}",
            macs as f64
        );
        text += &self.preprocess();
        Ok(text)
    }

    fn comment(&self) -> String {
        let place = match self.form {
            Form::ImageNet => "Table 1",
            Form::Cifar => "section 4.2",
        };
        let repeats: Vec<String> = self.repeats.iter().map(usize::to_string).collect();
        let grouped = match self.groups {
            1 => "",
            _ => {
                "# Grouped as in \"Aggregated Residual Transformations for Deep Neural Networks\" (Xie et \
                 al.; 2017).\n"
            }
        };
        format!(
            "# ResNet-{} of {} blocks, {} in the stages, in the form of\n\
             # \"Deep Residual Learning for Image Recognition\" (He, Zhang, Ren, Sun; 2015), {place}.\n",
            self.depth(),
            self.block,
            repeats.join(" + "),
        ) + grouped
    }

    fn rows(&self) -> Result<Vec<Row>, FamilyError> {
        let base = match self.form {
            Form::ImageNet => 64,
            Form::Cifar => 16,
        };
        let stem = self.channels(base)?;
        let halved = |[height, width]: [usize; 2]| [height.div_ceil(2), width.div_ceil(2)];
        let mut size = [self.input.height, self.input.width];
        let mut rows = Vec::new();
        match self.form {
            Form::Cifar => {
                rows.push(row("conv1", "conv", size).with("kernel", 3).with("channels", stem));
            }
            Form::ImageNet => {
                size = halved(size);
                let conv = row("conv1", "conv", size).with("kernel", 7).with("channels", stem);
                rows.push(conv.with("stride", 2));
                size = halved(size);
                rows.push(row("pool1", "max_pool", size).with("kernel", 3).with("stride", 2));
            }
        }
        for (stage, &repeat) in self.repeats.iter().enumerate() {
            let factor = 1 << stage;
            if stage > 0 {
                size = halved(size);
            }
            let mut row = row(format_args!("conv{}_x", stage + 2), self.block, size);
            row.set("repeat", repeat);
            row.set("channels", self.channels(base * factor * self.block.expansion())?);
            if stage > 0 {
                row.set("stride", 2);
            }
            self.grouping(factor, &mut row)?;
            if self.shortcut != Shortcut::Projection {
                row.set("shortcut", self.shortcut.word());
            }
            rows.push(row);
        }
        rows.push(row("avgpool", "global_average_pool", [1, 1]));
        rows.push(Row::new("fc", "linear").with("channels", self.classes));
        Ok(rows)
    }

    /// Sets the cells `width` and `groups` of a stage whose channels are `factor` times the first
    /// one's.
    fn grouping(&self, factor: usize, row: &mut Row) -> Result<(), FamilyError> {
        if self.groups == 1 && self.width_per_group.is_none() {
            return Ok(());
        }
        if self.block == Block::Basic {
            return Err(FamilyError::Groups);
        }
        if let Some(width) = self.width_per_group {
            let base = self.groups.saturating_mul(width).saturating_mul(factor);
            row.set("width", self.channels(base)?);
        }
        if self.groups != 1 {
            row.set("groups", self.groups);
        }
        Ok(())
    }

    /// `base` channels times the width.
    fn channels(&self, base: usize) -> Result<usize, FamilyError> {
        let channels = base as f64 * self.width;
        let whole = channels.round();
        // A width such as 0.7 has no exact binary form.
        if (channels - whole).abs() < 1e-6 && (1.0..=MOST_CHANNELS as f64).contains(&whole) {
            return Ok(whole as usize);
        }
        Err(FamilyError::Width { base, width: self.width })
    }

    /// How trained networks of the form see pictures, if there are three channels; and CIFAR-10's
    /// classes, if it is that.
    fn preprocess(&self) -> String {
        let Shape { channels, height, width } = self.input;
        if channels != 3 {
            return String::new();
        }
        let longer = height.max(width);
        let (resize, statistics) = match self.form {
            Form::ImageNet => {
                (longer * 8 / 7, "mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]")
            }
            Form::Cifar => {
                (longer, "mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616]")
            }
        };
        let crop = if height == width { height.to_string() } else { format!("{height}x{width}") };
        let mut text = format!("preprocess: {{resize: {resize}, crop: {crop}, {statistics}}}\n");
        if self.form == Form::Cifar && self.classes == 10 && [height, width] == [32, 32] {
            text +=
                "labels: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]\n";
        }
        text
    }
}

/// A row that claims what it makes.
fn row(layer: impl Display, op: impl Display, [height, width]: [usize; 2]) -> Row {
    Row::new(layer, op).with("output", format_args!("{height}x{width}"))
}

/// The complaint about a depth, with the nearest ones below and above.
fn unknown_depth<'a>(
    depth: usize,
    block: Option<Block>,
    known: impl Iterator<Item = &'a (usize, Block, [usize; 4])> + Clone,
) -> FamilyError {
    let below = known.clone().filter(|(of, ..)| *of < depth).last();
    let above = known.clone().find(|(of, ..)| *of > depth);
    let near: Vec<String> =
        below.into_iter().chain(above).map(|(of, block, _)| format!("{of} ({block})")).collect();
    let blocks = block.map(|block| format!(" of {block} blocks")).unwrap_or_default();
    FamilyError::Depth(format!(
        "there is no known ResNet-{depth}{blocks}; the nearest depth is {}; for any other give the \
         blocks of each stage, such as `--block bottleneck --repeats 3,4,6,3`",
        near.join(" or ")
    ))
}

#[cfg(test)]
mod tests;
