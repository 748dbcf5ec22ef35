//! The stack machine: one step an opcode.

use std::collections::HashMap;

use safetensors::tensor::Dtype;

use super::{Dict, List, Name, Object, Value};
use crate::error::{Fault, corrupt};

/// Bytes that the values of a pickle may take, besides those of a list that grows and is moved.
const ROOM: usize = 40 << 20;

/// The bytes that values may still take.
pub(super) struct Room(usize);

impl Room {
    /// Notes that a value takes this many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        let Some(rest) = self.0.checked_sub(bytes) else {
            let most = ROOM >> 20;
            return corrupt(format!(
                "its values take more than {most} MB, more than any checkpoint's"
            ));
        };
        self.0 = rest;
        Ok(())
    }

    /// Makes room for more items in a list, and notes it before it is allocated: a list that doubles can take
    /// as much as all values.
    fn grow<T>(&mut self, list: &mut Vec<T>, more: usize) -> Result<(), Fault> {
        let (needed, held) = (list.len() + more, list.capacity());
        if needed > held {
            let capacity = needed.max(2 * held).max(4);
            self.take((capacity - held) * size_of::<T>())?;
            list.reserve_exact(capacity - list.len());
        }
        Ok(())
    }
}

/// Numbers that the memo may leave out. Python leaves out none.
const LARGEST_GAP: usize = 1024;

