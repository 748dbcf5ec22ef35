//! What a table can be warned of, by the names that its `allow` lists.

use crate::spec::words::words;

words! {
    /// What is legal in a table and nearly always a mistake. `compiler/src/warnings.rs` finds it.
    pub enum Lint {
        /// The shape of the picture reads like height x width x channels.
        ChannelsLastInput = "channels_last_input",
        /// A stride that steps over pixels which no window reads.
        SkippedPixels = "skipped_pixels",
        /// Padding so wide that windows of a convolution lie in it as a whole.
        WindowsInPadding = "windows_in_padding",
        /// A stride over a single pixel.
        UnusedStride = "unused_stride",
        /// Dilation of a 1x1 kernel.
        UnusedDilation = "unused_dilation",
        /// A bottleneck that is wider than what it makes.
        WideBottleneck = "wide_bottleneck",
        /// A first bottleneck that makes no more channels than it reads, at a quarter of their width.
        NarrowBottleneck = "narrow_bottleneck",
        /// A linear layer over all pixels of a convolution, with no pool between.
        FlattenedPixels = "flattened_pixels",
        /// Two linear layers without an activation between them.
        StackedLinear = "stacked_linear",
        /// A layer that reads probabilities.
        SoftmaxBeforeEnd = "softmax_before_end",
        /// A pre-activation network whose last sum no norm follows.
        MissingNorm = "missing_norm",
        /// A name in `allow` that silences nothing.
        UnusedAllow = "unused_allow",
    }
}
