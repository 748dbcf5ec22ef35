//! Sizes of things: shapes, kernels, padding, and the arithmetic of windows that slide over them.

mod window;

use std::fmt;

pub use window::{Axis, binomial, output_size};
pub(crate) use window::{arithmetic, output, padded};

/// Channels, height and width of an activation of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

impl Shape {
    /// `channels x height x width`.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Rows and columns.
    pub(crate) fn extent(&self) -> Extent {
        Extent::new(self.height, self.width)
    }

    /// Pixels of one channel.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements.
    pub fn elements(&self) -> usize {
        self.channels * self.pixels()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Rows and columns of a kernel, a stride or a dilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Vertical.
    pub rows: usize,
    /// Horizontal.
    pub columns: usize,
}

impl Extent {
    /// `rows x columns`.
    pub fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns }
    }

    /// The same both ways.
    pub fn square(n: usize) -> Self {
        Self::new(n, n)
    }

    /// The smaller one each way.
    pub fn min(self, other: Self) -> Self {
        Self::new(self.rows.min(other.rows), self.columns.min(other.columns))
    }

    /// The larger one each way.
    pub fn max(self, other: Self) -> Self {
        Self::new(self.rows.max(other.rows), self.columns.max(other.columns))
    }

    /// What is left each way without another one; nothing where that is larger.
    pub fn without(self, other: Self) -> Self {
        let rows = self.rows.saturating_sub(other.rows);
        Self::new(rows, self.columns.saturating_sub(other.columns))
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows == self.columns {
            write!(f, "{}", self.rows)
        } else {
            write!(f, "{}x{}", self.rows, self.columns)
        }
    }
}

/// How far a window may reach over each edge of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Above and left.
    pub before: Extent,
    /// Below and right.
    pub after: Extent,
}

impl Padding {
    /// None at all.
    pub const NONE: Self =
        Self { before: Extent { rows: 0, columns: 0 }, after: Extent { rows: 0, columns: 0 } };

    /// The same on opposite sides.
    pub fn even(padding: Extent) -> Self {
        Self { before: padding, after: padding }
    }

    /// Half of what a window reaches to, on every side, rounded up: a stride of 1 then keeps the size of what
    /// an odd kernel reads. A table's padding where it names none.
    pub fn half(kernel: Extent, dilation: Extent) -> Self {
        let half =
            |kernel: usize, dilation: usize| (kernel - 1).saturating_mul(dilation).div_ceil(2);
        Self::even(Extent::new(
            half(kernel.rows, dilation.rows),
            half(kernel.columns, dilation.columns),
        ))
    }

    /// What is left if windows reach into `zeros` first; on every side at least as much as these.
    pub fn without(&self, zeros: Self) -> Self {
        let less = |a: Extent, b: Extent| Extent::new(a.rows - b.rows, a.columns - b.columns);
        Self { before: less(self.before, zeros.before), after: less(self.after, zeros.after) }
    }

    /// The larger one of opposite sides.
    pub fn most(&self) -> Extent {
        self.before.max(self.after)
    }
}

/// `1` or `1x2` if opposite sides are the same, else `0x0 before, 1x1 after`.
impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after } = self;
        if before == after {
            write!(f, "{before}")
        } else {
            let sides = |e: &Extent| format!("{}x{}", e.rows, e.columns);
            write!(f, "{} before, {} after", sides(before), sides(after))
        }
    }
}

/// A sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Kernel.
    pub kernel: Extent,
    /// Distance between windows.
    pub stride: Extent,
    /// Distance between the pixels of a window; 1 for pools.
    pub dilation: Extent,
    /// How far windows reach over the edges.
    pub padding: Padding,
}

impl Window {
    /// A window of neighbouring pixels.
    pub fn new(kernel: Extent, stride: Extent, padding: Padding) -> Self {
        Self { kernel, stride, dilation: Extent::square(1), padding }
    }
}