/// No tensor of a network has more.
const MOST_DIMENSIONS: usize = 8;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Of the next byte.
    pub(super) at: usize,
    /// Of the opcode at work.
    pub(super) opcode: usize,
    /// What is left of [`ROOM`].
    pub(super) room: Room,
    pub(super) stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// The most that the stack and the marks have held.
    highest: usize,
    memo: Vec<Option<Value<'a>>>,
    /// How many of them there are.
    remembered: usize,
    pub(super) objects: Vec<Object<'a>>,
    pub(super) storages: HashMap<&'a str, Dtype>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            opcode: 0,
            room: Room(ROOM),
            stack: Vec::new(),
            marks: Vec::new(),
            highest: 0,
            memo: Vec::new(),
            remembered: 0,
            objects: Vec::new(),
            storages: HashMap::new(),
        }
    }

    pub(super) fn run(&mut self) -> Result<Value<'a>, Fault> {
        loop {
            self.opcode = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            let height = self.stack.len() + self.marks.len();
            if height > self.highest {
                self.room.take((height - self.highest) * 2 * size_of::<Value<'_>>())?;
                self.highest = height;
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            // PROTO, FRAME
            0x80 => match self.byte()? {
                2..=5 => {}
                protocol => return corrupt(format!("protocol {protocol}; 2 to 5 are known")),
            },
            0x95 => drop(self.take(8)?),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
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
            0x94 => self.put(self.remembered as u32)?,
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
            0x82..=0x84 => {
                return corrupt("a class by its number in a registry, which is not here");
            }
            // BINPERSID, BUILD
            b'Q' => self.persistent()?,
            b'b' => self.build()?,
            // REDUCE, NEWOBJ, NEWOBJ_EX, OBJ: what is called, its arguments, and those with names
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(class, arguments)?;
            }
            b'o' => {
                let mut parts = self.since_mark()?.into_iter();
                let Some(class) = parts.next() else { return corrupt("an object without a class") };
                let arguments = self.add(Object::Tuple(parts.collect()))?;
                self.call(class, arguments)?;
            }
            _ => return self.constant(opcode),
        }
        Ok(())
    }

    /// The opcodes of numbers, strings and bytes.
    fn constant(&mut self, opcode: u8) -> Result<(), Fault> {
        let value = match opcode {
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Value::Plain,
            0x88 | 0x89 => Value::Bool(opcode == 0x88),
            // BINFLOAT
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let length = self.byte()?;
                long(self.take(length.into())?)
            }
            0x8b => {
                let length = self.length()?;
                long(self.take(length)?)
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, and the strings of Python 2
            0x8c | b'U' => {
                let length = self.byte()?;
                text(self.take(length.into())?)
            }
            b'X' | b'T' => {
                let length = self.length()?;
                text(self.take(length)?)
            }
            0x8d => {
                let length = self.long_length()?;
                text(self.take(length)?)
            }
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => {
                let length = self.byte()?;
                Value::Bytes(self.take(length.into())?)
            }
            b'B' => {
                let length = self.length()?;
                Value::Bytes(self.take(length)?)
            }
            0x8e | 0x96 => {
                let length = self.long_length()?;
                Value::Bytes(self.take(length)?)
            }
            0x97 | 0x98 => return corrupt("its buffers were written apart from it"),
            _ => return self.container(opcode),
        };
        self.stack.push(value);
        Ok(())
    }

    /// The opcodes of tuples, lists, dicts and sets.
    fn container(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b'}' => self.push(Object::Dict(Dict::default()))?,
            // A set is a list here.
            b']' | 0x8f => self.push(Object::List(List::default()))?,
            b')' => self.push(Object::Tuple(Vec::new()))?,
            b't' => {
                let parts = self.since_mark()?;
                self.push(Object::Tuple(parts))?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let Some(from) = self.stack.len().checked_sub(count) else {
                    return corrupt("a tuple of more values than there are");
                };
                let parts = self.stack.split_off(from);
                self.push(Object::Tuple(parts))?;
            }
            // FROZENSET
            0x91 => {
                let items = self.since_mark()?;
                self.push(Object::List(List::default()))?;
                self.append(&items)?;
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            _ => return corrupt(format!("{opcode:#04x} is no opcode of protocols 2 to 5")),
        }
        Ok(())
    }

    /// Adds to the list on top of the stack. What is no list may take items too, and forgets them.
    fn append(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        let Value::Object(number) = self.top()? else {
            return corrupt("something other than a list is filled in");
        };
        match &mut self.objects[number] {
            Object::List(list) => {
                for (place, item) in (list.length..).zip(items) {
                    if !matches!(
                        item,
                        Value::Plain | Value::Bool(_) | Value::Int(_) | Value::Float(_)
                    ) {
                        self.room.grow(&mut list.items, 1)?;
                        list.items.push((place, *item));
                    }
                }
                list.length += items.len();
                Ok(())
            }
            Object::Instance(_) => Ok(()),
            _ => corrupt("something other than a list is filled in"),
        }
    }

    /// Adds keys and values in turns to the dict on top of the stack.
    fn set_items(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        if !items.len().is_multiple_of(2) {
            return corrupt("a dict's keys and values do not pair");
        }
        let Value::Object(number) = self.top()? else {
            return corrupt("something other than a dict is filled in");
        };
        let pairs = match &mut self.objects[number] {
            Object::Dict(dict) => {
                dict.length += items.len() / 2;
                &mut dict.pairs
            }
            Object::Instance(instance) => &mut instance.pairs,
            _ => return corrupt("something other than a dict is filled in"),
        };
        for pair in items.chunks_exact(2) {
            if let Value::Text(key) = pair[0] {
                self.room.grow(pairs, 1)?;
                pairs.push((key, pair[1]));
            }
        }
        Ok(())
    }

    pub(super) fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        match value {
            Value::Object(number) => self.objects.get(number),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Tuple(parts) => Some(parts),
            _ => None,
        }
    }

    /// A shape or strides.
    pub(super) fn numbers(&self, value: Value<'a>) -> Result<Vec<usize>, Fault> {
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

    pub(super) fn push(&mut self, object: Object<'a>) -> Result<(), Fault> {
        let value = self.add(object)?;
        self.stack.push(value);
        Ok(())
    }

    fn add(&mut self, object: Object<'a>) -> Result<Value<'a>, Fault> {
        let parts = match &object {
            Object::Tuple(parts) => parts.len() * size_of::<Value<'_>>(),
            Object::Foreign(_) => size_of::<Name<'_>>(),
            _ => 0,
        };
        self.room.take(parts)?;
        self.room.grow(&mut self.objects, 1)?;
        self.objects.push(object);
        Ok(Value::Object(self.objects.len() - 1))
    }

    pub(super) fn top(&self) -> Result<Value<'a>, Fault> {
        match self.stack.last() {
            Some(&value) => Ok(value),
            None => corrupt("a value is needed, but the stack is empty"),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => corrupt("a mark is needed, but there is none"),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), Fault> {
        let value = self.top()?;
        let key = key as usize;
        if key > self.memo.len() + LARGEST_GAP {
            return corrupt(format!("value {key} is remembered after {}", self.memo.len()));
        }
        if key >= self.memo.len() {
            let more = key + 1 - self.memo.len();
            self.room.grow(&mut self.memo, more)?;
            self.memo.resize(key + 1, None);
        }
        self.remembered += usize::from(self.memo[key].replace(value).is_none());
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), Fault> {
        let Some(&Some(value)) = self.memo.get(key as usize) else {
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

    fn long_length(&mut self) -> Result<usize, Fault> {
        usize::try_from(u64::from_le_bytes(self.array()?))
            .or_else(|_| corrupt("the pickle ends early"))
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

/// A string; one of Python's that is no UTF-8, such as an odd file name, is bytes.
fn text(bytes: &[u8]) -> Value<'_> {
    str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text)
}

/// A whole number, in little-endian two's complement.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > size_of::<i64>() {
        return Value::Plain;
    }
    let sign = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if sign { 0xff } else { 0 }; size_of::<i64>()];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}
