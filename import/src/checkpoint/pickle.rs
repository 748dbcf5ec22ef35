//! Python's pickles, protocols 2 to 5, read as data.
//!
//! A pickle is a program for a stack machine that may call any function there is. This machine runs
//! none and looks none up: it knows a handful of constructors of tensors, arrays and dicts, which are
//! data here too, and whatever else is called gives an inert value with a name. Only who needs a
//! tensor that depends on such a value has to refuse it.
//!
//! Objects live in a list and refer to one another by number, so cycles and any depth of nesting cost
//! nothing. What the machine keeps is counted, and has a bound.

mod call;
mod globals;
mod machine;
mod numpy;

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use crate::error::Fault;
use globals::Global;
use machine::Machine;
pub(super) use numpy::{dtype, strides};

/// A value on the stack or in a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Nothing that a tensor depends on: None, a whole number of more than 64 bits.
    Plain,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Also a string that is no UTF-8.
    Bytes(&'a [u8]),
    Global(Global),
    /// A number in [`Pickle::objects`].
    Object(usize),
}

/// A value with parts.
#[derive(Clone, Debug)]
pub(crate) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(List<'a>),
    Dict(Dict<'a>),
    Storage(Storage<'a>),
    Tensor(Box<TensorRecord<'a>>),
    /// NumPy's type of elements; `None` for those that no tensor has.
    Dtype(Option<Dtype>),
    /// A NumPy array whose state did not come yet.
    Array,
    /// Bytes, one a character: as Python 3 writes them in protocol 2.
    Latin1(&'a str),
    /// A function or class that is not known.
    Foreign(Box<Name<'a>>),
    Instance(Box<Instance<'a>>),
}

/// Numbers of a list are not kept: the history of a training may have millions.
#[derive(Clone, Debug, Default)]
pub(crate) struct List<'a> {
    pub(crate) length: usize,
    /// With their places.
    pub(crate) items: Vec<(usize, Value<'a>)>,
}

/// Pairs are kept whose key is a string.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dict<'a> {
    pub(crate) length: usize,
    pub(crate) pairs: Vec<(&'a str, Value<'a>)>,
}

/// A module and what it calls a function or class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
}

/// What a call would have made that is not known.
#[derive(Clone, Debug)]
pub(crate) struct Instance<'a> {
    /// What would have been called.
    pub(crate) maker: Name<'a>,
    /// Whether a tensor or its elements are among the arguments.
    pub(crate) of_tensor: bool,
    /// Its attributes, if it has some, as a dict.
    pub(crate) state: Value<'a>,
    /// What it holds as a dict.
    pub(crate) pairs: Vec<(&'a str, Value<'a>)>,
}

/// Where a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Source<'a> {
    /// Outside the pickle, under this key.
    Key(&'a str),
    /// In the pickle.
    Bytes(&'a [u8]),
    /// In the pickle, a character a byte.
    Latin1(&'a str),
    /// In the pickle, as a file of `torch.save` in the older form.
    File(&'a [u8]),
}

/// Elements of tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) source: Source<'a>,
    /// `None` if the source says it.
    pub(crate) dtype: Option<Dtype>,
}

/// A tensor as a pickle describes it; nothing of it is checked but that no number is negative.
#[derive(Clone, Debug)]
pub(crate) struct TensorRecord<'a> {
    pub(crate) storage: Storage<'a>,
    /// In elements, as the strides are.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) quantiser: Option<Quantiser<'a>>,
}

impl<'a> TensorRecord<'a> {
    /// The tensor, and those of its scales and zero points.
    pub(crate) fn with_scales(&self) -> impl Iterator<Item = &Self> {
        let of_channels = match &self.quantiser {
            Some(Quantiser::Channels { scales, zeros, .. }) => Some([&**scales, &**zeros]),
            _ => None,
        };
        [self].into_iter().chain(of_channels.into_iter().flatten())
    }
}

/// For what the whole numbers of a quantised tensor stand.
#[derive(Clone, Debug)]
pub(crate) enum Quantiser<'a> {
    /// All have one scale and one zero point.
    Tensor { scale: f64, zero: i64 },
    /// Each place along an axis has its own.
    Channels { scales: Box<TensorRecord<'a>>, zeros: Box<TensorRecord<'a>>, axis: usize },
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

    /// The pairs of a dict, or of an instance that holds some.
    pub(crate) fn dict(&self, value: Value<'a>) -> Option<&[(&'a str, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(dict) => Some(&dict.pairs),
            Object::Instance(instance) if !instance.pairs.is_empty() => Some(&instance.pairs),
            _ => None,
        }
    }

    /// The last value of a dict that has this key.
    pub(crate) fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        let mut pairs = self.dict(dict)?.iter().rev();
        pairs.find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// The strings of a list that holds nothing else.
    pub(crate) fn texts(&self, value: Value<'a>) -> Option<Vec<&'a str>> {
        let Object::List(list) = self.object(value)? else { return None };
        let text = |item: &(usize, Value<'a>)| match item.1 {
            Value::Text(text) => Some(text),
            _ => None,
        };
        let texts: Vec<&str> = list.items.iter().map(text).collect::<Option<_>>()?;
        (texts.len() == list.length).then_some(texts)
    }

    pub(crate) fn tensor(&self, value: Value<'a>) -> Option<&TensorRecord<'a>> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    pub(crate) fn instance(&self, value: Value<'a>) -> Option<&Instance<'a>> {
        match self.object(value)? {
            Object::Instance(instance) => Some(instance),
            _ => None,
        }
    }

    pub(crate) fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(number) => self.objects.get(number),
            _ => None,
        }
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}
