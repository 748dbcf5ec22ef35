//! The stack machine: one step an opcode.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::{Global, Object, Storage, TensorRecord, Value};
use crate::error::{Fault, corrupt};

/// The state dict of ResNet-1202 and its optimizer's take about 300,000.
const MOST_STEPS: usize = 500_000;

/// No tensor of a network has more.
const MOST_DIMENSIONS: usize = 8;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Of the next byte.
    pub(super) at: usize,
    /// Of the opcode at work.
    pub(super) opcode: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub(super) objects: Vec<Object<'a>>,
    pub(super) storages: HashMap<&'a str, Dtype>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            opcode: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            storages: HashMap::new(),
        }
    }

    pub(super) fn run(&mut self) -> Result<Value<'a>, Fault> {
        for _ in 0..MOST_STEPS {
            self.opcode = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
        corrupt(format!("more than {MOST_STEPS} steps; no state dict takes so many"))
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            // PROTO, FRAME
            0x80 => match self.byte()? {
                2..=5 => {}
                protocol => return corrupt(format!("protocol {protocol}; 2 to 5 are known")),
            },
            0x95 => drop(self.take(8)?),
            // MARK, POP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            // The constants: NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' => self.stack.push(Value::Plain),
            0x88 | 0x89 => self.stack.push(Value::Bool(opcode == 0x88)),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Plain);
            }
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.byte()?;
                self.stack.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(number.into()));
            }
            0x8a => self.long()?,
            // BINUNICODE, SHORT_BINUNICODE, and the strings of Python 2
            b'X' | b'T' => {
                let length = self.length()?;
                self.text(length)?;
            }
            0x8c | b'U' => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            // The memo: BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let key = self.byte()?;
                self.put(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.put(key)?;
            }
            0x94 => self.put(self.memo.len() as u32)?,
            b'h' => {
                let key = self.byte()?;
                self.get(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.get(key)?;
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return corrupt("a global has to be named by two strings"),
            },
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return self.container(opcode),
        }
        Ok(())
    }

    /// The opcodes of tuples, lists and dicts.
    fn container(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b'}' => self.push(Object::Dict(Vec::new())),
            b']' => self.push(Object::List(Vec::new())),
            b')' => self.push(Object::Tuple(Vec::new())),
            b't' => {
                let parts = self.since_mark()?;
                self.push(Object::Tuple(parts));
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(from) = self.stack.len().checked_sub(count) else {
                    return corrupt("a tuple of more values than there are");
                };
                let parts = self.stack.split_off(from);
                self.push(Object::Tuple(parts));
            }
            // APPEND, APPENDS
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.since_mark()?;
                self.list()?.extend(items);
            }
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let items = self.since_mark()?;
                if !items.len().is_multiple_of(2) {
                    return corrupt("a dict's keys and values do not pair");
                }
                let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
                self.dict()?.extend(pairs);
            }
            _ => return corrupt(format!("{opcode:#04x} is no opcode that `torch.save` writes")),
        }
        Ok(())
    }

    /// LONG1: a whole number of any length.
    fn long(&mut self) -> Result<(), Fault> {
        let length = self.byte()?;
        let bytes = self.take(length.into())?;
        let value = if bytes.len() <= 8 {
            let sign = bytes.last().is_some_and(|last| last & 0x80 != 0);
            let mut whole = [if sign { 0xff } else { 0 }; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(whole))
        } else {
            Value::Long(bytes)
        };
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Global::Storage(Dtype::I64),
            ("torch", "IntStorage") => Global::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
            ("torch", "CharStorage") => Global::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
            _ => return Err(Fault::Code(format!("{module}.{name}"))),
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// BINPERSID: `("storage", class, key, device, elements)`; in files of old versions also a
    /// view's place, which is None.
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = match self.tuple(id) {
            Some(
                &[
                    Value::Text("storage"),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(_),
                    ref rest @ ..,
                ],
            ) if matches!(rest, [] | [Value::Plain]) => Storage { key, dtype },
            _ => return corrupt("a reference to something other than a storage"),
        };
        if *self.storages.entry(storage.key).or_insert(storage.dtype) != storage.dtype {
            return corrupt(format!("storage `{}` has elements of two types", storage.key));
        }
        self.push(Object::Storage(storage));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), Fault> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Some(arguments) = self.tuple(arguments) else {
            return corrupt("a call needs a tuple of arguments");
        };
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), []) => self.push(Object::Dict(Vec::new())),
            (Value::Global(Global::RebuildParameter), &[data @ Value::Object(_), ..]) => {
                self.stack.push(data);
            }
            (
                Value::Global(Global::RebuildTensor),
                &[storage, Value::Int(offset), shape, strides, ..],
            ) => {
                let Some(storage) = self.storage(storage) else {
                    return corrupt("a tensor without a storage");
                };
                let Ok(offset) = usize::try_from(offset) else {
                    return corrupt(format!("a tensor at offset {offset}"));
                };
                let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
                if shape.len() != strides.len() {
                    return corrupt(format!("a tensor of shape {shape:?}, strides {strides:?}"));
                }
                let tensor = TensorRecord { storage, offset, shape, strides };
                self.push(Object::Tensor(Box::new(tensor)));
            }
            _ => return corrupt("a call with arguments that `torch.save` does not write"),
        }
        Ok(())
    }

    /// BUILD: attributes of an ordered dict, such as `_metadata`; they say nothing about tensors.
    fn build(&mut self) -> Result<(), Fault> {
        self.pop()?;
        self.dict().map(drop)
    }

    fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        let Value::Object(number) = value else { return None };
        match self.objects.get(number)? {
            Object::Tuple(parts) => Some(parts),
            _ => None,
        }
    }

    fn storage(&self, value: Value<'a>) -> Option<Storage<'a>> {
        let Value::Object(number) = value else { return None };
        match self.objects.get(number)? {
            Object::Storage(storage) => Some(*storage),
            _ => None,
        }
    }

    /// A shape or strides.
    fn numbers(&self, value: Value<'a>) -> Result<Vec<usize>, Fault> {
        let number = |value: &Value<'_>| match value {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        self.tuple(value)
            .filter(|parts| parts.len() <= MOST_DIMENSIONS)
            .and_then(|parts| parts.iter().map(number).collect())
            .ok_or_else(|| {
                let what = "a tensor's shape and strides have to be a few whole numbers";
                Fault::Corrupt(what.to_owned())
            })
    }

    /// The dict on top of the stack.
    fn dict(&mut self) -> Result<&mut Vec<(Value<'a>, Value<'a>)>, Fault> {
        if let Some(&Value::Object(number)) = self.stack.last()
            && let Some(Object::Dict(pairs)) = self.objects.get_mut(number)
        {
            return Ok(pairs);
        }
        corrupt("something other than a dict is filled in")
    }

    /// The list on top of the stack.
    fn list(&mut self) -> Result<&mut Vec<Value<'a>>, Fault> {
        if let Some(&Value::Object(number)) = self.stack.last()
            && let Some(Object::List(items)) = self.objects.get_mut(number)
        {
            return Ok(items);
        }
        corrupt("something other than a list is filled in")
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        match self.stack.pop() {
            Some(value) => Ok(value),
            None => corrupt("a value is needed, but the stack is empty"),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => corrupt("a mark is needed, but there is none"),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), Fault> {
        let Some(&value) = self.stack.last() else {
            return corrupt("a value is needed, but the stack is empty");
        };
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), Fault> {
        let Some(&value) = self.memo.get(&key) else {
            return corrupt(format!("value {key} was not remembered"));
        };
        self.stack.push(value);
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let Some(taken) = self.bytes[self.at..].get(..length) else {
            return corrupt("the pickle ends early");
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, Fault> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn text(&mut self, length: usize) -> Result<(), Fault> {
        let Ok(text) = str::from_utf8(self.take(length)?) else {
            return corrupt("a string is no UTF-8 text");
        };
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// Up to the end of the line, which is taken and not returned.
    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return corrupt("the pickle ends early");
        };
        let line = self.take(length)?;
        self.at += 1;
        str::from_utf8(line).or_else(|_| corrupt("a global's name is no UTF-8 text"))
    }
}
