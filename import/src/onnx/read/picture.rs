//! The graph's input.

use std::collections::HashSet;

use resnet_compiler::graph::Shape;
use resnet_compiler::onnx::proto::{self, GraphProto, Size, TypeProto, ValueInfoProto};

use super::{FLOATS, Known, Reader};
use crate::error::{Fault, unknown};
use crate::onnx::form::{Form, View};
use crate::onnx::graph::Activation;

/// No picture has a longer side.
const LONGEST_SIDE: usize = 1 << 20;

impl Reader<'_> {
    /// The one input that is no constant; old files list those as inputs too.
    pub(super) fn picture(
        &mut self,
        graph: &GraphProto,
        size: Option<(usize, usize)>,
    ) -> Result<(), Fault> {
        let inputs: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|input| !self.names.contains_key(&input.name)).collect();
        let &[input] = &*inputs else {
            let names: Vec<String> =
                inputs.iter().map(|input| format!("`{}`", input.name)).collect();
            return unknown(format!(
                "the graph has the inputs {}; a table has one, the picture",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            ));
        };
        let name = &input.name;
        self.network.bytes = elements(input)?;
        let sizes = dimensions(input).unwrap_or_default();
        let &[batch, a, b, c] = &*sizes else {
            return unknown(format!(
                "the graph's input `{name}` has {} dimensions; a picture has four, N x C x H x W",
                sizes.len()
            ));
        };
        self.batch = batch.and_then(|batch| i64::try_from(batch).ok());
        let form = if is_interleaved(graph, name) { Form::Interleaved } else { Form::Planar };
        let (channels, height, width) = match form {
            Form::Interleaved => (c, a, b),
            _ => (a, b, c),
        };
        let Some(channels) = channels else {
            return unknown(format!(
                "the graph's input `{name}` does not say how many channels it has"
            ));
        };
        let (height, width) = match (size, height, width) {
            (Some(size), ..) => size,
            (None, Some(height), Some(width)) => (height, width),
            _ => {
                self.network.note("assumed: pictures of 224x224 (else `--input HxW`)");
                (224, 224)
            }
        };
        if form == Form::Interleaved {
            self.network
                .note("the graph's pictures have interleaved channels; the table's are planar");
        }
        let shape = Shape::new(channels, height, width);
        self.network.values.push(Activation { name: name.clone(), shape, positive: false });
        self.names.insert(name.clone(), Known::Activation(View { value: 0, form }));
        Ok(())
    }
}

/// Whether a graph takes the channels of its pictures apart, perhaps after some arithmetic.
fn is_interleaved(graph: &GraphProto, name: &str) -> bool {
    let mut names = HashSet::from([name]);
    for node in graph.node.iter().filter(|node| node.op_type != "Shape") {
        if !node.input.iter().any(|input| names.contains(&**input)) {
            continue;
        }
        match &*node.op_type {
            "Transpose" => {
                return node.attribute.iter().any(|attribute| attribute.ints == [0, 3, 1, 2]);
            }
            "Identity" | "Cast" | "Add" | "Sub" | "Mul" | "Div" | "Pad" => {
                names.extend(node.output.iter().map(String::as_str));
            }
            _ => return false,
        }
    }
    false
}

/// Whether the elements of an input are bytes and not floats.
fn elements(input: &ValueInfoProto) -> Result<bool, Fault> {
    match &input.r#type {
        Some(TypeProto { tensor_type: Some(tensor) }) => match tensor.elem_type {
            proto::UINT8 => Ok(true),
            // Left out.
            0 => Ok(false),
            kind if FLOATS.contains(&kind) => Ok(false),
            kind => unknown(format!(
                "the graph's input `{}` has elements of ONNX's type {kind}; pictures are floats, or \
                 bytes",
                input.name
            )),
        },
        _ => Ok(false),
    }
}

/// The sizes of an input; `None` for one that is open.
fn dimensions(input: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let Some(TypeProto { tensor_type: Some(tensor) }) = &input.r#type else { return None };
    let size = |size: &Option<Size>| match size {
        Some(Size::DimValue(size)) => {
            usize::try_from(*size).ok().filter(|size| (1..LONGEST_SIDE).contains(size))
        }
        _ => None,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(|dimension| size(&dimension.value)).collect())
}
