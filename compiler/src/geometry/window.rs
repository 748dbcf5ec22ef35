//! The arithmetic of sliding windows.

use crate::geometry::{Extent, Padding, Shape, Window};

/// A window along one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Pixels of the window.
    pub kernel: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Distance between the pixels of a window.
    pub dilation: usize,
    /// Padding above or left.
    pub before: usize,
    /// Padding below or right.
    pub after: usize,
}

impl Axis {
    /// From the first to the last pixel of a window, both included.
    fn reach(&self) -> Option<usize> {
        self.kernel.checked_sub(1)?.checked_mul(self.dilation)?.checked_add(1)
    }
}

impl Window {
    /// The vertical direction.
    pub fn rows(&self) -> Axis {
        Axis {
            kernel: self.kernel.rows,
            stride: self.stride.rows,
            dilation: self.dilation.rows,
            before: self.padding.before.rows,
            after: self.padding.after.rows,
        }
    }

    /// The horizontal direction.
    pub fn columns(&self) -> Axis {
        Axis {
            kernel: self.kernel.columns,
            stride: self.stride.columns,
            dilation: self.dilation.columns,
            before: self.padding.before.columns,
            after: self.padding.after.columns,
        }
    }

    /// The same window with its least numbers: past the padded input no window starts, and one pixel has no neighbour
    /// that is apart from it.
    pub(crate) fn reduced(self, input: Shape) -> Self {
        let Padding { before, after } = self.padding;
        let rows = input.height.saturating_add(before.rows).saturating_add(after.rows);
        let columns = input.width.saturating_add(before.columns).saturating_add(after.columns);
        let apart = |kernel: usize, dilation: usize| if kernel == 1 { 1 } else { dilation };
        let dilation = Extent::new(
            apart(self.kernel.rows, self.dilation.rows),
            apart(self.kernel.columns, self.dilation.columns),
        );
        Self { stride: self.stride.min(Extent::new(rows, columns)), dilation, ..self }
    }

    /// The same window with the padding that TensorFlow calls `SAME`: there are
    /// `ceil(size / stride)` windows, and of an odd number of pixels of padding the larger half
    /// comes after.
    pub fn padded_to_same(self, input: Shape) -> Self {
        let (top, bottom) = same(input.height, self.rows());
        let (left, right) = same(input.width, self.columns());
        let padding = Padding { before: Extent::new(top, left), after: Extent::new(bottom, right) };
        Self { padding, ..self }
    }

    /// The same window, reaching further below and to the right if its last step would leave pixels
    /// over: PyTorch's `ceil_mode`. `None` if the kernel is larger than its padded input.
    pub fn rounded_up(self, input: Shape) -> Option<Self> {
        let rows = rounded_up(input.height, self.rows())?;
        let columns = rounded_up(input.width, self.columns())?;
        let after = Extent::new(rows, columns);
        Some(Self { padding: Padding { after, ..self.padding }, ..self })
    }
}

/// How far windows reach past the end if their number is rounded up, as the documentation of PyTorch's
/// `MaxPool2d` has it: the last one must start in the input or in the padding before it.
fn rounded_up(size: usize, axis: Axis) -> Option<usize> {
    let windows = output_size(size, axis)?;
    let next = windows.checked_mul(axis.stride)?;
    let end = next.checked_add(axis.reach()?)?;
    let padded = size.checked_add(axis.before)?.checked_add(axis.after)?;
    let leaves_over = end < padded + axis.stride;
    let starts_inside = next < size + axis.before;
    let further = if leaves_over && starts_inside { end.saturating_sub(padded) } else { 0 };
    axis.after.checked_add(further)
}

/// What `SAME` pads along one direction.
fn same(size: usize, axis: Axis) -> (usize, usize) {
    let reach = axis.reach().unwrap_or(usize::MAX);
    let last_start = (size.div_ceil(axis.stride.max(1)) - 1) * axis.stride;
    let total = last_start.saturating_add(reach).saturating_sub(size);
    (total / 2, total.div_ceil(2))
}

