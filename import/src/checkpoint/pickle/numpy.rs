//! NumPy's arrays, which are a type of elements, a shape and bytes.

use safetensors::tensor::Dtype;

use super::machine::Machine;
use super::{List, Object, Source, Storage, TensorRecord, Value};

/// A type by its text, such as `f4`; the byte order comes with its state.
pub(in super::super) fn dtype(text: &str) -> Option<Dtype> {
    Some(match text.trim_start_matches(['<', '|', '=']) {
        "f8" => Dtype::F64,
        "f4" => Dtype::F32,
        "f2" => Dtype::F16,
        "c8" => Dtype::C64,
        "i8" => Dtype::I64,
        "i4" => Dtype::I32,
        "i2" => Dtype::I16,
        "i1" => Dtype::I8,
        "u8" => Dtype::U64,
        "u4" => Dtype::U32,
        "u2" => Dtype::U16,
        "u1" => Dtype::U8,
        "b1" => Dtype::BOOL,
        _ => return None,
    })
}

/// The strides of an array without gaps, whose first index runs fastest or whose last one does.
pub(in super::super) fn strides(shape: &[usize], fortran: bool) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut next = 1_usize;
    let mut stride = |axis: usize| {
        strides[axis] = next;
        next = next.saturating_mul(shape[axis]);
    };
    match fortran {
        true => (0..shape.len()).for_each(&mut stride),
        false => (0..shape.len()).rev().for_each(&mut stride),
    }
    strides
}

impl<'a> Machine<'a> {
    /// The state of a type: its version, the byte order, and more. Elements of the other byte order are
    /// not read.
    pub(super) fn build_dtype(&mut self, number: usize, state: Value<'a>) {
        let little =
            matches!(self.tuple(state), Some([Value::Int(_), Value::Text("<" | "|" | "="), ..]));
        if let Some(Object::Dtype(dtype)) = self.objects.get_mut(number).filter(|_| !little) {
            *dtype = None;
        }
    }

    /// The array of a state: its version, the shape, the type, whether the first index runs fastest,
    /// the bytes.
    pub(super) fn array_of_state(&self, state: Value<'a>) -> Option<TensorRecord<'a>> {
        let &[Value::Int(_), shape, dtype, Value::Bool(fortran), data] = self.tuple(state)? else {
            return None;
        };
        self.numpy_array(data, dtype, shape, fortran)
    }

    /// The one value of an array of objects, as `numpy.save` makes it of a dict: a list in the bytes' place.
    pub(super) fn object_of_state(&self, state: Value<'a>) -> Option<Value<'a>> {
        let &[.., list] = self.tuple(state)? else { return None };
        match self.object(list)? {
            Object::List(List { length: 1, items }) => items.first().map(|&(_, value)| value),
            _ => None,
        }
    }

    /// The array that `_frombuffer` makes of bytes, a type, a shape and an order.
    pub(super) fn array_of_buffer(&self, arguments: &[Value<'a>]) -> Option<TensorRecord<'a>> {
        let &[data, dtype, shape, Value::Text(order @ ("C" | "F"))] = arguments else {
            return None;
        };
        self.numpy_array(data, dtype, shape, order == "F")
    }

    fn numpy_array(
        &self,
        data: Value<'a>,
        dtype: Value<'a>,
        shape: Value<'a>,
        fortran: bool,
    ) -> Option<TensorRecord<'a>> {
        let source = match data {
            Value::Bytes(bytes) => Source::Bytes(bytes),
            // A string of Python 2's is bytes, whatever they look like.
            Value::Text(text) => Source::Bytes(text.as_bytes()),
            _ => match self.object(data)? {
                Object::Latin1(text) => Source::Latin1(text),
                _ => return None,
            },
        };
        let &Object::Dtype(dtype @ Some(_)) = self.object(dtype)? else { return None };
        let shape = self.numbers(shape).ok()?;
        let strides = strides(&shape, fortran);
        Some(TensorRecord {
            storage: Storage { source, dtype },
            offset: 0,
            shape,
            strides,
            quantiser: None,
        })
    }
}
