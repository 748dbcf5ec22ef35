//! Between `f32` and what takes fewer bytes.

use resnet_runtime::kernels::{Call, CopyParams, Element};

use super::{Layer, Lowering, Side, real_loops};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Statement, Var};
use crate::schedule::{Buffer, Layout};

impl Lowering {
    /// Bytes of `f32`.
    pub(super) fn quantise(&mut self, layer: &Layer<'_>) {
        let make = match layer.output.layout {
            Layout::Interleaved => Call::QuantiseInterleaved,
            _ => Call::Quantise,
        };
        self.elementwise(layer, "bytes of", make, Some(Side::to_bytes(layer.output)));
    }

    /// `f32` of bytes.
    pub(super) fn dequantise(&mut self, layer: &Layer<'_>) {
        self.elementwise(layer, "f32 of", Call::Dequantise, Some(Side::of_bytes(layer.input)));
    }

    /// `bf16` of `f32`, or the other way round.
    pub(super) fn convert(&mut self, layer: &Layer<'_>) {
        match layer.output.element {
            Element::Bf16 => self.elementwise(layer, "bf16 of", Call::Narrow, None),
            _ => self.elementwise(layer, "f32 of", Call::Widen, None),
        }
    }

    fn elementwise(
        &mut self,
        layer: &Layer<'_>,
        what: &str,
        make: fn(CopyParams) -> Call,
        numbers: Option<Side>,
    ) {
        let (x, y) = (layer.input, layer.output);
        // A row a call, so that threads divide them as they do a convolution's.
        let call = make(CopyParams {
            channels: x.shape.channels.min(y.lanes()),
            rows: 1,
            columns: x.shape.width,
            x_row: x.row_len(),
            y_row: y.row_len(),
            plane: x.block_len(),
        });
        let loops = [
            self.picture(),
            Loop { var: Var::Row, extent: x.shape.height },
            Loop { var: Var::Block, extent: y.blocks() },
        ];
        let side = |buffer: &Buffer| {
            Side::new(buffer, Extent::square(0), buffer.block_len())
                .with(Var::Row, buffer.row_len())
        };
        let operands = if numbers.is_some() { vec!["x", "t", "y"] } else { vec!["x", "y"] };
        let sides: Vec<Side> = [side(x)].into_iter().chain(numbers).chain([side(y)]).collect();
        let addresses = sides.iter().enumerate().map(|(at, side)| side.address(at, &loops));
        let body = vec![Statement::Call(call, addresses.collect())];
        let doc = format!("{what} {}", x.shape);
        let function = Function { doc, operands, parallel: real_loops(&loops), body };
        self.step(layer.main(), function, sides.iter().map(|side| side.place).collect());
    }
}
