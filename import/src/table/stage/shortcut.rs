//! What blocks have beside their main path.

use resnet_compiler::spec::{Shortcut, ZeroChannels};

use super::Run;
use crate::names::Dialect;
use crate::table::Writer;

impl Writer<'_> {
    /// What the blocks of a stage have beside their main path.
    pub(super) fn shortcut(&mut self, run: &Run<'_>) -> Shortcut {
        if let Some(shortcut) = self.options.shortcut {
            return shortcut;
        }
        let stages = &self.network.stages;
        let blocks = || stages.iter().flat_map(|stage| &stage.blocks);
        let Some(projection) = blocks().find_map(|block| block.shortcut.as_ref()) else {
            let [first, ..] = &run.blocks[0].convs[..] else { return Shortcut::Projection };
            let made = run.blocks[0].convs.last().map(|conv| conv.channels);
            if run.stride == 1 && Some(first.inputs) == made {
                return Shortcut::Projection;
            }
            if self.is_linear() {
                return Shortcut::Identity;
            }
            self.assume(
                false,
                "shortcuts without weights take every stride-th pixel (option A)",
                "--shortcut pool_zero_pad`, `--shortcut none",
            );
            if self.options.zero_channels.is_none() {
                self.assume(
                    false,
                    "half of the zeros for new channels stand before the others, half behind",
                    format!("--zero-channels {}", ZeroChannels::After.word()),
                );
            }
            return Shortcut::ZeroPad;
        };
        if run.project_all {
            return Shortcut::ProjectAll;
        }
        // Names such as `downsample.conv` do not tell; networks with a deep stem are D.
        let deep = self.network.stem.len() > 1;
        match projection.second {
            Some(true) => Shortcut::PoolProjection,
            Some(false) => Shortcut::Projection,
            // timm's projections after a pool are a module more deep.
            None if self.network.dialect == Some(Dialect::Byobnet) => {
                match projection.conv.module.ends_with(".shortcut.conv.conv") {
                    true => Shortcut::PoolProjection,
                    false => Shortcut::Projection,
                }
            }
            None if deep => {
                self.assume(
                    self.network.pre_activation,
                    "shortcuts pool before they project, as the stem is deep",
                    "--shortcut projection",
                );
                Shortcut::PoolProjection
            }
            None => Shortcut::Projection,
        }
    }
}