/// Positions of a window over `size` pixels: `floor((size + before + after - reach) / stride) + 1`
/// where `reach` is `dilation * (kernel - 1) + 1`, as in the documentation of PyTorch's `Conv2d`
/// and `MaxPool2d` (`ceil_mode` off).
///
/// `None` if the kernel reaches further than the padded input, if the stride is zero, or if the
/// numbers overflow.
pub fn output_size(size: usize, axis: Axis) -> Option<usize> {
    let padded = size.checked_add(axis.before)?.checked_add(axis.after)?;
    padded.checked_sub(axis.reach()?)?.checked_div(axis.stride)?.checked_add(1)
}

/// The weights of a blur along one direction: a row of Pascal's triangle over its sum.
pub fn binomial(len: usize) -> Vec<f64> {
    let mut row = vec![1.0];
    while row.len() < len {
        let pairs = row.windows(2).map(|pair| pair[0] + pair[1]);
        row = [1.0].into_iter().chain(pairs).chain([1.0]).collect();
    }
    let sum: f64 = row.iter().sum();
    row.into_iter().map(|coefficient| coefficient / sum).collect()
}

/// The height and width that a window makes of a shape.
pub(crate) fn output(input: Shape, window: &Window) -> Option<(usize, usize)> {
    Some((output_size(input.height, window.rows())?, output_size(input.width, window.columns())?))
}

/// A padded size for a person: `224 + 2*3`.
pub(crate) fn padded(size: usize, axis: Axis) -> String {
    match (axis.before, axis.after) {
        (0, 0) => format!("{size}"),
        (before, after) if before == after => format!("{size} + 2*{before}"),
        (before, after) => format!("{size} + {before} + {after}"),
    }
}

