//! Gates and convolutions along the channels, and their gradients.

use resnet_runtime::kernels::{
    Activation, Call, ChannelConvGradientParams, ChannelConvParams, GateGradientParams,
};

use super::super::Side;
use super::super::channel::plane;
use super::Steps;
use crate::graph::Extent;
use crate::schedule::Buffer;
use crate::train::ValueId;

impl Steps<'_> {
    pub(super) fn gate(
        &mut self,
        x: ValueId,
        gates: ValueId,
        residual: Option<ValueId>,
        y: ValueId,
    ) {
        let (gates, end) = (self.buffer(gates), (residual, Activation::None));
        self.layer(x, end, y, |lowering, layer| lowering.gate(layer, &gates));
    }

    pub(super) fn gate_gradient(&mut self, x: ValueId, gates: ValueId, g: ValueId, y: ValueId) {
        let (x, gates, g) = (self.buffer(x), self.buffer(gates), self.buffer(g));
        let y = self.ringed(y);
        let call = Call::GateGradient(GateGradientParams {
            rows: x.shape.height,
            columns: x.shape.width,
            x_row: x.row_len(),
            g_row: g.row_len(),
        });
        let sides = [plane(&x), plane(&gates), plane(&g), plane(&y)];
        let loops = self.planes(&x);
        self.call(format!("gradient of gates {}", x.shape), call, sides, &loops);
    }

    pub(super) fn channel_conv(&mut self, kernel: usize, x: ValueId, w: ValueId, y: ValueId) {
        let (x, y) = (self.buffer(x), self.ringed(y));
        let channels = x.shape.channels;
        let call = Call::ChannelConv(ChannelConvParams { channels, kernel });
        let loops = [self.lowering.picture()];
        let doc = format!("channel conv {kernel}, {channels} channels");
        self.call(doc, call, [pixel(&x), self.side(w), pixel(&y)], &loops);
    }

    pub(super) fn channel_conv_gradient(
        &mut self,
        kernel: usize,
        x: ValueId,
        g: ValueId,
        y: ValueId,
    ) {
        let (x, g) = (self.buffer(x), self.buffer(g));
        let call = Call::ChannelConvGradient(ChannelConvGradientParams {
            images: self.of.batch,
            channels: x.shape.channels,
            kernel,
            x_image: x.picture_len(),
            g_image: g.picture_len(),
        });
        let doc = format!("gradient of channel conv {kernel}, {} channels", x.shape.channels);
        self.call(doc, call, [pixel(&x), pixel(&g), self.side(y)], &[]);
    }
}

/// The channels of an activation of one pixel.
fn pixel(buffer: &Buffer) -> Side {
    Side::new(buffer, Extent::square(0), 0)
}
