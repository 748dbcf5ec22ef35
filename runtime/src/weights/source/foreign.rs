//! Recognises the files that people give as weights by mistake.

use std::path::Path;

/// A known format other than safetensors.
pub(super) struct Foreign {
    /// What the file is.
    pub(super) found: &'static str,
    /// What to do about it.
    pub(super) advice: &'static str,
    /// Whether files of this format can be imported.
    pub(super) importable: bool,
}

/// What a file is, if it is of a known format other than safetensors.
pub(super) fn recognise(bytes: &[u8], name: &str) -> Option<Foreign> {
    const IMPORT: (&str, bool) = ("import it once, into a safetensors file and its table", true);
    const EXPORT: (&str, bool) =
        ("save the tensors as safetensors, with the state dict's names", false);
    const FETCH: (&str, bool) = ("fetch the file: `git lfs pull`", false);
    // A safetensors header is JSON after its length; nothing below is mistaken for one.
    if bytes.get(8) == Some(&b'{') {
        return None;
    }
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("");
    let is = |wanted: &str| extension.eq_ignore_ascii_case(wanted);
    let (found, (advice, importable)) = match bytes {
        [b'P', b'K', 3, 4, ..] if is("npz") => ("a NumPy archive", EXPORT),
        [b'P', b'K', 3, 4, ..] => ("a PyTorch checkpoint (a zip archive)", IMPORT),
        // Pickle, protocol 2 to 5.
        [0x80, 2..=5, ..] => ("a PyTorch checkpoint (a pickle)", IMPORT),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => ("a NumPy array", EXPORT),
        [0x89, b'H', b'D', b'F', ..] => ("an HDF5 file", EXPORT),
        [b'G', b'G', b'U', b'F', ..] => ("a GGUF file", EXPORT),
        _ if bytes.starts_with(b"version https://git-lfs") => {
            ("a Git LFS pointer, not the file itself", FETCH)
        }
        _ if is("onnx") => ("an ONNX model", IMPORT),
        _ if is("pth") || is("pt") => ("a PyTorch checkpoint", IMPORT),
        _ => return None,
    };
    Some(Foreign { found, advice, importable })
}
