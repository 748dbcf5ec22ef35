//! Operators that treat each channel apart, with a few numbers of its own.

use resnet_runtime::kernels::{
    Activation, BLOCK, Call, ChannelConvParams, Element, PlaneParams, ZeroPadParams,
};

use super::{Lowering, Side, real_loops};
use crate::fuse::{Epilogue, Residual};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Statement, Var};
use crate::schedule::Buffer;

impl Lowering {
    /// A norm of its own: `weights` is where its scales begin in the packed weights, and its shifts
    /// follow.
    pub(super) fn affine(
        &mut self,
        name: &str,
        epilogue: &Epilogue,
        weights: usize,
        x: &Buffer,
        y: &Buffer,
    ) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: x.blocks() }];
        let of_block = |start| Side::weights(Element::F32, start).with(Var::Block, BLOCK);
        let plane = |buffer: &Buffer| Side::new(buffer, Extent::square(0), buffer.block_len());
        let params = plane_params(x, epilogue, y, y);
        let shifts = weights + x.blocks() * BLOCK * Element::F32.bytes();
        let sides = [plane(x), of_block(weights), of_block(shifts), plane(y)];
        let doc = format!("norm {}{}", x.shape, epilogue_doc(epilogue));
        self.channelwise(name, doc, Call::Affine(params), &["x", "w", "b", "y"], &sides, &loops);
    }

    /// A convolution along the channels: `weights` is where its taps begin in the packed weights.
    pub(super) fn channel_conv(
        &mut self,
        name: &str,
        kernel: usize,
        weights: usize,
        x: &Buffer,
        y: &Buffer,
    ) {
        let loops = [self.picture()];
        let pixel = |buffer: &Buffer| Side::new(buffer, Extent::square(0), 0);
        let taps = Side::weights(Element::F32, weights);
        let params = ChannelConvParams { channels: x.shape.channels, kernel };
        let doc = format!("channel conv {kernel}, {} channels", x.shape.channels);
        let sides = [pixel(x), taps, pixel(y)];
        self.channelwise(name, doc, Call::ChannelConv(params), &["x", "w", "y"], &sides, &loops);
    }

    /// `x` and a residual; a zero-padded one is written to `y` first.
    pub(super) fn add(
        &mut self,
        name: &str,
        epilogue: &Epilogue,
        residual: Option<&Buffer>,
        x: &Buffer,
        y: &Buffer,
    ) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: x.blocks() }];
        let plane = |buffer: &Buffer| Side::new(buffer, Extent::square(0), buffer.block_len());
        let r = self.residual(name, epilogue, residual, y);
        let params = plane_params(x, epilogue, &r, y);
        let doc = format!("add {}{}", x.shape, epilogue_doc(epilogue));
        let sides = [plane(x), plane(&r), plane(y)];
        self.channelwise(name, doc, Call::Add(params), &["x", "r", "y"], &sides, &loops);
    }

    /// `x` times the sigmoid of `gates`, a residual added; a zero-padded one is written to `y` first.
    pub(super) fn gate(
        &mut self,
        name: &str,
        epilogue: &Epilogue,
        residual: Option<&Buffer>,
        gates: &Buffer,
        x: &Buffer,
        y: &Buffer,
    ) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: x.blocks() }];
        let plane = |buffer: &Buffer| Side::new(buffer, Extent::square(0), buffer.block_len());
        let r = self.residual(name, epilogue, residual, y);
        let params = plane_params(x, epilogue, &r, y);
        let doc = format!("gate {}{}", x.shape, epilogue_doc(epilogue));
        let sides = [plane(x), plane(gates), plane(&r), plane(y)];
        self.channelwise(name, doc, Call::Gate(params), &["x", "g", "r", "y"], &sides, &loops);
    }

    /// Where the residual of an operator lies that has an activation's place to write to; a zero-padded
    /// one is written there first.
    pub(super) fn residual(
        &mut self,
        name: &str,
        epilogue: &Epilogue,
        residual: Option<&Buffer>,
        y: &Buffer,
    ) -> Buffer {
        match epilogue.residual.zip(residual) {
            Some((Residual::Same(_), buffer)) => *buffer,
            Some((Residual::ZeroPad { stride, before, .. }, source)) => {
                self.zero_pad(name, stride, before, source, y);
                *y
            }
            // Any address does.
            None => *y,
        }
    }

    /// A zero-padding shortcut for a whole activation.
    fn zero_pad(&mut self, name: &str, stride: Extent, before: usize, x: &Buffer, y: &Buffer) {
        let loops = [self.picture(), Loop { var: Var::Row, extent: y.shape.height }];
        let row = |buffer: &Buffer, rows: usize| {
            Side::new(buffer, Extent::square(0), 0).with(Var::Row, rows * buffer.row_len())
        };
        let params = ZeroPadParams {
            pixels: y.shape.width,
            x_step: stride.columns * BLOCK,
            x_block: x.block_len(),
            y_block: y.block_len(),
            in_channels: x.shape.channels,
            out_channels: y.shape.channels,
            before,
        };
        let doc = format!("zero-padded shortcut {} -> {}", x.shape, y.shape);
        let sides = [row(x, stride.rows), row(y, 1)];
        let name = format!("{name}.zero_pad");
        self.channelwise(&name, doc, Call::ZeroPad(params), &["x", "y"], &sides, &loops);
    }

    /// Adds a step that calls one kernel in all `loops`, with operands in the catalogue's order.
    fn channelwise(
        &mut self,
        name: &str,
        doc: String,
        call: Call,
        operands: &[&'static str],
        sides: &[Side],
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
        self.step(name, function, sides.iter().map(|side| side.place).collect());
    }
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
        epilogue: epilogue.of_kernel(),
    }
}
