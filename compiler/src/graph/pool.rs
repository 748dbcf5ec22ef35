//! Pools.

use crate::diagnostics::Diagnostic;
use crate::graph::build::Builder;
use crate::graph::conv::Places;
use crate::graph::{NodeId, Op, Window};
use crate::spec::{Row, WindowCells};

impl Builder<'_> {
    pub(super) fn pool(
        &mut self,
        row: &Row,
        cells: &WindowCells,
        op: impl FnOnce(Window) -> Op,
        input: NodeId,
    ) -> Option<NodeId> {
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
        let output = self.slide(&name, shape, &window, shape.channels, places)?;
        self.explain(&name, shape, &window, output);
        self.push(name, op(window), vec![input], output)
    }
}
