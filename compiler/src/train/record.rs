//! How the values of the way forward were made, for the way back.

use resnet_runtime::kernels::Activation;

use super::algorithms::Products;
use super::state::{NormSlots, SlotId, TableId};
use super::tape::{Gradient, NormValues, ValueId};
use crate::graph::{Extent, Pooling, Window};

/// How a value was made, for the way back.
#[derive(Clone, Debug)]
pub(super) enum Record {
    Conv(ConvRecord),
    Norm {
        of: NormValues,
        slots: NormSlots,
        pixels: usize,
        residual: Option<ValueId>,
        activation: Activation,
        z: ValueId,
    },
    Add {
        x: ValueId,
        residual: Option<ValueId>,
        activation: Activation,
        z: ValueId,
    },
    Pool {
        pool: Pooling,
        x: ValueId,
        z: ValueId,
    },
    Mean {
        x: ValueId,
        z: ValueId,
    },
    ZeroPad {
        stride: Extent,
        before: usize,
        x: ValueId,
        z: ValueId,
    },
    Blur {
        window: Window,
        x: ValueId,
        z: ValueId,
    },
    Gate {
        x: ValueId,
        gates: ValueId,
        z: ValueId,
    },
    ChannelConv {
        kernel: usize,
        weight: SlotId,
        x: ValueId,
        z: ValueId,
    },
    /// Channels of `x` from the first on.
    Slice {
        first: usize,
        x: ValueId,
        z: ValueId,
    },
    /// The channels of all inputs, one after the other.
    Concat {
        inputs: Vec<ValueId>,
        z: ValueId,
    },
}

impl Record {
    /// The value.
    pub(super) fn made(&self) -> ValueId {
        match *self {
            Self::Conv(ConvRecord { z, .. })
            | Self::Norm { z, .. }
            | Self::Add { z, .. }
            | Self::Pool { z, .. }
            | Self::Mean { z, .. }
            | Self::ZeroPad { z, .. }
            | Self::Blur { z, .. }
            | Self::Gate { z, .. }
            | Self::ChannelConv { z, .. }
            | Self::Slice { z, .. }
            | Self::Concat { z, .. } => z,
        }
    }
}

/// A convolution, or a linear layer.
#[derive(Clone, Debug)]
pub(super) struct ConvRecord {
    pub(super) groups: usize,
    pub(super) weight: SlotId,
    pub(super) bias: Option<SlotId>,
    pub(super) standardise: Option<f64>,
    /// By which its weights are packed for a direct convolution.
    pub(super) packing: TableId,
    /// How they then lie, and how their gradient is summed.
    pub(super) gradient: Gradient,
    /// By what.
    pub(super) products: Products,
    pub(super) x: ValueId,
    pub(super) z: ValueId,
}
