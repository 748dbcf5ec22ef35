//! Rows before the blocks.

use resnet_compiler::spec::AntiAlias;
use resnet_compiler::spec::rows::Row;

use super::Writer;
use crate::StemPool;
use crate::beside::Padding;
use crate::checkpoint::Flat;
use crate::error::{Fault, unknown};
use crate::names::{Dialect, StemConv};

impl Writer<'_> {
    pub(super) fn stem(&mut self) -> Result<(), Fault> {
        let stem = &self.network.stem;
        let pool = self.choose_pool()?;
        let deep = stem.iter().filter(|unit| !unit.pool).count() > 1;
        if pool == Some(StemPool::Stride) && !deep {
            return unknown(
                "`--pool stride` is for stems of several convolutions, the last of which has a stride too; leave it \
                 out",
            );
        }
        for (index, unit) in (1..).zip(stem) {
            let layer = match (unit.pool, deep) {
                (true, _) => "pool1".to_owned(),
                (false, true) => format!("stem{index}"),
                (false, false) => "conv1".to_owned(),
            };
            let stride = match index {
                1 => self.stem_stride(),
                _ if unit.pool => 2,
                _ if index == stem.len() && pool == Some(StemPool::Stride) => 2,
                _ => 1,
            };
            let mut row = self.conv(Row::new(layer, "conv"), unit, index, stride)?;
            let last = self.network.pre_activation && index == stem.len();
            // Of timm's stems, some have no norm and no activation after their first convolutions.
            let bare = last || self.network.dialect == Some(Dialect::Byobnet);
            if bare && unit.norm.is_none() {
                row.set("activation", "none");
            } else if let Some(outer) = self.known.outer_activation {
                row.set("activation", outer);
            }
            self.draft.rows.push(row);
        }
        if let Some(pool) = pool {
            self.stem_pool(pool);
        }
        Ok(())
    }

    /// A row of its own for a convolution, the `index`th of those.
    pub(super) fn conv(
        &mut self,
        mut row: Row,
        unit: &StemConv,
        index: usize,
        stride: usize,
    ) -> Result<Row, Fault> {
        let conv = &unit.conv;
        let [rows, columns] = conv.kernel;
        let kernel = if rows == columns { rows.to_string() } else { format!("{rows}x{columns}") };
        row.set("kernel", kernel);
        row.set("channels", conv.channels);
        if stride != 1 {
            row.set("stride", stride);
        }
        // Patches that do not overlap.
        if conv.kernel == [stride; 2] && stride > 1 {
            row.set("padding", 0);
        } else if matches!(self.known.padding, Padding::Same { .. }) {
            row.set("padding", "same");
        }
        let (default, default_norm) = (format!("conv{index}"), format!("bn{index}"));
        let weights = self.named(&conv.module, &default);
        // Left out, a bias is there where no norm is.
        if conv.bias != unit.norm.is_none() {
            row.set("bias", conv.bias);
        }
        match &unit.norm {
            Some(norm) => {
                self.group_norm(&mut row, &[conv.channels])?;
                let norm = self.named(norm, &default_norm);
                if weights != default || norm != default_norm {
                    row.set("weights", weights);
                    row.set("norm_weights", norm);
                }
            }
            None => {
                row.set("norm", "none");
                self.weights(&mut row, "weights", &weights, &default);
            }
        }
        Ok(row)
    }

    /// The stride of the first convolution. Even kernels are those of patches.
    fn stem_stride(&mut self) -> usize {
        let (kernel, halves) = (self.stem_kernel(), self.stem_halves());
        let stride = match kernel {
            _ if kernel > 1 && kernel.is_multiple_of(2) => kernel,
            _ if halves => 2,
            _ => 1,
        };
        if let Some(stride) = self.options.stem_stride {
            return stride;
        }
        let usual =
            kernel == 7 || self.network.stem.len() > 1 || (kernel == 3 && !self.many_classes());
        let other = if stride == 1 { 2 } else { 1 };
        let padding = if kernel == stride { 0 } else { kernel / 2 };
        self.assume(
            usual,
            format!("the stem's stride is {stride}, its padding {padding}"),
            format!("--stem-stride {other}"),
        );
        stride
    }

    /// Whether the stem is a single 3x3 convolution of stride 2 without a pool, and the first stage has a stride.
    pub(super) fn is_regnet(&self) -> bool {
        let single = self.network.stem.len() == 1 && self.stem_kernel() == 3;
        match self.network.dialect {
            Some(Dialect::RegNet) => true,
            Some(Dialect::Byobnet) => single && !self.network.projects(),
            _ => false,
        }
    }

    /// Rows of the first kernel.
    fn stem_kernel(&self) -> usize {
        self.network.stem.first().map_or(0, |unit| unit.conv.kernel[0])
    }

    /// Whether the stem has a stride as published networks have it: those for ImageNet, and not those of
    /// a single 3x3, for CIFAR.
    pub(super) fn stem_halves(&self) -> bool {
        self.is_regnet() || self.stem_kernel() > 3 || self.network.stem.len() > 1
    }

    /// As ImageNet's, which are no small pictures.
    pub(super) fn many_classes(&self) -> bool {
        self.draft.classes.is_some_and(|classes| classes >= 1000)
    }

    /// What follows the stem; nothing, if it has no convolution, or one in the place of a pool.
    fn choose_pool(&mut self) -> Result<Option<StemPool>, Fault> {
        let Some(first) = self.network.stem.first() else { return Ok(None) };
        if let Some(unit) = self.network.stem.iter().find(|unit| unit.pool) {
            return match self.options.pool {
                _ if self.options.anti_alias.is_some() => unknown(format!(
                    "`{}` is a convolution in the place of the stem's pool; with anti-aliasing its stride is that of a \
                     filter between it and its norm, which tables do not have",
                    unit.conv.module
                )),
                None | Some(StemPool::None) => Ok(None),
                Some(_) => unknown(format!(
                    "`{}` is a convolution in the place of the stem's pool; leave `--pool` out",
                    unit.conv.module
                )),
            };
        }
        let patches = first.conv.kernel[0].is_multiple_of(2);
        let has = self.stem_halves() && !patches && !self.is_regnet();
        let network = self.network;
        let byobnet = network.dialect == Some(Dialect::Byobnet) && network.stem.len() > 1;
        // What else these networks have that have no pool.
        let strides = network.stem.len() > 3 || network.final_conv.is_some() || !network.projects();
        let assumed = match (has, network.dialect) {
            (false, _) => StemPool::None,
            (true, Some(Dialect::Senet | Dialect::Flat(Flat::Caffe))) => StemPool::Ceil,
            (true, _) if byobnet && strides => StemPool::Stride,
            (true, _) => StemPool::Max,
        };
        if self.options.pool.is_none() {
            let (what, option) = match assumed {
                StemPool::None => ("no max pool after the stem", "--pool true"),
                StemPool::Max if network.group_norm && network.pre_activation => (
                    "the max pool after the stem ignores its padding, which BiT's takes as zeros",
                    "--pool zeros",
                ),
                StemPool::Max if byobnet => (
                    "a 3x3 max pool of stride 2 after the stem, and no stride of its last convolution",
                    "--pool stride",
                ),
                StemPool::Max | StemPool::Zeros => {
                    ("a 3x3 max pool of stride 2 after the stem", "--pool false")
                }
                StemPool::Stride => (
                    "no max pool after the stem, whose last convolution has a stride of 2 in its place",
                    "--pool true",
                ),
                StemPool::Ceil => (
                    "the max pool after the stem rounds sizes up, as its names are those of networks that came \
                     from Caffe",
                    "--pool true",
                ),
            };
            let usual = match assumed {
                StemPool::Ceil | StemPool::Stride => false,
                // It had no padding first.
                _ if network.dialect == Some(Dialect::Flat(Flat::FirstKeras)) => false,
                _ => !patches && !byobnet && option != "--pool zeros",
            };
            self.assume(usual, what, option);
        }
        Ok(Some(self.options.pool.unwrap_or(assumed)))
    }

    /// The pool after the stem, which halves its output. The anti-aliased ones are timm's.
    fn stem_pool(&mut self, pool: StemPool) {
        let mut max = Row::new("pool1", "max_pool").with("kernel", 3);
        match pool {
            StemPool::None | StemPool::Stride => return,
            StemPool::Max => {}
            StemPool::Ceil => max.set("padding", "{bottom: 1, right: 1}"),
            StemPool::Zeros => match self.known.padding {
                Padding::Half => max.set("count_padding", true),
                Padding::Same { pool: true } => {
                    max.set("padding", "same");
                    max.set("count_padding", true);
                }
                Padding::Same { pool: false } => max.set("padding", 0),
            },
        }
        let rows = match self.options.anti_alias {
            None => vec![max.with("stride", 2)],
            Some(AntiAlias::Blur) => {
                vec![max, Row::new("blur1", "blur").with("kernel", 3).with("stride", 2)]
            }
            Some(AntiAlias::Average) => {
                let average = Row::new("pool1", "average_pool").with("kernel", 2);
                vec![average.with("stride", 2).with("padding", 0)]
            }
        };
        self.draft.rows.extend(rows);
    }
}
