//! The bytes of an ONNX file: its messages, and where its tensors' elements stand.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use prost::Message;
use prost::bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use resnet_compiler::graph::binomial;
use resnet_compiler::onnx::proto::{
    self, AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};
use safetensors::tensor::Dtype;

use super::numbers::{MOST_NUMBERS, Numbers};
use crate::checkpoint::{Elements, Stored};
use crate::error::{Fault, corrupt, unknown};

/// What decoding may make, not counting elements of tensors. ResNet-1202 takes a tenth of it.
const MOST_MEMORY: usize = 12 << 20;

/// No tensor of a network has more.
const MOST_DIMENSIONS: usize = 8;

/// Whether a file begins as ONNX files do: with its version, a small number.
pub(crate) fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=127, 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42, ..])
        && bytes.get(8) != Some(&b'{')
}

/// The messages of a file. Elements stay where they are in `bytes`.
pub(crate) fn decode(bytes: &Bytes) -> Result<ModelProto, Fault> {
    let mut spent = 0;
    check(bytes.clone(), Kind::Model, &mut spent)?;
    ModelProto::decode(bytes.clone()).map_err(damaged)
}

fn damaged(error: prost::DecodeError) -> Fault {
    Fault::Corrupt(format!("as an ONNX file: {error}"))
}

/// The messages that decoding makes values of.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Opset,
    Graph,
    Node,
    Attribute,
    Tensor,
    Entry,
    Value,
    Type,
    TensorType,
    Shape,
    Dimension,
}

/// What a field becomes.
enum Field {
    Message(Kind, usize),
    Text,
    Numbers,
    /// Skipped, or a view of the file.
    Free,
}

impl Kind {
    fn field(self, number: u32) -> Field {
        fn message<T>(kind: Kind) -> Field {
            Field::Message(kind, size_of::<T>())
        }
        match (self, number) {
            (Self::Model, 7) => message::<GraphProto>(Self::Graph),
            (Self::Model, 8) => message::<OperatorSetIdProto>(Self::Opset),
            (Self::Graph, 1) => message::<NodeProto>(Self::Node),
            (Self::Graph, 5) | (Self::Attribute, 5) => message::<TensorProto>(Self::Tensor),
            (Self::Graph, 11..=13) => message::<ValueInfoProto>(Self::Value),
            (Self::Node, 5) => message::<AttributeProto>(Self::Attribute),
            (Self::Tensor, 13) => message::<StringStringEntryProto>(Self::Entry),
            (Self::Value, 2) => message::<TypeProto>(Self::Type),
            (Self::Type, 1) => message::<TensorType>(Self::TensorType),
            (Self::TensorType, 2) => message::<TensorShapeProto>(Self::Shape),
            (Self::Shape, 1) => message::<Dimension>(Self::Dimension),
            (Self::Model, 2 | 3)
            | (Self::Graph, 2)
            | (Self::Node, 1..=4 | 7)
            | (Self::Tensor, 8)
            | (Self::Opset | Self::Attribute | Self::Value, 1)
            | (Self::Entry, 1 | 2)
            | (Self::Dimension, 2) => Field::Text,
            (Self::Attribute, 8) | (Self::Tensor, 1 | 7) => Field::Numbers,
            _ => Field::Free,
        }
    }
}

