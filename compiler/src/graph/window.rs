//! The arithmetic of sliding windows.

use crate::graph::{Shape, Window};

/// Positions of a window of `kernel` pixels that moves by `stride` over `size` pixels with
/// `padding` more on each side: `floor((size + 2 * padding - kernel) / stride) + 1`, as in the
/// documentation of PyTorch's `Conv2d` and `MaxPool2d` (dilation 1, `ceil_mode` off).
///
/// `None` if the kernel is larger than the padded input, if the stride is zero, or if the numbers
/// overflow.
pub fn output_size(size: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let padded = padding.checked_mul(2)?.checked_add(size)?;
    padded.checked_sub(kernel)?.checked_div(stride)?.checked_add(1)
}

/// The height and width that a window makes of a shape.
pub(super) fn output(input: Shape, window: &Window) -> Option<(usize, usize)> {
    let Window { kernel, stride, padding } = window;
    Some((
        output_size(input.height, kernel.rows, stride.rows, padding.rows)?,
        output_size(input.width, kernel.columns, stride.columns, padding.columns)?,
    ))
}

/// The arithmetic of [`output_size`] for a person: `(224 + 2*3 - 7) / 2 + 1 = 112`.
pub(super) fn arithmetic(input: Shape, window: &Window) -> Option<String> {
    let line = |size, kernel, stride, padding| {
        let output = output_size(size, kernel, stride, padding)?;
        let padded = if padding == 0 { format!("{size}") } else { format!("{size} + 2*{padding}") };
        Some(format!("({padded} - {kernel}) / {stride} + 1 = {output}"))
    };
    let Window { kernel, stride, padding } = window;
    let rows = line(input.height, kernel.rows, stride.rows, padding.rows)?;
    let columns = line(input.width, kernel.columns, stride.columns, padding.columns)?;
    Some(if rows == columns { rows } else { format!("height {rows}, width {columns}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Extent;

    #[test]
    fn sizes_follow_the_floor_rule() {
        assert_eq!(output_size(224, 7, 2, 3), Some(112));
        assert_eq!(output_size(112, 3, 2, 1), Some(56));
        assert_eq!(output_size(7, 3, 2, 1), Some(4));
        assert_eq!(output_size(7, 1, 2, 0), Some(4));
        assert_eq!(output_size(8, 2, 2, 1), Some(5));
        assert_eq!(output_size(5, 2, 2, 0), Some(2));
        assert_eq!(output_size(1, 3, 1, 1), Some(1));
    }

    #[test]
    fn impossible_windows_have_no_size() {
        assert_eq!(output_size(2, 5, 1, 1), None);
        assert_eq!(output_size(2, 1, 0, 1), None);
        assert_eq!(output_size(usize::MAX, 1, 1, 1), None);
        assert_eq!(output_size(1, 1, 1, usize::MAX), None);
    }

    #[test]
    fn a_strided_block_and_its_shortcut_agree_on_every_size() {
        for size in 1_usize..200 {
            for stride in 1..9 {
                let shortcut = size.div_ceil(stride);
                assert_eq!(output_size(size, 3, stride, 1), Some(shortcut));
                assert_eq!(output_size(size, 1, stride, 0), Some(shortcut));
            }
        }
    }

    #[test]
    fn arithmetic_is_written_out() {
        let stem = Window {
            kernel: Extent::square(7),
            stride: Extent::square(2),
            padding: Extent::square(3),
        };
        assert_eq!(
            arithmetic(Shape::new(3, 224, 224), &stem).as_deref(),
            Some("(224 + 2*3 - 7) / 2 + 1 = 112")
        );
        let oblong = Window { padding: Extent::new(3, 0), ..stem };
        assert_eq!(
            arithmetic(Shape::new(3, 224, 224), &oblong).as_deref(),
            Some("height (224 + 2*3 - 7) / 2 + 1 = 112, width (224 - 7) / 2 + 1 = 109")
        );
    }
}
