//! Weights of [`Bf16`], of which two input channels stand side by side, as a dot product takes them.

use super::{Packer, numbers};
use crate::kernels::{Bf16, Element, PAIR};

impl Packer {
    /// [`pack_panel`](Packer::pack_panel) in bytes, which start on a cache line, of what the format's element says.
    ///
    /// # Panics
    ///
    /// If a slice has another length.
    pub fn pack(&self, panel: usize, weight: &[f32], out: &mut [u8]) {
        let format = &self.panels.format;
        if format.element == Element::F32 {
            return self.pack_panel(panel, weight, numbers(out));
        }
        let out: &mut [u16] = bytemuck::cast_slice_mut(out);
        let mut single = vec![0.0; out.len()];
        self.pack_panel(panel, weight, &mut single);
        let rows = format.in_blocks * self.panels.shape.kernel_len() * format.lanes();
        halves(&single, single.len() / rows, out);
    }
}

/// The bits of [`Bf16`] for `single`, which has rows of so many weights: of each pair of rows, weights of one column side
/// by side.
fn halves(single: &[f32], row: usize, out: &mut [u16]) {
    let pairs = single.chunks_exact(PAIR * row).zip(out.chunks_exact_mut(PAIR * row));
    for (rows, out) in pairs {
        let (first, second) = rows.split_at(row);
        for (pair, (&first, &second)) in out.chunks_exact_mut(PAIR).zip(first.iter().zip(second)) {
            pair.copy_from_slice(&[first, second].map(|weight| Bf16::new(weight).to_bits()));
        }
    }
}
