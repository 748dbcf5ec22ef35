//! The part of Python's pickle language in which `torch.save` writes data.
//!
//! A pickle is a program for a stack machine that may call any function there is. This machine knows
//! the opcodes that make data, and the handful of constructors of tensors and ordered dicts; those
//! are data here too. Everything else is refused by its name.
//!
//! Objects live in a list and refer to one another by number, so cycles and any depth of nesting cost
//! nothing. Each opcode makes at most one value, and there are at most `MOST_STEPS` of them: that
//! bounds the memory.

mod machine;

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use crate::error::Fault;
use machine::Machine;

/// A value on the stack or in a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// None or a float: nothing that a tensor depends on.
    Plain,
    Bool(bool),
    Int(i64),
    /// A whole number of more than 64 bits, little-endian two's complement.
    Long(&'a [u8]),
    Text(&'a str),
    Global(Global),
    /// A number in [`Pickle::objects`].
    Object(usize),
}

/// The functions and classes that are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// A value with parts.
#[derive(Clone, Debug)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(Storage<'a>),
    Tensor(Box<TensorRecord<'a>>),
}

/// Where a tensor's elements are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: Dtype,
}

/// A tensor as a pickle describes it; nothing of it is checked but that no number is negative.
#[derive(Clone, Debug)]
pub(crate) struct TensorRecord<'a> {
    pub(crate) storage: Storage<'a>,
    /// In elements, as the strides are.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(crate) root: Value<'a>,
    pub(crate) objects: Vec<Object<'a>>,
    /// The element type of every storage that was mentioned.
    pub(crate) storages: HashMap<&'a str, Dtype>,
    /// How many bytes the pickle takes.
    pub(crate) length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut machine = Machine::new(bytes);
        let root = machine.run().map_err(|fault| match fault {
            Fault::Corrupt(reason) => {
                Fault::Corrupt(format!("byte {} of the pickle: {reason}", machine.opcode))
            }
            fault => fault,
        })?;
        let Machine { objects, storages, at, .. } = machine;
        Ok(Self { root, objects, storages, length: at })
    }

    /// The pairs of a dict.
    pub(crate) fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The last value of a dict that has this key.
    pub(crate) fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        let mut pairs = self.dict(dict)?.iter().rev();
        pairs.find(|(found, _)| *found == Value::Text(key)).map(|(_, value)| *value)
    }

    /// The strings of a list that holds nothing else.
    pub(crate) fn texts(&self, value: Value<'a>) -> Option<Vec<&'a str>> {
        let Object::List(items) = self.object(value)? else { return None };
        let text = |item: &Value<'a>| match item {
            Value::Text(text) => Some(*text),
            _ => None,
        };
        items.iter().map(text).collect()
    }

    pub(crate) fn tensor(&self, value: Value<'a>) -> Option<&TensorRecord<'a>> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(number) => self.objects.get(number),
            _ => None,
        }
    }
}
