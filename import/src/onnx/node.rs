//! A node of an ONNX graph, its attributes, and what messages call it.

use std::fmt;

use prost::bytes::Bytes;
use resnet_compiler::onnx::proto::{AttributeProto, NodeProto, TensorProto};

use crate::error::Fault;

/// A node, for its attributes.
pub(crate) struct Node<'a>(pub(crate) &'a NodeProto);

impl Node<'_> {
    pub(crate) fn op(&self) -> &str {
        &self.0.op_type
    }

    /// The name of an input; empty if it is left out.
    pub(crate) fn input(&self, index: usize) -> &str {
        self.0.input.get(index).map_or("", String::as_str)
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &*attribute.ints)
    }

    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    /// A word; empty if it is left out.
    pub(crate) fn word(&self, name: &str) -> &str {
        let bytes = self.attribute(name).and_then(|attribute| attribute.s.as_ref());
        bytes.map_or("", |bytes: &Bytes| str::from_utf8(bytes).unwrap_or("?"))
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// An error at this node: what is not as a table has it, and what to do.
    pub(crate) fn refuse<T>(&self, reason: impl fmt::Display) -> Result<T, Fault> {
        Err(Fault::Unknown(format!("{self}: {reason}")))
    }
}

/// Such as ``node `/layer1/layer1.0/Add` (Add)``.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeProto { name, op_type, output, .. } = self.0;
        match output.first() {
            Some(output) if name.is_empty() => {
                write!(f, "the node that makes `{output}` ({op_type})")
            }
            _ => write!(f, "node `{name}` ({op_type})"),
        }
    }
}
