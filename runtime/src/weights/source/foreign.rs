//! Recognises the files that people give as weights by mistake.

use std::path::Path;

/// What a file is and what to do about it, if it is a known format other than safetensors.
pub(super) fn recognise(bytes: &[u8], name: &str) -> Option<(&'static str, &'static str)> {
    const CONVERT: &str = "convert it once: `resnet import FILE -o DIR` makes a safetensors file of \
        it, and its table";
    const EXPORT: &str = "save the tensors as safetensors, with the state dict's names";
    // A safetensors header is JSON after its length; nothing below is mistaken for one.
    if bytes.get(8) == Some(&b'{') {
        return None;
    }
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("");
    let is = |wanted: &str| extension.eq_ignore_ascii_case(wanted);
    Some(match bytes {
        [b'P', b'K', 3, 4, ..] if is("npz") => ("a NumPy archive", EXPORT),
        [b'P', b'K', 3, 4, ..] => ("a PyTorch checkpoint (a zip archive)", CONVERT),
        // Pickle, protocol 2 to 5.
        [0x80, 2..=5, ..] => ("a PyTorch checkpoint (a pickle)", CONVERT),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy array", EXPORT),
        [0x89, b'H', b'D', b'F', ..] => ("an HDF5 file", EXPORT),
        [b'G', b'G', b'U', b'F', ..] => ("a GGUF file", EXPORT),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            ("a Git LFS pointer, not the file itself", "fetch the file: `git lfs pull`")
        }
        _ if is("onnx") => ("an ONNX model", EXPORT),
        _ if is("pth") || is("pt") => ("a PyTorch checkpoint", CONVERT),
        _ => return None,
    })
}
