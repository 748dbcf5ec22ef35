//! What a pickle calls, and what is here in the place of a result.

use safetensors::tensor::Dtype;

use super::globals::Global;
use super::machine::Machine;
use super::{
    Dict, Instance, List, Name, Object, Quantiser, Source, Storage, TensorRecord, Value, numpy,
};
use crate::error::{Fault, corrupt};

/// More than a constructor of tensors takes; the rest of a longer tuple is not looked at, so that calls
/// cost no more than their opcodes.
const MOST_ARGUMENTS: usize = 16;

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Fault> {
        match Global::of(module, name) {
            Some(global) => {
                self.stack.push(Value::Global(global));
                Ok(())
            }
            None => self.push(Object::Foreign(Box::new(Name { module, name }))),
        }
    }

    /// BINPERSID: `("storage", class, key, device, elements)`, in files of old versions with a view's
    /// place behind it, which is None; or `("module", class, ...)`, a class with its source.
    pub(super) fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let (class, key) = match self.tuple(id) {
            Some(&[Value::Text("module"), class, ..]) => {
                self.stack.push(class);
                return Ok(());
            }
            Some(
                &[
                    Value::Text("storage"),
                    class,
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(_),
                    ref rest @ ..,
                ],
            ) if matches!(rest, [] | [Value::Plain]) => (class, key),
            _ => return corrupt("a reference to something other than a storage"),
        };
        let Value::Global(Global::Storage(dtype)) = class else {
            let maker = self.name(class);
            return self.inert(maker, true);
        };
        if !self.storages.contains_key(key) {
            self.room.take(2 * size_of::<(&str, Dtype)>())?;
        }
        if *self.storages.entry(key).or_insert(dtype) != dtype {
            return corrupt(format!("storage `{key}` has elements of two types"));
        }
        self.push(Object::Storage(Storage { source: Source::Key(key), dtype: Some(dtype) }))
    }

    /// Pushes what a call makes, if that is known, and else an inert value.
    pub(super) fn call(&mut self, function: Value<'a>, arguments: Value<'a>) -> Result<(), Fault> {
        let Some(mut parts) = self.arguments(arguments) else {
            return corrupt("a call needs a tuple of arguments");
        };
        let Value::Global(mut global) = function else {
            let of_tensor = self.has_tensor(&parts);
            return self.inert(self.name(function), of_tensor);
        };
        // A tensor with attributes is made as if it had none.
        if let (Global::RebuildFromType, &[Value::Global(inner), _, arguments, ..]) =
            (global, &*parts)
            && inner != Global::RebuildFromType
            && let Some(arguments) = self.arguments(arguments)
        {
            (global, parts) = (inner, arguments);
        }
        let object = match (global, &*parts) {
            (Global::OrderedDict, []) => Object::Dict(Dict::default()),
            (Global::OrderedDict, &[items]) => return self.dict_of_pairs(items),
            (Global::Size, &[tuple]) if self.tuple(tuple).is_some() => {
                self.stack.push(tuple);
                return Ok(());
            }
            (Global::Set, &[list]) if matches!(self.object(list), Some(Object::List(_))) => {
                self.stack.push(list);
                return Ok(());
            }
            (Global::Encode, &[Value::Text(text), Value::Text("latin1")]) => Object::Latin1(text),
            (Global::Parameter, &[data, ..]) if self.is_tensor(data) => {
                self.stack.push(data);
                return Ok(());
            }
            (Global::RebuildTensor | Global::RebuildTensorOfType, parts) => {
                match self.tensor(global, parts)? {
                    Some(tensor) => self.boxed(tensor)?,
                    None => return self.inert(known(global), true),
                }
            }
            (Global::RebuildQuantised, parts) => match self.quantised(parts)? {
                Some(tensor) => self.boxed(tensor)?,
                None => return self.inert(known(global), true),
            },
            (Global::StorageFromBytes, &[Value::Bytes(bytes)]) => {
                Object::Storage(Storage { source: Source::File(bytes), dtype: None })
            }
            (Global::NumpyReconstruct, [Value::Global(Global::NumpyArray), ..]) => Object::Array,
            (Global::NumpyDtype, [Value::Text(text), ..]) => Object::Dtype(numpy::dtype(text)),
            (Global::NumpyFromBuffer, parts) => match self.array_of_buffer(parts) {
                Some(tensor) => self.boxed(tensor)?,
                None => return self.inert(known(global), true),
            },
            (_, parts) => {
                let of_tensor = self.has_tensor(parts);
                return self.inert(known(global), of_tensor);
            }
        };
        self.push(object)
    }

    /// `(storage, offset, shape, strides, ...)`, with the type of elements in the seventh place if it is
    /// said. `None` if the storage is none that is known.
    fn tensor(
        &self,
        global: Global,
        parts: &[Value<'a>],
    ) -> Result<Option<TensorRecord<'a>>, Fault> {
        let &[storage, Value::Int(offset), shape, strides, ref rest @ ..] = parts else {
            return corrupt("a tensor is made of a storage, an offset, a shape and strides");
        };
        let storage = match self.object(storage) {
            Some(Object::Storage(storage)) => *storage,
            Some(Object::Instance(_)) => return Ok(None),
            _ => return corrupt("a tensor without a storage"),
        };
        let dtype = match (global, rest) {
            (Global::RebuildTensorOfType, [_, _, Value::Global(Global::Dtype(dtype)), ..]) => {
                Some(*dtype)
            }
            (Global::RebuildTensorOfType, _) => return Ok(None),
            _ => storage.dtype,
        };
        let Ok(offset) = usize::try_from(offset) else {
            return corrupt(format!("a tensor at offset {offset}"));
        };
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        if shape.len() != strides.len() {
            return corrupt(format!("a tensor of shape {shape:?}, strides {strides:?}"));
        }
        let storage = Storage { dtype, ..storage };
        Ok(Some(TensorRecord { storage, offset, shape, strides, quantiser: None }))
    }

    /// The same with, in the fifth place, `(per_tensor_affine, scale, zero point)` or `(per_channel_affine, scales, zero
    /// points, axis)`. `None` for another scheme, or for bits that are no bytes.
    fn quantised(&self, parts: &[Value<'a>]) -> Result<Option<TensorRecord<'a>>, Fault> {
        let scheme = parts.get(4).and_then(|&scheme| self.tuple(scheme));
        let tensor_of = |value| match self.object(value) {
            Some(Object::Tensor(tensor)) if tensor.quantiser.is_none() => Some(tensor.clone()),
            _ => None,
        };
        let quantiser = match scheme {
            Some(&[Value::Global(Global::PerTensor), Value::Float(scale), Value::Int(zero)]) => {
                Quantiser::Tensor { scale, zero }
            }
            Some(&[Value::Global(Global::PerChannel), scales, zeros, Value::Int(axis)]) => {
                match (tensor_of(scales), tensor_of(zeros), usize::try_from(axis)) {
                    (Some(scales), Some(zeros), Ok(axis)) => {
                        Quantiser::Channels { scales, zeros, axis }
                    }
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let tensor = self.tensor(Global::RebuildQuantised, parts)?;
        Ok(tensor.map(|tensor| TensorRecord { quantiser: Some(quantiser), ..tensor }))
    }

    /// The ordered dict of a list of pairs, as Python 2 writes it.
    fn dict_of_pairs(&mut self, items: Value<'a>) -> Result<(), Fault> {
        let mut dict = Dict::default();
        if let Some(Object::List(list)) = self.object(items) {
            for (_, pair) in &list.items {
                let pair = match self.object(*pair) {
                    Some(Object::List(List { length: 2, items })) => &items[..],
                    _ => &[],
                };
                if let [(0, Value::Text(key)), rest @ ..] = pair {
                    let value = rest.first().map_or(Value::Plain, |(_, value)| *value);
                    dict.pairs.push((*key, value));
                }
            }
            dict.length = list.length;
        }
        self.room.take(dict.pairs.capacity() * size_of::<(&str, Value<'_>)>())?;
        self.push(Object::Dict(dict))
    }

    /// Pushes a value that stands for what a call would have made.
    fn inert(&mut self, maker: Name<'a>, of_tensor: bool) -> Result<(), Fault> {
        let instance = self.instance(maker, of_tensor)?;
        self.push(instance)
    }

    fn instance(&mut self, maker: Name<'a>, of_tensor: bool) -> Result<Object<'a>, Fault> {
        self.room.take(size_of::<Instance<'_>>())?;
        let instance = Instance { maker, of_tensor, state: Value::Plain, pairs: Vec::new() };
        Ok(Object::Instance(Box::new(instance)))
    }

    /// An array of objects, which holds what its only one holds.
    fn array_of_object(&mut self, state: Value<'a>) -> Result<Object<'a>, Fault> {
        let mut array = self.instance(known(Global::NumpyArray), true)?;
        if let (Some(value), Object::Instance(instance)) = (self.object_of_state(state), &mut array)
        {
            self.room.take(size_of::<(&str, Value<'_>)>())?;
            instance.pairs = vec![("0", value)];
        }
        Ok(array)
    }

    /// What a function or class is called; a value that was called itself has the name of its maker.
    fn name(&self, function: Value<'a>) -> Name<'a> {
        match (function, self.object(function)) {
            (Value::Global(global), _) => known(global),
            (_, Some(Object::Foreign(name))) => **name,
            (_, Some(Object::Instance(instance))) => instance.maker,
            _ => Name { module: "a value", name: "__call__" },
        }
    }

    /// BUILD: the attributes of what is on top of the stack. Those of a tensor or a dict, such as
    /// `_metadata`, say nothing about tensors.
    pub(super) fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let Value::Object(number) = self.top()? else { return Ok(()) };
        match self.objects.get_mut(number) {
            Some(Object::Instance(instance)) => instance.state = state,
            Some(Object::Dtype(_)) => self.build_dtype(number, state),
            Some(Object::Array) => {
                let array = match self.array_of_state(state) {
                    Some(tensor) => self.boxed(tensor)?,
                    None => self.array_of_object(state)?,
                };
                self.objects[number] = array;
            }
            _ => {}
        }
        Ok(())
    }

    fn is_tensor(&self, value: Value<'a>) -> bool {
        match self.object(value) {
            Some(Object::Storage(_) | Object::Tensor(_) | Object::Array) => true,
            Some(Object::Instance(instance)) => instance.of_tensor,
            _ => false,
        }
    }

    /// Whether a tensor or its elements are among the arguments of a call, or in a tuple there.
    fn has_tensor(&self, arguments: &[Value<'a>]) -> bool {
        arguments.iter().any(|&value| {
            let inner = self.arguments(value).unwrap_or_default();
            self.is_tensor(value) || inner.iter().any(|&value| self.is_tensor(value))
        })
    }

    /// The first parts of a tuple.
    fn arguments(&self, value: Value<'a>) -> Option<Vec<Value<'a>>> {
        self.tuple(value).map(|parts| parts[..parts.len().min(MOST_ARGUMENTS)].to_vec())
    }

    fn boxed(&mut self, tensor: TensorRecord<'a>) -> Result<Object<'a>, Fault> {
        let of = |tensor: &TensorRecord<'_>| {
            let numbers = tensor.shape.len() + tensor.strides.len();
            size_of::<TensorRecord<'_>>() + numbers * size_of::<usize>()
        };
        self.room.take(of(&tensor))?;
        if let Some(Quantiser::Channels { scales, zeros, .. }) = &tensor.quantiser {
            self.room.take(of(scales) + of(zeros))?;
        }
        Ok(Object::Tensor(Box::new(tensor)))
    }
}

/// The name of what is known, for messages.
fn known<'a>(global: Global) -> Name<'a> {
    let (module, name) = global.name();
    Name { module, name }
}
