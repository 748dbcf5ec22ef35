//! Tensors of a checkpoint as a safetensors file.

use std::cmp::Reverse;
use std::io::{self, Write};

use prost::bytes::Bytes;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::checkpoint::{Elements, Stored};

/// Writes tensors of `files` one after another, the widest elements first, so that each is aligned.
pub(crate) fn write(
    tensors: &[(String, Stored)],
    files: &[Bytes],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut tensors: Vec<&(String, Stored)> = tensors.iter().collect();
    tensors.sort_by_key(|(name, stored)| (Reverse(stored.dtype.bitsize()), name));
    let mut at = 0;
    let infos = tensors.iter().map(|(name, stored)| {
        let start = at;
        at += stored.bytes();
        let (dtype, shape) = (stored.dtype, stored.shape.clone());
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, at) })
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, stored) in tensors {
        elements(stored, files, out)?;
    }
    Ok(())
}

/// Writes the elements of a tensor.
fn elements(stored: &Stored, files: &[Bytes], out: &mut dyn Write) -> io::Result<()> {
    match &stored.elements {
        Elements::At { file, start, strides: Some(strides) } => {
            gather(stored, strides, &files[*file][*start..], out)
        }
        Elements::At { file, start, strides: None } => {
            out.write_all(&files[*file][*start..][..stored.bytes()])
        }
        Elements::Same(value) => {
            for _ in 0..stored.count() {
                out.write_all(&value.to_le_bytes())?;
            }
            Ok(())
        }
    }
}

/// The numbers of a small tensor of f32 or f64; `None` if they are of another type.
pub(crate) fn numbers(stored: &Stored, files: &[Bytes]) -> Option<Vec<f64>> {
    let mut bytes = Vec::new();
    // Writing into memory cannot fail.
    elements(stored, files, &mut bytes).ok()?;
    match stored.dtype {
        // By their shortest decimal form: 0.485, not 0.48500001430511475.
        Dtype::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).to_string().parse().ok())
            .collect(),
        Dtype::F64 => {
            Some(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        _ => None,
    }
}

/// Writes the elements in row-major order, where the file has another one.
fn gather(stored: &Stored, strides: &[usize], file: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let size = stored.dtype.bitsize() / 8;
    let mut index = vec![0; stored.shape.len()];
    for _ in 0..stored.count() {
        let offset: usize = index.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        out.write_all(&file[offset * size..][..size])?;
        for (index, &size) in index.iter_mut().zip(&stored.shape).rev() {
            *index += 1;
            if *index < size {
                break;
            }
            *index = 0;
        }
    }
    Ok(())
}
