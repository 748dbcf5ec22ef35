//! Quantised weights: bytes, of which four input channels stand side by side, as a dot product takes
//! them.

use crate::kernels::{BLOCK, Panels, QUAD};

/// Packs the panels of one convolution, whose weight is `[out][in / groups][row][column]`; `out` has
/// [`weights_len`](Panels::weights_len) elements, all of which are written: of each panel
/// `[in_blocks][kernel_rows][kernel_columns][lanes / 4][panel_blocks * 16][4]`, or, for a picture,
/// `[kernel_rows][fours][panel_blocks * 16][4]`, see [`Panels`].
///
/// # Panics
///
/// If a slice has another length.
pub fn pack_bytes(panels: &Panels, weight: &[i8], out: &mut [i8]) {
    let Panels { shape, format } = panels;
    let (lanes, kernel, channel_len) = (format.lanes(), shape.kernel_len(), shape.channel_len());
    assert_eq!((weight.len(), out.len()), (shape.out_channels * channel_len, panels.weights_len()));
    let (group_in, group_out) =
        (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    out.fill(0);
    for (panel, out) in out.chunks_mut(panels.panel_len()).enumerate() {
        // The last panel of an odd number of blocks is narrower.
        let row = out.len() / (format.in_blocks * panels.block_rows());
        let first_out = panel * format.panel_blocks * BLOCK;
        let first_in = panel * format.in_block_step * lanes;
        for column in 0..row.min(shape.out_channels - first_out) {
            let channel = first_out + column;
            let weights = &weight[channel * channel_len..][..channel_len];
            let group = channel / group_out * group_in;
            for (input, taps) in weights.chunks_exact(kernel).enumerate() {
                let at = group + input - first_in;
                let (block, lane) = (at / lanes, at % lanes);
                for (tap, &weight) in taps.iter().enumerate() {
                    let at = if format.is_interleaved() {
                        let (down, along) =
                            (tap / shape.kernel_columns, tap % shape.kernel_columns);
                        down * panels.run_len() + along * shape.in_channels + lane
                    } else {
                        (block * kernel + tap) * lanes + lane
                    };
                    out[(at / QUAD * row + column) * QUAD + at % QUAD] = weight;
                }
            }
        }
    }
}
