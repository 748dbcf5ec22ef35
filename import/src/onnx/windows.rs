//! The cells of windows.

use resnet_compiler::graph::{Extent, Padding, PoolKind, Pooling, Shape, Window};
use resnet_compiler::spec::rows::Row;

/// The row of a pool. `said` is its padding without what rounding up adds; `None` if no row has it.
pub(super) fn pooled(number: usize, pool: &Pooling, said: Padding, from: Shape) -> Option<Row> {
    let Pooling { kind, window, zeros } = *pool;
    let half = Extent::new(window.kernel.rows / 2, window.kernel.columns / 2);
    let even = Padding::even(window.padding.before);
    let none = Padding { after: Extent::square(0), ..even };
    // The first that comes to the same.
    let ways = [(said, false), (said, true), (window.padding, false), (even, true), (none, true)];
    let (padding, up) = ways.into_iter().find(|&(padding, up)| {
        let own = Window { padding, ..window };
        let whole = if up { own.rounded_up(from) } else { Some(own) };
        let counted = zeros == Padding::NONE || zeros == padding;
        counted && whole == Some(window) && padding.most().max(half) == half
    })?;
    let mut row = Row::new(format!("pool{number}"), kind.word());
    row = windowed(row, &Window { padding, ..window });
    if up {
        row.set("rounding", "up");
    }
    // Without padding there is nothing to count.
    let counts = zeros != Padding::NONE || padding == Padding::NONE;
    match kind {
        PoolKind::Average if !counts => row.set("count_padding", false),
        PoolKind::Max if zeros != Padding::NONE => row.set("count_padding", true),
        _ => {}
    }
    Some(row)
}

/// Kernel, stride, dilation and padding, where they are not what a table leaves out.
pub(super) fn windowed(mut row: Row, window: &Window) -> Row {
    let Window { kernel, stride, dilation, padding } = *window;
    let one = Extent::square(1);
    row.set("kernel", kernel);
    if stride != one {
        row.set("stride", stride);
    }
    if dilation != one {
        row.set("dilation", dilation);
    }
    if padding == Padding::half(kernel, dilation) {
        return row;
    }
    let Padding { before, after } = padding;
    if before == after {
        row.set("padding", before);
    } else {
        let sides = [
            ("top", before.rows),
            ("bottom", after.rows),
            ("left", before.columns),
            ("right", after.columns),
        ];
        let sides: Vec<String> = sides
            .iter()
            .filter(|(_, pixels)| *pixels > 0)
            .map(|(side, pixels)| format!("{side}: {pixels}"))
            .collect();
        row.set("padding", format_args!("{{{}}}", sides.join(", ")));
    }
    row
}
