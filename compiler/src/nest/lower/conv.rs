//! Convolutions as loops over pictures, panels of output channels and rows.

use resnet_runtime::kernels::{
    self, BLOCK, ByteEpilogue, Call, ConvParams, Element, LINE_BYTES, OutputElement, QUAD,
    ResidualElement, ZeroPadParams,
};

use super::channel::epilogue_doc;
use super::{Lowering, Side, nested, of_reals, real_loops, stored};
use crate::fuse::Residual;
use crate::graph::Extent;
use crate::nest::{Address, Function, Loop, Statement, Var};
use crate::schedule::{Buffer, ConvPlan, Fetch, Layout, Order, Tiling};

/// A convolution with all that was decided about it.
pub(super) struct Layer<'a> {
    pub(super) of: &'a super::Layer<'a>,
    pub(super) plan: &'a ConvPlan,
}

impl Lowering {
    pub(super) fn conv(&mut self, layer: &Layer<'_>) {
        match &layer.plan.tiling {
            Tiling::Direct { rows } => self.direct(layer, *rows),
            Tiling::Winograd(plan) => self.winograd(layer, plan),
        }
    }

    fn direct(&mut self, layer: &Layer<'_>, rows: usize) {
        let picture = self.picture();
        let row = Loop { var: Var::Row, extent: layer.of.output.shape.height / rows };
        let panel = Loop { var: Var::Panel, extent: layer.full_panels() };
        let rest = layer.rest_blocks();
        let zero_pad = layer.zero_pad(rows, &[picture, row]);
        let sequential = zero_pad.is_some() || rest > 0;
        match layer.plan.order {
            Order::RowsOuter if sequential => {
                let loops = [picture, row, panel];
                let panels = layer.call(rows, layer.plan.panels.format.panel_blocks, 0, &loops);
                let mut body: Vec<Statement> = zero_pad.into_iter().collect();
                if panel.extent > 0 {
                    body.extend(nested(&[panel], vec![panels]));
                }
                if rest > 0 {
                    body.push(layer.call(rows, rest, panel.extent, &loops[..2]));
                }
                self.conv_step(layer, "", &[picture, row], body);
            }
            Order::RowsOuter => {
                let loops = [picture, row, panel];
                let body = vec![layer.call(rows, layer.plan.panels.format.panel_blocks, 0, &loops)];
                self.conv_step(layer, "", &loops, body);
            }
            order => {
                let loops = match order {
                    Order::PicturesOuter => [picture, panel, row],
                    _ => [panel, picture, row],
                };
                if panel.extent > 0 {
                    let body =
                        vec![layer.call(rows, layer.plan.panels.format.panel_blocks, 0, &loops)];
                    self.conv_step(layer, "", &loops, body);
                }
                if rest > 0 {
                    let loops = [picture, row];
                    let body = vec![layer.call(rows, rest, panel.extent, &loops)];
                    self.conv_step(layer, ", last panel", &loops, body);
                }
            }
        }
    }

    fn conv_step(
        &mut self,
        layer: &Layer<'_>,
        part: &str,
        parallel: &[Loop],
        body: Vec<Statement>,
    ) {
        let mut operands = vec!["x", "w", "b", "y"];
        let sides = layer.sides(1);
        let mut places = vec![sides.x.place, sides.w.place, sides.b.place, sides.y.place];
        for (name, side) in [("t", &sides.t), ("z", &sides.z), ("r", &sides.r)] {
            if let Some(side) = side {
                operands.push(name);
                places.push(side.place);
            }
        }
        let function =
            Function { doc: layer.doc() + part, operands, parallel: real_loops(parallel), body };
        self.step(layer.of.main(), function, places);
    }
}

/// Indices of a convolution function's operands.
const X: usize = 0;
const W: usize = 1;
const B: usize = 2;
const Y: usize = 3;

/// Where a convolution's operands start, and how the loops move them.
struct Sides {
    x: Side,
    w: Side,
    b: Side,
    y: Side,
    /// The numbers of a quantised convolution.
    t: Option<Side>,
    /// Those of a zero-padded shortcut of bytes.
    z: Option<Side>,
    r: Option<Side>,
}

impl Sides {
    /// Indices of the operands that not all convolutions have.
    const T: usize = 4;

    fn z_operand(&self) -> usize {
        Self::T + usize::from(self.t.is_some())
    }

    fn r_operand(&self) -> usize {
        self.z_operand() + usize::from(self.z.is_some())
    }
}

