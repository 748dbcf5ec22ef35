//! Operators that treat each channel apart, with a few numbers of its own.

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, ChannelConvParams, Element, PlaneParams, ZeroPadParams,
};

use super::{Layer, Lowering, Side, of_reals, real_loops, stored};
use crate::fuse::{Epilogue, FusedId, Residual};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Part, Statement, Var};
use crate::schedule::Buffer;

impl Lowering {
    /// A norm of its own: `weights` is where its scales begin in the packed weights, and its shifts
    /// follow.
    pub(super) fn affine(&mut self, layer: &Layer<'_>, weights: usize) {
        let Layer { epilogue, input: x, output: y, .. } = *layer;
        let of_block = |start| Side::weights(Element::F32, start).with(Var::Block, BLOCK);
        let params = plane_params(x, epilogue, y, y);
        let shifts = weights + x.blocks() * BLOCK * Element::F32.bytes();
        let sides = [plane(x), of_block(weights), of_block(shifts), plane(y)];
        let doc = format!("norm {}{}", x.shape, epilogue_doc(epilogue));
        let loops = self.planes(x);
        self.channelwise(
            layer.main(),
            doc,
            Call::Affine(params),
            ["x", "w", "b", "y"],
            sides,
            &loops,
        );
    }

    /// A convolution along the channels: `weights` is where its taps begin in the packed weights.
    pub(super) fn channel_conv(&mut self, layer: &Layer<'_>, kernel: usize, weights: usize) {
        let channels = layer.input.shape.channels;
        let pixel = |buffer: &Buffer| Side::new(buffer, Extent::square(0), 0);
        let taps = Side::weights(Element::F32, weights);
        let call = Call::ChannelConv(ChannelConvParams { channels, kernel });
        let doc = format!("channel conv {kernel}, {channels} channels");
        let sides = [pixel(layer.input), taps, pixel(layer.output)];
        let loops = [self.picture()];
        self.channelwise(layer.main(), doc, call, ["x", "w", "y"], sides, &loops);
    }

    /// The input and a residual; a zero-padded one is written to the output first.
    pub(super) fn add(&mut self, layer: &Layer<'_>) {
        let Layer { epilogue, input: x, output: y, .. } = *layer;
        let r = self.residual(layer);
        let params = plane_params(x, epilogue, &r, y);
        let doc = format!("add {}{}", x.shape, epilogue_doc(epilogue));
        let sides = [plane(x), plane(&r), plane(y)];
        let loops = self.planes(x);
        self.channelwise(layer.main(), doc, Call::Add(params), ["x", "r", "y"], sides, &loops);
    }

    /// The input times the sigmoid of `gates`, a residual added; a zero-padded one is written to the
    /// output first.
    pub(super) fn gate(&mut self, layer: &Layer<'_>, gates: &Buffer) {
        let Layer { epilogue, input: x, output: y, .. } = *layer;
        let r = self.residual(layer);
        let params = plane_params(x, epilogue, &r, y);
        let doc = format!("gate {}{}", x.shape, epilogue_doc(epilogue));
        let sides = [plane(x), plane(gates), plane(&r), plane(y)];
        let loops = self.planes(x);
        self.channelwise(
            layer.main(),
            doc,
            Call::Gate(params),
            ["x", "g", "r", "y"],
            sides,
            &loops,
        );
    }

    /// Where the residual of an operator lies that has an activation's place to write to; a zero-padded
    /// one is written there first.
    pub(super) fn residual(&mut self, layer: &Layer<'_>) -> Buffer {
        match layer.epilogue.residual.zip(layer.residual) {
            Some((Residual::Same(_), buffer)) => *buffer,
            Some((Residual::ZeroPad { stride, before, .. }, source)) => {
                let of = (layer.id, Part::ZeroPad);
                self.zero_pad(of, stride, before, [source, layer.output]);
                *layer.output
            }
            // Any address does.
            None => *layer.output,
        }
    }

    /// A zero-padding shortcut for a whole activation.
    pub(super) fn zero_pad(
        &mut self,
        of: (FusedId, Part),
        stride: Extent,
        before: usize,
        [x, y]: [&Buffer; 2],
    ) {
        let row = |buffer: &Buffer, rows: usize| {
            Side::new(buffer, Extent::square(0), 0).with(Var::Row, rows * buffer.row_len())
        };
        let call = of_reals(y, [Call::ZeroPad, Call::ZeroPadBf16])(ZeroPadParams {
            pixels: y.shape.width,
            x_step: stride.columns * BLOCK,
            x_block: x.block_len(),
            y_block: y.block_len(),
            in_channels: x.shape.channels,
            out_channels: y.shape.channels,
            before,
        });
        let doc = format!("zero-padded shortcut {} -> {}", x.shape, y.shape);
        let sides = [row(x, stride.rows), row(y, 1)];
        let loops = [self.picture(), Loop { var: Var::Row, extent: y.shape.height }];
        self.channelwise(of, doc, call, ["x", "y"], sides, &loops);
    }

    /// Loops over the planes of an activation.
    fn planes(&self, x: &Buffer) -> [Loop; 2] {
        [self.picture(), Loop { var: Var::Block, extent: x.blocks() }]
    }

    /// Adds a step that calls one kernel in all `loops`, with operands in the catalogue's order.
    fn channelwise<const N: usize>(
        &mut self,
        of: (FusedId, Part),
        doc: String,
        call: Call,
        operands: [&'static str; N],
        sides: [Side; N],
        loops: &[Loop],
    ) {
        let addresses =
            sides.iter().enumerate().map(|(index, side)| side.address(index, loops)).collect();
        let function = Function {
            doc,
            operands: operands.to_vec(),
            parallel: real_loops(loops),
            body: vec![Statement::Call(call, addresses)],
        };
        self.step(of, function, sides.iter().map(|side| side.place).collect());
    }
}

/// An operand of which a step of [`Var::Block`] is a plane.
pub(super) fn plane(buffer: &Buffer) -> Side {
    Side::new(buffer, Extent::square(0), buffer.block_len())
}

/// What is done with a result, for people.
pub(super) fn epilogue_doc(epilogue: &Epilogue) -> String {
    let residual = match epilogue.residual {
        Some(Residual::Same(_)) => ", + residual",
        Some(Residual::ZeroPad { .. }) => ", + zero-padded residual",
        None => "",
    };
    match epilogue.activation {
        Activation::None => residual.to_owned(),
        activation => format!("{residual}, {activation}"),
    }
}

/// One channel block's plane of `x`, a residual if there is one, and `y`.
pub(super) fn plane_params(
    x: &Buffer,
    epilogue: &Epilogue,
    residual: &Buffer,
    y: &Buffer,
) -> PlaneParams {
    PlaneParams {
        rows: x.shape.height,
        columns: x.shape.width,
        x_row: x.row_len(),
        r_row: if epilogue.residual.is_some() { residual.row_len() } else { 0 },
        y_row: y.row_len(),
        epilogue: epilogue.of_kernel(stored(y)),
    }
}
