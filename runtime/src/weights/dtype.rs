//! Element types of tensors in files.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// The element types that [`floats`] converts.
pub(super) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

/// Replaces `out` by little-endian numbers. False for an element type that is not supported.
pub(super) fn floats(bytes: &[u8], dtype: Dtype, out: &mut Vec<f32>) -> bool {
    fn extend<const N: usize>(out: &mut Vec<f32>, bytes: &[u8], convert: impl Fn([u8; N]) -> f32) {
        out.extend(bytes.as_chunks().0.iter().map(|chunk| convert(*chunk)));
    }
    let halves = || -> Vec<u16> {
        bytes.as_chunks().0.iter().map(|chunk| u16::from_le_bytes(*chunk)).collect()
    };
    out.clear();
    match dtype {
        Dtype::F32 => extend(out, bytes, f32::from_le_bytes),
        Dtype::F64 => extend(out, bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => {
            out.resize(bytes.len() / 2, 0.0);
            halves().reinterpret_cast::<f16>().convert_to_f32_slice(out);
        }
        Dtype::BF16 => {
            out.resize(bytes.len() / 2, 0.0);
            halves().reinterpret_cast::<bf16>().convert_to_f32_slice(out);
        }
        _ => return false,
    }
    true
}
