//! The messages of an ONNX file.

use prost::Message;
use prost::bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use resnet_compiler::onnx::proto::{
    AttributeProto, Dimension, FunctionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto,
};

use crate::error::{Fault, corrupt};

/// What decoding may make, not counting elements of tensors. ResNet-1202 takes a tenth of it.
const MOST_MEMORY: usize = 12 << 20;

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
    Function,
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
    /// One of a list of views.
    View,
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
            (Self::Model, 25) => message::<FunctionProto>(Self::Function),
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
            | (Self::Opset | Self::Attribute | Self::Value | Self::Function, 1)
            | (Self::Function, 10)
            | (Self::Entry, 1 | 2)
            | (Self::Dimension, 2) => Field::Text,
            (Self::Attribute, 7 | 8) | (Self::Tensor, 1 | 7) => Field::Numbers,
            (Self::Graph, 14 | 15) => Field::View,
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
            Field::View => size_of::<Bytes>(),
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
