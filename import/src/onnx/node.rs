//! A node of an ONNX graph, its attributes, and what messages call it.

use std::cell::Cell;
use std::fmt;

use resnet_compiler::onnx::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};

use crate::error::Fault;

/// A node, of which everything has to be read: an attribute or an input that nobody asks for is one
/// whose meaning is not known here, and [`Node::finish`] refuses it.
pub(crate) struct Node<'a> {
    pub(crate) proto: &'a NodeProto,
    /// A bit for each attribute that was asked for.
    attributes: Cell<u64>,
    /// A bit for each input that was asked for.
    inputs: Cell<u64>,
}

impl<'a> Node<'a> {
    pub(crate) fn new(proto: &'a NodeProto) -> Self {
        Self { proto, attributes: Cell::new(0), inputs: Cell::new(0) }
    }

    pub(crate) fn op(&self) -> &'a str {
        &self.proto.op_type
    }

    /// How many inputs there are, those included that are left out by an empty name.
    pub(crate) fn inputs(&self) -> usize {
        self.proto.input.len()
    }

    /// The name of an input; empty if it is left out.
    pub(crate) fn input(&self, index: usize) -> &'a str {
        mark(&self.inputs, index);
        self.proto.input.get(index).map_or("", String::as_str)
    }

    /// The name of what it makes.
    pub(crate) fn output(&self) -> &'a str {
        self.proto.output.first().map_or("", String::as_str)
    }

    /// An attribute, which has to be of a kind; files of the first years do not say it.
    fn attribute(
        &self,
        name: &str,
        kind: AttributeType,
    ) -> Result<Option<&'a AttributeProto>, Fault> {
        let mut attributes = self.proto.attribute.iter().enumerate();
        let Some((index, found)) = attributes.find(|(_, attribute)| attribute.name == name) else {
            return Ok(None);
        };
        mark(&self.attributes, index);
        if ![kind as i32, AttributeType::Undefined as i32].contains(&found.r#type) {
            return self.refuse(format!(
                "its `{name}` is an attribute of type {}; {} is expected",
                found.r#type, kind as i32
            ));
        }
        Ok(Some(found))
    }

    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        // Some writers leave zeros out.
        let attribute = self.attribute(name, AttributeType::Int)?;
        Ok(attribute.map(|attribute| attribute.i.unwrap_or(0)))
    }

    /// Whether a number that means yes or no is not zero; left out, it is.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.int(name)?.unwrap_or(0) != 0)
    }

    pub(crate) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, Fault> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|attribute| &*attribute.ints))
    }

    pub(crate) fn float(&self, name: &str) -> Result<Option<f32>, Fault> {
        let attribute = self.attribute(name, AttributeType::Float)?;
        Ok(attribute.map(|attribute| attribute.f.unwrap_or(0.0)))
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, Fault> {
        Ok(self.attribute(name, AttributeType::Floats)?.map(|attribute| &*attribute.floats))
    }

    /// A word; empty if it is left out.
    pub(crate) fn word(&self, name: &str) -> Result<&'a str, Fault> {
        let attribute = self.attribute(name, AttributeType::String)?;
        let bytes = attribute.and_then(|attribute| attribute.s.as_ref());
        Ok(bytes.map_or("", |bytes| str::from_utf8(bytes).unwrap_or("?")))
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<&'a TensorProto>, Fault> {
        let attribute = self.attribute(name, AttributeType::Tensor)?;
        Ok(attribute.and_then(|attribute| attribute.t.as_ref()))
    }

    /// Attributes that change no answer of a network that is not being trained.
    pub(crate) fn ignore(&self, names: &[&str]) {
        for (index, attribute) in self.proto.attribute.iter().enumerate() {
            if names.contains(&&*attribute.name) {
                mark(&self.attributes, index);
            }
        }
    }

    /// Refuses what was not read.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        let mut attributes = self.proto.attribute.iter().enumerate();
        if let Some((_, found)) = attributes.find(|(index, _)| !marked(&self.attributes, *index)) {
            let twice = self.proto.attribute.iter().filter(|other| other.name == found.name);
            return self.refuse(match twice.count() {
                1 => format!("its attribute `{}` is not known here", found.name),
                count => format!("it has the attribute `{}` {count} times", found.name),
            });
        }
        let mut inputs = self.proto.input.iter().enumerate();
        match inputs.find(|(index, name)| !name.is_empty() && !marked(&self.inputs, *index)) {
            Some((index, name)) => {
                self.refuse(format!("its input {index}, `{name}`, is not known here"))
            }
            None => Ok(()),
        }
    }

    /// An error at this node: what is not as a table has it, and what to do.
    pub(crate) fn refuse<T>(&self, reason: impl fmt::Display) -> Result<T, Fault> {
        Err(Fault::Unknown(format!("{self}: {reason}")))
    }
}

/// Further bits than a word has stay unread.
fn mark(bits: &Cell<u64>, index: usize) {
    bits.set(
        bits.get() | u32::try_from(index).map_or(0, |index| 1_u64.checked_shl(index).unwrap_or(0)),
    );
}

fn marked(bits: &Cell<u64>, index: usize) -> bool {
    index < 64 && bits.get() & (1 << index) != 0
}

/// Such as ``node `/layer1/layer1.0/Add` (Add)``.
impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeProto { name, op_type, output, .. } = self.proto;
        match output.first() {
            Some(output) if name.is_empty() => {
                write!(f, "the node that makes `{output}` ({op_type})")
            }
            _ => write!(f, "node `{name}` ({op_type})"),
        }
    }
}
