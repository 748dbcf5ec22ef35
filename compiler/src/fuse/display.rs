//! Fused graphs for people: one line a node.

use std::fmt;

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::Slice;

use super::{Conv, Epilogue, Format, Fused, FusedOp, Residual};
use crate::graph::{Padding, PoolKind, Pooling};

/// The operator and its constants, without what it reads: `conv 3x3/2`.
impl fmt::Display for FusedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input => write!(f, "input"),
            Self::Conv(Conv { window, groups: 1, .. }) => write!(f, "conv {window}"),
            Self::Conv(Conv { window, groups, .. }) => write!(f, "conv {window} groups {groups}"),
            Self::Pool(Pooling { kind, window, zeros }) => {
                let zeros = match (kind, *zeros == window.padding, *zeros == Padding::NONE) {
                    // Each kind's usual meaning of padding.
                    (PoolKind::Max, _, true) | (PoolKind::Average, true, _) => String::new(),
                    (PoolKind::Average, _, true) => " over the picture alone".to_owned(),
                    _ => format!(" over {zeros} zeros around"),
                };
                write!(f, "{} {window}{zeros}", kind.word())
            }
            Self::Affine(_) => write!(f, "affine"),
            Self::Add => write!(f, "add"),
            Self::Gate { .. } => write!(f, "gate"),
            Self::GroupNorm(norm) => write!(f, "group_norm {}", norm.groups),
            Self::ChannelConv { kernel, .. } => write!(f, "channel_conv {kernel}"),
            Self::Blur(window) => write!(f, "blur {window}"),
            Self::GlobalAveragePool => write!(f, "global_average_pool"),
            Self::Softmax => write!(f, "softmax"),
            Self::Quantise => write!(f, "quantise"),
            Self::Narrow => f.write_str("narrow"),
            Self::Widen => f.write_str("widen"),
            Self::Dequantise => write!(f, "dequantise"),
        }
    }
}

impl fmt::Display for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(source) => write!(f, "{source}"),
            Self::ZeroPad { source, stride, before } => {
                write!(f, "zero_pad({source} /{stride}, {before} before)")
            }
        }
    }
}

/// ` + v3, relu`, or nothing.
impl fmt::Display for Epilogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(residual) = self.residual {
            write!(f, " + {residual}")?;
        }
        match self.activation {
            Activation::None => Ok(()),
            activation => write!(f, ", {activation}"),
        }
    }
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.iter() {
            let mut text = node.op.to_string();
            if let Some(input) = node.input {
                text += &format!(" {input}");
            }
            if let FusedOp::Gate { gate } = node.op {
                text += &format!(" by {gate}");
            }
            if let FusedOp::Conv(conv) = &node.op {
                if let Some(Slice { of, at }) = conv.slice {
                    let inputs = node.input.map_or(0, |input| self.node(input).shape.channels);
                    let counts = [node.shape.channels, inputs];
                    let [outputs, inputs] =
                        [0, 1].map(|i| format!("{}..{} of {}", at[i], at[i] + counts[i], of[i]));
                    text += &match counts[0] == of[0] {
                        true => format!(", inputs {inputs}"),
                        false => format!(", outputs {outputs}"),
                    };
                }
                text += if conv.quantised() { ", quantised" } else { "" };
                text += if conv.norm.is_some() { ", norm" } else { "" };
                text += if conv.bias.is_some() { ", bias" } else { "" };
            }
            text += &node.epilogue.to_string();
            match &node.format {
                Format::F32 => {}
                Format::Bf16 => text += ", bf16",
                Format::U8(scale) => text += &format!(", bytes of {scale}"),
            }
            let shape = node.shape.to_string();
            writeln!(f, "{id:>5} = {text:<44} {shape:>14}  # {}", node.name)?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(ToString::to_string).collect();
        writeln!(f, "outputs {}", outputs.join(", "))
    }
}
