//! Checks that no kernel call of a program leaves the memory it was given.
//!
//! What is checked, for every step and every call in its function:
//! - the numbers of operands agree with the function's and the catalogue's;
//! - over all values of the loop variables, every element that the kernel touches through an
//!   operand lies within that operand's region, or within one thread's scratch;
//! - only the arena, the scratch and the output are written;
//! - no step hands out a place in the scratch;
//! - weights and biases start on a cache line.
//!
//! What is not: that steps read only what earlier ones wrote (the schedule's tests do that), that
//! iterations read of the scratch only what they wrote themselves, and that parallel iterations
//! write disjoint places outside of it.
//!
//! Back ends run only verified programs, so this is the fact on which their unsafe code rests.

use resnet_runtime::kernels::Transform;
use resnet_runtime::kernels::{BLOCK, Call, PlaneParams};

use super::{Address, Base, Loop, Place, Program, Statement, Step};
use crate::schedule::Region;

/// A program that would leave its memory: always a bug in this compiler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("step `{step}`, {call}: {reason}; this is a bug in the compiler, please report the table")]
pub struct VerifyError {
    /// The step's name.
    pub step: String,
    /// The kernel.
    pub call: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl Program {
    /// Checks the whole program.
    ///
    /// # Errors
    ///
    /// The first call that breaks a rule of this module's list.
    pub fn verify(&self) -> Result<(), VerifyError> {
        for step in &self.steps {
            let function = self.function(step.function);
            let error = |call: &'static str, reason: String| VerifyError {
                step: step.name.clone(),
                call,
                reason,
            };
            if step.operands.len() != function.operands.len() {
                return Err(error("call", "wrong number of operands".to_owned()));
            }
            if step.operands.iter().any(|place| place.region == Region::Scratch) {
                let reason =
                    "the scratch is not the same for all threads, so no operand lies there";
                return Err(error("call", reason.to_owned()));
            }
            let mut loops = function.parallel.clone();
            self.verify_body(step, &function.body, &mut loops)
                .map_err(|(call, reason)| error(call, reason))?;
        }
        Ok(())
    }

    fn verify_body(
        &self,
        step: &Step,
        body: &[Statement],
        loops: &mut Vec<Loop>,
    ) -> Result<(), (&'static str, String)> {
        for statement in body {
            match statement {
                Statement::For(each, body) => {
                    loops.push(*each);
                    self.verify_body(step, body, loops)?;
                    loops.pop();
                }
                Statement::Call(call, addresses) => {
                    self.verify_call(step, call, addresses, loops)
                        .map_err(|reason| (call.name(), reason))?;
                }
            }
        }
        Ok(())
    }

    fn verify_call(
        &self,
        step: &Step,
        call: &Call,
        addresses: &[Address],
        loops: &[Loop],
    ) -> Result<(), String> {
        let reach = reach(call);
        // A call that there is no kernel for reaches nowhere.
        if addresses.len() != call.operands().len() || reach.len() != addresses.len() {
            return Err("wrong number of operands".to_owned());
        }
        for ((name, address), touched) in call.operands().iter().zip(addresses).zip(reach) {
            // An operand that is not used is an address all the same, so it has to be one.
            let touched = touched.unwrap_or(0);
            let place = match address.base {
                Base::Operand(operand) => *step
                    .operands
                    .get(operand)
                    .ok_or_else(|| format!("`{name}` refers to a missing operand"))?,
                Base::Scratch => Place { region: Region::Scratch, offset: 0 },
            };
            let mut last = place.offset + address.offset;
            for (var, distance) in &address.terms {
                let of_var = loops.iter().find(|l| l.var == *var);
                let extent = of_var.ok_or_else(|| format!("`{var}` is not bound"))?.extent;
                last += (extent - 1) * distance;
            }
            let len = self.region_len(place.region);
            if last + touched > len {
                let end = last + touched;
                return Err(format!("`{name}` ends at {end} in {} of {len}", place.region));
            }
            let written = *name == "y";
            if written && matches!(place.region, Region::Input | Region::Weights) {
                return Err(format!("`{name}` is written in {}", place.region));
            }
            let aligned = |n: usize| n.is_multiple_of(BLOCK);
            let starts_on_line = aligned(place.offset + address.offset)
                && address.terms.iter().all(|(_, distance)| aligned(*distance));
            if matches!(*name, "w" | "b") && !starts_on_line {
                return Err(format!("`{name}` does not start on a cache line"));
            }
        }
        Ok(())
    }
}

