//! Operators that treat each channel apart, with a few numbers of its own.

use resnet_runtime::kernels::{AffineParams, BLOCK, Call};

use super::{Lowering, Side, real_loops};
use crate::graph::Extent;
use crate::nest::{Function, Loop, Place, Statement, Var};
use crate::schedule::{Buffer, Region};

impl Lowering {
    /// A norm of its own: `weights` is where its scales begin in the packed weights, and its shifts
    /// follow.
    pub(super) fn affine(
        &mut self,
        name: &str,
        relu: bool,
        weights: usize,
        x: &Buffer,
        y: &Buffer,
    ) {
        let loops = [self.picture(), Loop { var: Var::Block, extent: x.blocks() }];
        let of_block = |offset| Side {
            place: Place { region: Region::Weights, offset },
            terms: vec![(Var::Block, BLOCK)],
        };
        let plane = |buffer: &Buffer| Side::new(buffer, Extent::square(0), buffer.block_len());
        let params = AffineParams {
            rows: x.shape.height,
            columns: x.shape.width,
            x_row: x.row_len(),
            y_row: y.row_len(),
            relu: usize::from(relu),
        };
        let shifts = weights + x.blocks() * BLOCK;
        let sides = [plane(x), of_block(weights), of_block(shifts), plane(y)];
        let doc = format!("norm {}{}", x.shape, if relu { ", relu" } else { "" });
        self.channelwise(name, doc, Call::Affine(params), &["x", "w", "b", "y"], &sides, &loops);
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
