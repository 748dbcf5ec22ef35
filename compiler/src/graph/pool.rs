//! Pools.

use crate::diagnostics::{Diagnostic, Span};
use crate::graph::build::Builder;
use crate::graph::conv::Places;
use crate::graph::{LARGEST_BLUR, NodeId, Op, Padding, Pooling, Window};
use crate::spec::{PoolRow, Row, WindowCells};

impl Builder<'_> {
    pub(super) fn pool(&mut self, row: &Row, pool: &PoolRow, input: NodeId) -> Option<NodeId> {
        let cells = &pool.window;
        let shape = self.shape(input);
        let window = cells.window(shape);
        let half = (window.kernel.rows / 2, window.kernel.columns / 2);
        let most = window.padding.most();
        if most.rows > half.0 || most.columns > half.1 {
            self.errors.push(
                Diagnostic::new(
                    cells.padding.span,
                    format!("a pool's padding of {} is over half its kernel", window.padding),
                )
                .note(format!("half of the kernel {} is {}x{}", window.kernel, half.0, half.1))
                .help("some windows would lie outside the picture; use less padding"),
            );
            return None;
        }
        let kernel = cells.kernel.span;
        let places = Places { kernel, channels: kernel, groups: kernel };
        let name = row.layer.value.clone();
        let zeros = if pool.count_padding { window.padding } else { Padding::NONE };
        // A kernel that does not fit is complained of as it is.
        let window =
            if pool.round_up { window.rounded_up(shape).unwrap_or(window) } else { window };
        let output = self.slide(&name, shape, &window, shape.channels, places)?;
        self.explain(&name, shape, &window, output);
        let op = Op::Pool(Pooling { kind: pool.kind, window, zeros });
        self.push(name, op, vec![input], output)
    }

    pub(super) fn blur_row(
        &mut self,
        row: &Row,
        cells: &WindowCells,
        input: NodeId,
    ) -> Option<NodeId> {
        let kernel = cells.kernel;
        if kernel.value.rows.max(kernel.value.columns) > LARGEST_BLUR {
            let message = format!("a blur's kernel of {} is too large", kernel.value);
            self.errors.push(
                Diagnostic::new(kernel.span, message)
                    .label(format!("at most {LARGEST_BLUR}"))
                    .help("blur twice, or with a smaller kernel"),
            );
            return None;
        }
        let window = cells.window(self.shape(input));
        self.blur(row.layer.value.clone(), window, input, kernel.span, cells.padding.span)
    }

    /// A binomial filter; `kernel` and `padding` are the cells to blame.
    pub(super) fn blur(
        &mut self,
        name: String,
        window: Window,
        input: NodeId,
        kernel: Span,
        padding: Span,
    ) -> Option<NodeId> {
        let shape = self.shape(input);
        let most = window.padding.most();
        if most.rows >= shape.height || most.columns >= shape.width {
            let message = format!("{name}: a blur mirrors more of its input than there is");
            self.errors.push(
                Diagnostic::new(padding, message)
                    .note(format!("the input is {shape}, mirrored by {}", window.padding))
                    .note("past an edge, it sees the pixels behind the first and the last one")
                    .help("use larger pictures, fewer strides before it, or less padding"),
            );
            return None;
        }
        let places = Places { kernel, channels: kernel, groups: kernel };
        let output = self.slide(&name, shape, &window, shape.channels, places)?;
        self.explain(&name, shape, &window, output);
        self.push(name, Op::Blur(window), vec![input], output)
    }
}