impl Layer<'_> {
    pub(super) fn doc(&self) -> String {
        let window = &self.plan.window;
        let mut doc = format!("conv {}/{}", window.kernel, window.stride);
        if window.dilation != Extent::square(1) {
            doc += &format!(", dilation {}", window.dilation);
        }
        if self.plan.panels.shape.groups > 1 {
            doc += &format!(", {} groups", self.plan.panels.shape.groups);
        }
        doc += &format!(", {} -> {}", self.of.input.shape, self.of.output.shape);
        doc += &epilogue_doc(self.of.epilogue);
        if self.plan.quantised() {
            let residual =
                self.of.residual.map(|r| format!(" + {}", r.element)).unwrap_or_default();
            doc += &format!("; u8{residual} to {}", self.of.output.element);
        }
        doc += &match (&self.plan.tiling, self.plan.panels.format.planar) {
            (Tiling::Winograd(plan), _) => format!("; {plan}"),
            (Tiling::Direct { .. }, true) => "; direct, planar input".to_owned(),
            (Tiling::Direct { .. }, false) => "; direct".to_owned(),
        };
        format!("{doc}, {} outer", self.plan.order)
    }

    /// Panels with all their blocks.
    pub(super) fn full_panels(&self) -> usize {
        self.plan.panels.shape.out_blocks() / self.plan.panels.format.panel_blocks
    }

    /// Output blocks that are left over after the full panels.
    pub(super) fn rest_blocks(&self) -> usize {
        self.plan.panels.shape.out_blocks() % self.plan.panels.format.panel_blocks
    }

    fn sides(&self, rows: usize) -> Sides {
        let ConvPlan { panels, memory, weights: start, .. } = *self.plan;
        let panel = panels.format.panel_blocks;
        let weights = |element, offset, distance| {
            Side::at(memory, element, start + offset).with(Var::Panel, distance)
        };
        let like_output = |buffer: &Buffer| {
            Side::new(buffer, Extent::square(0), 0)
                .with(Var::Panel, panel * buffer.block_len())
                .with(Var::Row, rows * buffer.row_len())
        };
        let r = match (self.of.epilogue.residual, self.of.residual) {
            (Some(Residual::Same(_)), Some(buffer)) => Some(like_output(buffer)),
            (Some(Residual::ZeroPad { stride, .. }), Some(buffer)) => {
                let side = Side::new(buffer, Extent::square(0), 0);
                Some(side.with(Var::Row, stride.rows * buffer.row_len()))
            }
            _ => None,
        };
        Sides {
            x: Side::new(self.of.input, self.plan.window.padding.before, 0)
                .with(Var::Panel, panels.format.in_block_step * self.of.input.block_len())
                .with(Var::Row, rows * self.plan.window.stride.rows * self.of.input.row_len()),
            w: weights(panels.format.element, 0, panels.panel_len()),
            b: weights(
                Element::F32,
                panels.bias_offset(),
                panel * BLOCK * self.numbers_a_channel(),
            ),
            y: like_output(self.of.output),
            t: self.plan.quantised().then(|| {
                let numbers = panels.tensor_numbers_offset() * Element::F32.bytes();
                Side::at(memory, Element::F32, start + panels.bias_offset() + numbers)
            }),
            z: self
                .of
                .residual
                .filter(|r| self.of.epilogue.zero_pads() && r.scale.is_some())
                .map(Side::to_bytes),
            r,
        }
    }

    /// A bias, or a scale and a shift.
    fn numbers_a_channel(&self) -> usize {
        if self.plan.quantised() { 2 } else { 1 }
    }

    /// The kernel call for `out_blocks` output blocks of the panel that is `skipped` panels after
    /// the one that the loops point at.
    fn call(&self, rows: usize, out_blocks: usize, skipped: usize, loops: &[Loop]) -> Statement {
        let (input, output) = (self.of.input, self.of.output);
        let sides = self.sides(rows);
        let address = |operand: usize, side: &Side| side.past(operand, loops, Var::Panel, skipped);
        let w = address(W, &sides.w);
        let w_len =
            self.plan.panels.panel_len() / self.plan.panels.format.panel_blocks * out_blocks;
        let (next, n) = match self.plan.fetch {
            // The next panel follows this one; each row fetches its share.
            Fetch::Next => {
                let share = self.lines(w_len / (output.shape.height / rows));
                (share, address(W, &sides.w.clone().with(Var::Row, share)))
            }
            Fetch::After(bytes) => self.fetch_after(bytes, w_len, &w, loops),
        };
        let (x, b, y) = (address(X, &sides.x), address(B, &sides.b), address(Y, &sides.y));
        // A zero-padded shortcut was written to `y` itself; without a residual, any address does.
        let r = match &sides.r {
            Some(r) if !self.of.epilogue.zero_pads() => address(sides.r_operand(), r),
            _ => y.clone(),
        };
        if let Some(t) = &sides.t {
            let params = self.params(rows, out_blocks, next, self.byte_epilogue());
            let call = match input.layout {
                Layout::Interleaved => Call::ConvU8Quads(params),
                _ => Call::ConvU8(params),
            };
            return Statement::Call(call, vec![x, w, b, address(Sides::T, t), r, n, y]);
        }
        let params = self.params(rows, out_blocks, next, self.epilogue());
        let call = match input.layout {
            Layout::Planar => Call::ConvPlanar(params),
            _ => of_reals(input, [Call::Conv, Call::ConvBf16])(params),
        };
        Statement::Call(call, vec![x, w, b, r, n, y])
    }

    /// The epilogue of a convolution of real numbers.
    pub(super) fn epilogue(&self) -> kernels::Epilogue {
        self.of.epilogue.of_kernel(stored(self.of.output))
    }

    /// The epilogue of a quantised convolution, to whose kernel an activation is data.
    pub(super) fn byte_epilogue(&self) -> ByteEpilogue {
        let residual = match (&self.of.residual, self.of.epilogue.zero_pads()) {
            (None, _) => None,
            (Some(residual), false) => Some(residual.element),
            (Some(_), true) => Some(self.of.output.element),
        };
        ByteEpilogue {
            residual: match residual {
                None => ResidualElement::None,
                Some(Element::F32) => ResidualElement::F32,
                Some(_) => ResidualElement::U8,
            },
            output: match self.of.output.element {
                Element::F32 => OutputElement::F32,
                _ => OutputElement::U8,
            },
        }
    }

    fn params<E>(&self, rows: usize, out_blocks: usize, next: usize, epilogue: E) -> ConvParams<E> {
        let (window, input, output) = (&self.plan.window, self.of.input, self.of.output);
        let r_block = match (&self.of.residual, self.of.epilogue.zero_pads()) {
            (Some(residual), false) => residual.block_len(),
            (_, true) => output.block_len(),
            (None, false) => 0,
        };
        let (kernel_columns, x_column) = match input.layout {
            Layout::Interleaved => (self.plan.panels.run_len() / QUAD, QUAD),
            _ => (window.kernel.columns, window.dilation.columns * input.lanes()),
        };
        ConvParams {
            pixels: rows * output.shape.width,
            x_step: window.stride.columns * input.lanes(),
            blocks: self.plan.panels.format.in_blocks,
            x_block: input.block_len(),
            kernel_rows: window.kernel.rows,
            kernel_columns,
            x_row: window.dilation.rows * input.row_len(),
            x_column,
            out_blocks,
            y_block: output.block_len(),
            r_block,
            epilogue,
            next,
        }
    }

    /// How many elements of the `ahead` bytes after this layer's weights an iteration of `loops` fetches, and
    /// where to say so in a call whose weights are `w_len` elements at `w`. None if there are fewer
    /// cache lines than iterations, or not all of the layer's calls are in the loops.
    pub(super) fn fetch_after(
        &self,
        ahead: usize,
        w_len: usize,
        w: &Address,
        loops: &[Loop],
    ) -> (usize, Address) {
        let calls: usize = loops.iter().map(|l| l.extent).product();
        let element = self.plan.panels.format.element.bytes();
        let share = if self.rest_blocks() > 0 { 0 } else { self.lines(ahead / element / calls) };
        if share == 0 {
            return (0, w.clone());
        }
        let mut terms = Vec::new();
        let mut inner = share * element;
        for each in loops.iter().rev().filter(|each| each.extent > 1) {
            terms.push((each.var, inner));
            inner *= each.extent;
        }
        terms.reverse();
        // A call fetches what lies behind by as much as its weights take.
        (share, Address { base: w.base, offset: self.plan.panels.bytes() - w_len * element, terms })
    }

    /// So many elements of the weights, less those that do not fill a cache line.
    pub(super) fn lines(&self, elements: usize) -> usize {
        elements - elements % (LINE_BYTES / self.plan.panels.format.element.bytes())
    }

    /// The call that writes a row of the zero-padded shortcut, for all channels, to the output.
    fn zero_pad(&self, rows: usize, loops: &[Loop]) -> Option<Statement> {
        let Some(Residual::ZeroPad { stride, before, .. }) = self.of.epilogue.residual else {
            return None;
        };
        let source = self.of.residual.as_ref()?;
        let params = ZeroPadParams {
            pixels: self.of.output.shape.width,
            x_step: stride.columns * BLOCK,
            x_block: source.block_len(),
            y_block: self.of.output.block_len(),
            in_channels: source.shape.channels,
            out_channels: self.of.output.shape.channels,
            before,
        };
        let sides = self.sides(rows);
        let x = sides.r.as_ref()?.address(sides.r_operand(), loops);
        let y = sides.y.address(Y, loops);
        Some(match &sides.z {
            None => {
                let make = of_reals(self.of.output, [Call::ZeroPad, Call::ZeroPadBf16]);
                Statement::Call(make(params), vec![x, y])
            }
            Some(z) => {
                let z = z.address(sides.z_operand(), loops);
                Statement::Call(Call::ZeroPadU8(params), vec![x, z, y])
            }
        })
    }
}