/// Walks the fields of a message without making anything of them, and counts the memory that decoding
/// them will take: a file of empty nodes takes a hundred times its own. Recursion is as deep as the
/// kinds are nested.
fn check(mut bytes: Bytes, kind: Kind, spent: &mut usize) -> Result<(), Fault> {
    while bytes.has_remaining() {
        let (number, wire) = decode_key(&mut bytes).map_err(damaged)?;
        let field = kind.field(number);
        let fixed = match wire {
            WireType::Varint => {
                decode_varint(&mut bytes).map_err(damaged)?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => decode_varint(&mut bytes).map_err(damaged)?,
            WireType::StartGroup | WireType::EndGroup => {
                return corrupt("as an ONNX file: it has groups, which the format does not");
            }
        };
        let Some(length) = usize::try_from(fixed).ok().filter(|&end| end <= bytes.len()) else {
            return corrupt("as an ONNX file: a field reaches past the end; is it whole?");
        };
        let inner = bytes.split_to(length);
        *spent += match field {
            Field::Message(_, size) => size,
            Field::Text => size_of::<String>() + length,
            Field::Numbers => size_of::<i64>() * length.max(1),
            Field::Free => 0,
        };
        if *spent > MOST_MEMORY {
            return corrupt("as an ONNX file: more nodes and names than any network has");
        }
        if let (Field::Message(kind, _), WireType::LengthDelimited) = (field, wire) {
            check(inner, kind, spent)?;
        }
    }
    Ok(())
}

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(crate) enum Constant {
    /// Elements that weights may have.
    Floats(Stored),
    /// A few whole numbers.
    Numbers(Numbers),
    /// Anything else: its type.
    Other(i32),
}

/// The bytes of the network: the ONNX file, and those that it refers to.
pub(crate) struct Files {
    /// Where the others are; `None` if the ONNX file is none on a disk.
    folder: Option<PathBuf>,
    /// The first is the ONNX file.
    pub(crate) bytes: Vec<Bytes>,
    numbers: HashMap<PathBuf, usize>,
}

impl Files {
    pub(crate) fn new(bytes: Bytes, folder: Option<&Path>) -> Self {
        let folder = folder.map(Path::to_owned);
        Self { folder, bytes: vec![bytes], numbers: HashMap::new() }
    }

    /// The files that were read beside the ONNX file.
    pub(crate) fn beside(&self) -> Vec<PathBuf> {
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
        self.numbers.keys().map(|path| folder.join(path)).collect()
    }

    /// Finds the elements of a tensor and checks that all are there.
    pub(crate) fn constant(&mut self, tensor: &TensorProto) -> Result<Constant, Fault> {
        let name = &tensor.name;
        if tensor.dims.len() > MOST_DIMENSIONS {
            return corrupt(format!("tensor `{name}` has {} dimensions", tensor.dims.len()));
        }
        let shape: Option<Vec<usize>> =
            tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let count = shape.as_ref().and_then(|shape| {
            shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
        });
        let (Some(shape), Some(count)) = (shape, count) else {
            return corrupt(format!("tensor `{name}` claims the shape {:?}", tensor.dims));
        };
        let dtype = match tensor.data_type {
            proto::FLOAT => Dtype::F32,
            proto::FLOAT16 => Dtype::F16,
            proto::BFLOAT16 => Dtype::BF16,
            proto::DOUBLE => Dtype::F64,
            proto::INT64 => Dtype::I64,
            other => return Ok(Constant::Other(other)),
        };
        let typed = match dtype {
            Dtype::F32 => &tensor.float_data,
            Dtype::F64 => &tensor.double_data,
            _ => &tensor.raw_data,
        };
        let data = if tensor.raw_data.is_empty() { typed } else { &tensor.raw_data };
        let place = if tensor.data_location == proto::EXTERNAL {
            self.external(tensor)?
        } else {
            // The data are a part of the file, unless there are none.
            let file = &self.bytes[0];
            let start = data.as_ptr().addr().wrapping_sub(file.as_ptr().addr());
            (0, if data.is_empty() { 0 } else { start }, data.len())
        };
        if dtype == Dtype::I64 && !tensor.int64_data.is_empty() {
            return Ok(match Numbers::new(shape, tensor.int64_data.clone()) {
                Some(numbers) => Constant::Numbers(numbers),
                None => Constant::Other(tensor.data_type),
            });
        }
        let (file, start, length) = place;
        if count.checked_mul(dtype.bitsize() / 8) != Some(length) {
            return corrupt(format!(
                "tensor `{name}` of shape {shape:?} and type {dtype:?} has {length} bytes of elements"
            ));
        }
        if dtype == Dtype::I64 {
            if count > MOST_NUMBERS {
                return Ok(Constant::Other(tensor.data_type));
            }
            let bytes = &self.bytes[file][start..][..length];
            let values = bytes.as_chunks().0.iter().map(|value| i64::from_le_bytes(*value));
            let numbers = Numbers::new(shape, values.collect());
            return Ok(numbers.map_or(Constant::Other(tensor.data_type), Constant::Numbers));
        }
        let elements = Elements::At { file, start, strides: None };
        Ok(Constant::Floats(Stored { dtype, shape, elements }))
    }

    /// File, first byte and length of elements that another file has.
    fn external(&mut self, tensor: &TensorProto) -> Result<(usize, usize, usize), Fault> {
        let name = &tensor.name;
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries.find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let number = |key: &str| match entry(key).map(str::parse::<usize>) {
            Some(Err(_)) => corrupt(format!("the `{key}` of tensor `{name}` is no number")),
            Some(Ok(number)) => Ok(Some(number)),
            None => Ok(None),
        };
        let Some(location) = entry("location") else {
            return corrupt(format!("tensor `{name}` is in another file, which is not named"));
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.open(location, name)?;
        let whole = self.bytes[file].len();
        let rest = whole.checked_sub(offset);
        let length = length.or(rest);
        match (length, rest) {
            (Some(length), Some(rest)) if length <= rest => Ok((file, offset, length)),
            _ => corrupt(format!(
                "tensor `{name}` is at byte {offset} of `{location}`, which has {whole} bytes"
            )),
        }
    }

    /// The number of a file beside the ONNX file, which is read if it was not yet.
    fn open(&mut self, location: &str, name: &str) -> Result<usize, Fault> {
        let mut path = PathBuf::new();
        for component in Path::new(location).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => {
                    return unknown(format!(
                        "tensor `{name}` is in `{location}`, outside the ONNX file's folder; refused"
                    ));
                }
            }
        }
        if let Some(&number) = self.numbers.get(&path) {
            return Ok(number);
        }
        let Some(folder) = &self.folder else {
            return unknown(format!(
                "tensor `{name}` is in the file `{location}`, and the ONNX file was given as bytes; \
                 import it from its folder, or save it in one piece (`external_data=False`)"
            ));
        };
        let read = || {
            let whole = folder.join(&path);
            // A pipe or a device could go on for ever.
            if !std::fs::metadata(&whole)?.is_file() {
                return Err(std::io::Error::other("it is no file"));
            }
            std::fs::read(whole)
        };
        let bytes = read().map_err(|error| {
            Fault::Unknown(format!(
                "cannot read `{location}`, which has the elements of tensor `{name}`: {error}. It has \
                 to lie beside the ONNX file, under the name that it was saved with"
            ))
        })?;
        let number = self.bytes.len();
        self.bytes.push(bytes.into());
        self.numbers.insert(path, number);
        Ok(number)
    }

    /// Whether a tensor `[channels, 1, rows, columns]` is a blur's filter, binomial coefficients over their
    /// sum for every channel. `None` for elements other than f32 and f64 in row-major order.
    pub(crate) fn is_binomial(&self, stored: &Stored, [rows, columns]: [usize; 2]) -> Option<bool> {
        let Elements::At { file, start, strides: None } = stored.elements else { return None };
        let bytes = &self.bytes[file][start..][..stored.bytes()];
        let [rows, columns] = [rows, columns].map(binomial);
        let plane: Vec<f64> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        let is = |(index, found): (usize, f64)| (found - plane[index % plane.len()]).abs() < 1e-6;
        match stored.dtype {
            Dtype::F32 => {
                let numbers = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
                Some(numbers.map(f64::from).enumerate().all(is))
            }
            Dtype::F64 => {
                let numbers = bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
                Some(numbers.enumerate().all(is))
            }
            _ => None,
        }
    }

    /// The number of a tensor that has one.
    pub(crate) fn number(&self, stored: &Stored) -> Option<f64> {
        if stored.shape.iter().any(|&size| size != 1) {
            return None;
        }
        let (file, start) = match stored.elements {
            Elements::Same(value) => return Some(value.into()),
            Elements::At { file, start, .. } => (file, start),
        };
        let bytes = &self.bytes[file][start..][..stored.bytes()];
        match stored.dtype {
            Dtype::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
            Dtype::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
            // The one number of the half formats that is asked for.
            _ => bytes.iter().all(|&byte| byte == 0).then_some(0.0),
        }
    }
}