/// Elements that a kernel touches from each operand on; none where it does not use the operand.
///
/// This restates the catalogue's documentation in numbers.
fn reach(call: &Call) -> Vec<Option<usize>> {
    let last = |n: usize, distance: usize| (n - 1) * distance;
    // Input, residual and output.
    let planes = |p: &PlaneParams| {
        let plane = |row: usize| Some(last(p.rows, row) + p.columns * BLOCK);
        [plane(p.x_row), plane(p.r_row).filter(|_| p.epilogue.residual), plane(p.y_row)]
    };
    match call {
        Call::Conv(p) | Call::ConvPlanar(p) => {
            let lanes = if matches!(call, Call::Conv(_)) { BLOCK } else { 1 };
            let x = last(p.blocks, p.x_block)
                + last(p.kernel_rows, p.x_row)
                + last(p.kernel_columns, p.x_column)
                + last(p.pixels, p.x_step)
                + lanes;
            let width = p.out_blocks * BLOCK;
            let w = p.blocks * p.kernel_rows * p.kernel_columns * lanes * width;
            let y = last(p.out_blocks, p.y_block) + p.pixels * BLOCK;
            let r = last(p.out_blocks, p.r_block) + p.pixels * BLOCK;
            let r = p.epilogue.residual.then_some(r);
            // What is fetched ahead is not touched.
            vec![Some(x), Some(w), Some(width), r, None, Some(y)]
        }
        Call::WinogradInput(p) => {
            let form = Transform::of_tile(p.tile_rows, p.tile_columns, p.stride);
            let Some([rows, columns]) = form.map(Transform::filters) else { return Vec::new() };
            let pixels = last(p.tiles, columns.step()) + columns.points();
            let x = last(rows.points(), p.x_row) + pixels * BLOCK;
            let points = rows.points() * columns.points();
            vec![Some(x), Some(last(points, p.y_point) + p.tiles * BLOCK)]
        }
        Call::WinogradOutput(p) => {
            let form = Transform::of_tile(p.tile_rows, p.tile_columns, p.stride);
            let Some([rows, columns]) = form.map(Transform::filters) else { return Vec::new() };
            let x = last(rows.points() * columns.points(), p.x_point) + p.tiles * BLOCK;
            let r = last(p.rows, p.r_row) + p.columns * BLOCK;
            let y = last(p.rows, p.y_row) + p.columns * BLOCK;
            vec![Some(x), Some(BLOCK), p.epilogue.residual.then_some(r), Some(y)]
        }
        Call::MaxPool(p) | Call::AveragePool(p) | Call::Blur(p) => {
            let x = last(p.in_rows, p.x_row) + p.in_columns * BLOCK;
            let y = last(p.out_rows, p.y_row) + p.out_columns * BLOCK;
            vec![Some(x), Some(y)]
        }
        Call::Affine(p) => {
            let [x, _, y] = planes(p);
            vec![x, Some(BLOCK), Some(BLOCK), y]
        }
        Call::Gate(p) => {
            let [x, r, y] = planes(p);
            vec![x, Some(BLOCK), r, y]
        }
        Call::Normalise(p) => {
            let [x, r, y] = planes(p);
            vec![x, Some(BLOCK), Some(BLOCK), Some(BLOCK), r, y]
        }
        Call::Variance(p) => {
            let x = last(p.rows, p.x_row) + p.columns * BLOCK;
            vec![Some(x), Some(BLOCK), Some(BLOCK)]
        }
        Call::GroupMean(p) => vec![Some(p.channels), Some(p.channels.next_multiple_of(BLOCK))],
        Call::GroupScale(p) => {
            let y = p.channels.next_multiple_of(BLOCK);
            vec![Some(p.channels), Some(p.channels), Some(y)]
        }
        Call::ChannelConv(p) => {
            let y = p.channels.next_multiple_of(BLOCK);
            vec![Some(p.channels), Some(p.kernel), Some(y)]
        }
        Call::Mean(p) => vec![Some(last(p.rows, p.x_row) + p.columns * BLOCK), Some(BLOCK)],
        Call::ZeroPad(p) => {
            let in_blocks = p.in_channels.div_ceil(BLOCK);
            let out_blocks = p.out_channels.div_ceil(BLOCK);
            let x = last(in_blocks, p.x_block) + last(p.pixels, p.x_step) + BLOCK;
            vec![Some(x), Some(last(out_blocks, p.y_block) + p.pixels * BLOCK)]
        }
        Call::Ring(p) => {
            let pixels = (p.top + p.rows + p.bottom) * (p.left + p.columns + p.right);
            vec![Some(pixels * p.lanes)]
        }
        Call::CopyPlanar(p) => {
            vec![Some(last(p.rows, p.x_row) + p.columns), Some(last(p.rows, p.y_row) + p.columns)]
        }
        Call::ToBlocked(p) => {
            let x = last(p.channels, p.plane) + last(p.rows, p.x_row) + p.columns;
            vec![Some(x), Some(last(p.rows, p.y_row) + p.columns * BLOCK)]
        }
        Call::ToPlanar(p) => {
            let y = last(p.channels, p.plane) + last(p.rows, p.y_row) + p.columns;
            vec![Some(last(p.rows, p.x_row) + p.columns * BLOCK), Some(y)]
        }
        Call::Softmax(p) => vec![Some(p.channels), Some(p.channels)],
    }
}