/// The arithmetic of [`output_size`] for a person: `(224 + 2*3 - 7) / 2 + 1 = 112`.
pub(crate) fn arithmetic(input: Shape, window: &Window) -> Option<String> {
    let line = |size, axis: Axis| {
        let output = output_size(size, axis)?;
        let Axis { kernel, stride, dilation, .. } = axis;
        let reach = match dilation {
            1 => kernel.to_string(),
            _ => format!("({dilation}*{} + 1)", kernel - 1),
        };
        Some(format!("({} - {reach}) / {stride} + 1 = {output}", padded(size, axis)))
    };
    let rows = line(input.height, window.rows())?;
    let columns = line(input.width, window.columns())?;
    Some(if rows == columns { rows } else { format!("height {rows}, width {columns}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(kernel: usize, stride: usize, padding: usize) -> Axis {
        Axis { kernel, stride, dilation: 1, before: padding, after: padding }
    }

    #[test]
    fn sizes_follow_the_floor_rule() {
        assert_eq!(output_size(224, axis(7, 2, 3)), Some(112));
        assert_eq!(output_size(112, axis(3, 2, 1)), Some(56));
        assert_eq!(output_size(7, axis(3, 2, 1)), Some(4));
        assert_eq!(output_size(7, axis(1, 2, 0)), Some(4));
        assert_eq!(output_size(8, axis(2, 2, 1)), Some(5));
        assert_eq!(output_size(5, axis(2, 2, 0)), Some(2));
        assert_eq!(output_size(1, axis(3, 1, 1)), Some(1));
        assert_eq!(output_size(14, Axis { dilation: 4, ..axis(3, 1, 4) }), Some(14));
        assert_eq!(output_size(9, Axis { dilation: 4, ..axis(3, 1, 0) }), Some(1));
        assert_eq!(output_size(8, Axis { after: 1, ..axis(3, 2, 0) }), Some(4));
    }

    #[test]
    fn impossible_windows_have_no_size() {
        assert_eq!(output_size(2, axis(5, 1, 1)), None);
        assert_eq!(output_size(2, axis(1, 0, 1)), None);
        assert_eq!(output_size(usize::MAX, axis(1, 1, 1)), None);
        assert_eq!(output_size(1, axis(1, 1, usize::MAX)), None);
        assert_eq!(output_size(8, Axis { dilation: 4, ..axis(3, 1, 0) }), None);
        assert_eq!(output_size(8, Axis { dilation: usize::MAX, ..axis(3, 1, 0) }), None);
    }

    #[test]
    fn a_strided_block_and_its_shortcut_agree_on_every_size() {
        for size in 1_usize..200 {
            for stride in 1..9 {
                let shortcut = size.div_ceil(stride);
                assert_eq!(output_size(size, axis(3, stride, 1)), Some(shortcut));
                assert_eq!(output_size(size, axis(1, stride, 0)), Some(shortcut));
                for dilation in 1..4 {
                    let dilated = Axis { dilation, ..axis(3, stride, dilation) };
                    assert_eq!(output_size(size, dilated), Some(shortcut));
                }
            }
        }
    }

    #[test]
    fn same_padding_makes_the_size_over_the_stride() {
        for size in 1_usize..40 {
            for (kernel, stride, dilation) in
                [(3, 2, 1), (3, 1, 2), (7, 2, 1), (1, 3, 1), (2, 2, 1)]
            {
                let open = Axis { dilation, ..axis(kernel, stride, 0) };
                let (before, after) = same(size, open);
                let padded = Axis { before, after, ..open };
                assert_eq!(output_size(size, padded), Some(size.div_ceil(stride)));
                assert!(after == before || after == before + 1, "{size} {padded:?}");
            }
        }
        // What TensorFlow does where it differs from PyTorch: the window starts at the first pixel.
        assert_eq!(same(32, axis(3, 2, 0)), (0, 1));
        assert_eq!(same(33, axis(3, 2, 0)), (1, 1));
        assert_eq!(same(224, axis(7, 2, 0)), (2, 3));
    }

    #[test]
    fn sizes_are_rounded_up_as_pytorch_rounds_them() {
        for size in 1_usize..30 {
            for (kernel, stride, padding) in [(3, 2, 1), (3, 2, 0), (2, 2, 0), (3, 3, 1), (2, 3, 1)]
            {
                let open = axis(kernel, stride, padding);
                let Some(down) = output_size(size, open) else {
                    assert_eq!(rounded_up(size, open), None);
                    continue;
                };
                // `pooling_output_shape` of PyTorch's `Pool.h`.
                let mut up = (size + 2 * padding - kernel).div_ceil(stride) + 1;
                if (up - 1) * stride >= size + padding {
                    up -= 1;
                }
                let after = rounded_up(size, open).unwrap();
                let found = output_size(size, Axis { after, ..open });
                assert_eq!(found, Some(up), "{size} {open:?} {down}");
                assert!(up > down || after == padding, "{size} {open:?}");
            }
        }
    }

    #[test]
    fn a_reduced_window_is_at_the_same_places() {
        for (kernel, stride, padding, dilation) in
            [(3, 1, 1, 1), (3, 1 << 31, 1, 2), (1, 9, 0, 1 << 31), (2, 5, 3, 1), (1, 1 << 31, 4, 7)]
        {
            for size in 5..9 {
                let window = Window {
                    dilation: Extent::square(dilation),
                    ..Window::new(
                        Extent::square(kernel),
                        Extent::square(stride),
                        Padding::even(Extent::square(padding)),
                    )
                };
                let input = Shape::new(1, size, size);
                let reduced = window.reduced(input);
                assert_eq!(output(input, &reduced), output(input, &window), "{window:?} {size}");
                assert!(reduced.stride.rows <= size + 2 * padding);
                assert!(reduced.dilation.rows <= size, "{reduced:?}");
            }
        }
    }

    #[test]
    fn blurs_are_binomial() {
        assert_eq!(binomial(1), [1.0]);
        assert_eq!(binomial(3), [0.25, 0.5, 0.25]);
        assert_eq!(binomial(4), [0.125, 0.375, 0.375, 0.125]);
    }

    #[test]
    fn arithmetic_is_written_out() {
        let padding = Padding::even(Extent::square(3));
        let stem = Window::new(Extent::square(7), Extent::square(2), padding);
        assert_eq!(
            arithmetic(Shape::new(3, 224, 224), &stem).as_deref(),
            Some("(224 + 2*3 - 7) / 2 + 1 = 112")
        );
        let oblong = Window { padding: Padding::even(Extent::new(3, 0)), ..stem };
        assert_eq!(
            arithmetic(Shape::new(3, 224, 224), &oblong).as_deref(),
            Some("height (224 + 2*3 - 7) / 2 + 1 = 112, width (224 - 7) / 2 + 1 = 109")
        );
        let dilated = Window {
            kernel: Extent::square(3),
            dilation: Extent::square(2),
            ..stem.padded_to_same(Shape::new(3, 224, 224))
        };
        assert_eq!(
            arithmetic(Shape::new(3, 224, 224), &dilated).as_deref(),
            Some("(224 + 2 + 3 - (2*2 + 1)) / 2 + 1 = 113")
        );
    }
}
