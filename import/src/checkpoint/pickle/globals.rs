//! The functions and classes that are known by their names.

use safetensors::tensor::Dtype;

/// What a call of it makes is data that this reader makes itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    /// A tuple.
    Size,
    /// A list here, as the opcodes of sets make it.
    Set,
    /// Text to bytes.
    Encode,
    RebuildTensor,
    /// The same with the type of the elements, of a storage of bytes.
    RebuildTensorOfType,
    /// The same with what its whole numbers stand for.
    RebuildQuantised,
    /// A name: one scale for a tensor, or one for each channel.
    PerTensor,
    PerChannel,
    /// Of a tensor with attributes: a constructor, a class, the constructor's arguments, the attributes.
    RebuildFromType,
    /// Of a tensor and what does not matter.
    Parameter,
    /// Of the bytes of a file.
    StorageFromBytes,
    Storage(Dtype),
    Dtype(Dtype),
    NumpyReconstruct,
    NumpyFromBuffer,
    NumpyDtype,
    NumpyArray,
}

impl Global {
    /// The names are those of PyTorch 0.1 to 2 and NumPy 1 and 2.
    pub(super) fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("builtins" | "__builtin__", "set" | "frozenset") => Self::Set,
            ("_codecs", "encode") => Self::Encode,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTensorOfType,
            ("torch._utils", "_rebuild_qtensor") => Self::RebuildQuantised,
            ("torch", "per_tensor_affine") => Self::PerTensor,
            ("torch", "per_channel_affine") => Self::PerChannel,
            ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type") => {
                Self::RebuildFromType
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter" | "Buffer")
            | ("torch.autograd.variable", "Variable") => Self::Parameter,
            ("torch.storage", "_load_from_bytes") => Self::StorageFromBytes,
            ("torch" | "torch.storage", "UntypedStorage") => Self::Storage(Dtype::U8),
            ("torch", _) => match name.strip_suffix("Storage") {
                Some(word) => Self::Storage(storage(word)?),
                None => Self::Dtype(dtype(name)?),
            },
            ("numpy", "ndarray") => Self::NumpyArray,
            ("numpy", "dtype") => Self::NumpyDtype,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Self::NumpyReconstruct
            }
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Self::NumpyFromBuffer,
            _ => return None,
        })
    }

    /// Module and name of one that is called so, for messages.
    pub(super) fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::OrderedDict => ("collections", "OrderedDict"),
            Self::Size => ("torch", "Size"),
            Self::Set => ("builtins", "set"),
            Self::Encode => ("_codecs", "encode"),
            Self::RebuildTensor => ("torch._utils", "_rebuild_tensor_v2"),
            Self::RebuildTensorOfType => ("torch._utils", "_rebuild_tensor_v3"),
            Self::RebuildQuantised => ("torch._utils", "_rebuild_qtensor"),
            Self::PerTensor => ("torch", "per_tensor_affine"),
            Self::PerChannel => ("torch", "per_channel_affine"),
            Self::RebuildFromType => ("torch._tensor", "_rebuild_from_type_v2"),
            Self::Parameter => ("torch._utils", "_rebuild_parameter"),
            Self::StorageFromBytes => ("torch.storage", "_load_from_bytes"),
            Self::Storage(_) => ("torch.storage", "TypedStorage"),
            Self::Dtype(_) => ("torch", "dtype"),
            Self::NumpyReconstruct => ("numpy.core.multiarray", "_reconstruct"),
            Self::NumpyFromBuffer => ("numpy.core.numeric", "_frombuffer"),
            Self::NumpyDtype => ("numpy", "dtype"),
            Self::NumpyArray => ("numpy", "ndarray"),
        }
    }
}

/// PyTorch's class of storages `torch.{word}Storage`. Quantised elements are whole numbers here.
fn storage(word: &str) -> Option<Dtype> {
    Some(match word {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "ComplexFloat" => Dtype::C64,
        "Long" => Dtype::I64,
        "Int" | "QInt32" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" | "QInt8" => Dtype::I8,
        "Byte" | "QUInt8" | "QUInt4x2" | "QUInt2x4" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    })
}

/// PyTorch's `torch.{name}`, which pickles as a name.
fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "float8_e4m3fn" => Dtype::F8_E4M3,
        "float8_e5m2" => Dtype::F8_E5M2,
        "complex64" => Dtype::C64,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}
