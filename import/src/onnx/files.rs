//! The elements of an ONNX file's tensors: where they stand, in it or in others, and numbers of small ones.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use prost::bytes::{Buf, Bytes};
use prost::encoding::decode_varint;
use resnet_compiler::onnx::proto::{self, TensorProto};
use safetensors::tensor::Dtype;

use super::numbers::{MOST_NUMBERS, Numbers};
use crate::checkpoint::{Elements, Stored};
use crate::error::{Fault, corrupt, unknown};

/// No tensor of a network has more.
const MOST_DIMENSIONS: usize = 8;

/// Of elements that are computed from others. ResNet-1202 has a tenth of it in norms.
const MOST_COMPUTED: usize = 16 << 20;

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(crate) enum Constant {
    /// Elements that weights may have.
    Floats(Stored),
    /// A few whole numbers.
    Numbers(Numbers),
    /// Bytes, or many whole numbers.
    Whole(Stored),
    /// Anything else: its type.
    Other(i32),
}

/// The bytes of the network: the ONNX file, and those that it refers to.
pub(crate) struct Files {
    /// Where the others are; `None` if the ONNX file is none on a disk.
    folder: Option<PathBuf>,
    /// The first is the ONNX file.
    pub(crate) bytes: Vec<Bytes>,
    numbers: HashMap<PathBuf, usize>,
    /// Bytes of elements that were computed.
    spent: usize,
}

impl Files {
    pub(crate) fn new(bytes: Bytes, folder: Option<&Path>) -> Self {
        let folder = folder.map(Path::to_owned);
        Self { folder, bytes: vec![bytes], numbers: HashMap::new(), spent: 0 }
    }

    /// The files that were read beside the ONNX file.
    pub(crate) fn beside(&self) -> Vec<PathBuf> {
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
        self.numbers.keys().map(|path| folder.join(path)).collect()
    }

    /// Finds the elements of a tensor and checks that all are there.
    pub(crate) fn constant(&mut self, tensor: &TensorProto) -> Result<Constant, Fault> {
        let name = &tensor.name;
        if tensor.dims.len() > MOST_DIMENSIONS {
            return corrupt(format!("tensor `{name}` has {} dimensions", tensor.dims.len()));
        }
        let shape: Option<Vec<usize>> =
            tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let count = shape.as_ref().and_then(|shape| product(shape));
        let (Some(shape), Some(count)) = (shape, count) else {
            return corrupt(format!("tensor `{name}` claims the shape {:?}", tensor.dims));
        };
        if tensor.segment.is_some() {
            return unknown(format!("tensor `{name}` is one part of a larger one; save it whole"));
        }
        match tensor.data_type {
            proto::FLOAT => self.floats(tensor, Dtype::F32, shape, count),
            proto::FLOAT16 => self.floats(tensor, Dtype::F16, shape, count),
            proto::BFLOAT16 => self.floats(tensor, Dtype::BF16, shape, count),
            proto::DOUBLE => self.floats(tensor, Dtype::F64, shape, count),
            proto::INT64 => self.numbers(tensor, 8, shape, count),
            proto::INT32 if count > MOST_NUMBERS => {
                self.whole_numbers(tensor, Dtype::I32, shape, count)
            }
            proto::INT32 => self.numbers(tensor, 4, shape, count),
            proto::INT8 => self.whole_numbers(tensor, Dtype::I8, shape, count),
            proto::UINT8 => self.whole_numbers(tensor, Dtype::U8, shape, count),
            proto::BOOL => self.numbers(tensor, 1, shape, count),
            other => Ok(Constant::Other(other)),
        }
    }

    /// File, first byte and length of a tensor's elements. `listed`: the field that they are in if they
    /// are not raw.
    fn place(
        &mut self,
        tensor: &TensorProto,
        listed: &Bytes,
    ) -> Result<(usize, usize, usize), Fault> {
        if tensor.data_location == proto::EXTERNAL {
            return self.external(tensor);
        }
        let data = if tensor.raw_data.is_empty() { listed } else { &tensor.raw_data };
        if !tensor.raw_data.is_empty() && !listed.is_empty() {
            return corrupt(format!("tensor `{}` has its elements twice", tensor.name));
        }
        // The data are a part of the file, unless there are none.
        let start = data.as_ptr().addr().wrapping_sub(self.bytes[0].as_ptr().addr());
        Ok((0, if data.is_empty() { 0 } else { start }, data.len()))
    }

    fn floats(
        &mut self,
        tensor: &TensorProto,
        dtype: Dtype,
        shape: Vec<usize>,
        count: usize,
    ) -> Result<Constant, Fault> {
        let halves = matches!(dtype, Dtype::F16 | Dtype::BF16);
        if halves && !tensor.int32_data.is_empty() && tensor.data_location != proto::EXTERNAL {
            return self.listed_halves(tensor, dtype, shape, count);
        }
        let none = Bytes::new();
        let listed = match dtype {
            Dtype::F32 => &tensor.float_data,
            Dtype::F64 => &tensor.double_data,
            _ => &none,
        };
        let (file, start, length) = self.place(tensor, listed)?;
        if count.checked_mul(dtype.bitsize() / 8) != Some(length) {
            return corrupt(format!(
                "tensor `{}` of shape {shape:?} and type {dtype:?} has {length} bytes of elements",
                tensor.name
            ));
        }
        let elements = Elements::At { file, start, strides: None };
        Ok(Constant::Floats(Stored { dtype, shape, elements, quantised: None }))
    }

    /// Halves whose bits are a list of whole numbers.
    fn listed_halves(
        &mut self,
        tensor: &TensorProto,
        dtype: Dtype,
        shape: Vec<usize>,
        count: usize,
    ) -> Result<Constant, Fault> {
        let name = &tensor.name;
        self.spend(tensor.int32_data.len().saturating_mul(2)).or_else(|_| {
            unknown(format!("tensor `{name}` is a long list of halves; save it as raw data"))
        })?;
        let bits: Option<Vec<u16>> = listed(&tensor.int32_data)
            .map(|number| number.and_then(|number| u16::try_from(number).ok()))
            .collect();
        let Some(bits) = bits.filter(|bits| bits.len() == count && tensor.raw_data.is_empty())
        else {
            return corrupt(format!(
                "tensor `{name}` has not as many halves as its shape {shape:?}"
            ));
        };
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        Ok(Constant::Floats(Stored { dtype, shape, elements: self.own(bytes), quantised: None }))
    }

    /// Whole numbers that stay where they are, unless they are listed.
    fn whole_numbers(
        &mut self,
        tensor: &TensorProto,
        dtype: Dtype,
        shape: Vec<usize>,
        count: usize,
    ) -> Result<Constant, Fault> {
        let size = dtype.bitsize() / 8;
        let (file, start, length) = self.place(tensor, &Bytes::new())?;
        let mut elements = Elements::At { file, start, strides: None };
        let mut found = length;
        if length == 0 && !tensor.int32_data.is_empty() {
            let range = match dtype {
                Dtype::I8 => -128..=127,
                Dtype::U8 => 0..=255,
                _ => i64::from(i32::MIN)..=i64::from(i32::MAX),
            };
            let mut bytes = Vec::new();
            for number in listed(&tensor.int32_data) {
                let Some(number) = number.filter(|number| range.contains(number)) else {
                    return corrupt(format!(
                        "tensor `{}` lists a number that {dtype:?} does not hold",
                        tensor.name
                    ));
                };
                bytes.extend_from_slice(&number.to_le_bytes()[..size]);
            }
            found = bytes.len();
            elements = self.own(bytes);
        }
        if count.checked_mul(size) != Some(found) {
            return corrupt(format!(
                "tensor `{}` of shape {shape:?} and type {dtype:?} has {found} bytes of elements",
                tensor.name
            ));
        }
        Ok(Constant::Whole(Stored { dtype, shape, elements, quantised: None }))
    }

    /// Whole numbers of so many bytes each.
    fn numbers(
        &mut self,
        tensor: &TensorProto,
        size: usize,
        shape: Vec<usize>,
        count: usize,
    ) -> Result<Constant, Fault> {
        if count > MOST_NUMBERS {
            return Ok(Constant::Other(tensor.data_type));
        }
        let raw = !tensor.raw_data.is_empty();
        let external = tensor.data_location == proto::EXTERNAL;
        let values: Option<Vec<i64>> = if size == 8 && !raw && !external {
            Some(tensor.int64_data.clone())
        } else if !raw && !external {
            listed(&tensor.int32_data).collect()
        } else {
            let (file, start, length) = self.place(tensor, &Bytes::new())?;
            let bytes = &self.bytes[file][start..][..length];
            Some(match size {
                8 => bytes.as_chunks().0.iter().map(|&value| i64::from_le_bytes(value)).collect(),
                4 => {
                    let values = bytes.as_chunks().0.iter();
                    values.map(|&value| i32::from_le_bytes(value).into()).collect()
                }
                _ => bytes.iter().map(|&value| i64::from(value != 0)).collect(),
            })
        };
        let values = values.into_iter().flatten().map(Some).collect();
        match Numbers::new(shape, values) {
            Some(numbers) => Ok(Constant::Numbers(numbers)),
            None => corrupt(format!(
                "tensor `{}` has not as many elements as its shape {:?}",
                tensor.name, tensor.dims
            )),
        }
    }

    /// Accounts for elements that are computed, of which a network has few.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spent = self.spent.saturating_add(bytes);
        match self.spent <= MOST_COMPUTED {
            true => Ok(()),
            false => unknown("it computes more with constants than any network does"),
        }
    }

    /// Elements that no file has.
    pub(crate) fn own(&mut self, bytes: Vec<u8>) -> Elements {
        self.bytes.push(bytes.into());
        Elements::At { file: self.bytes.len() - 1, start: 0, strides: None }
    }

    /// File, first byte and length of elements that another file has.
    fn external(&mut self, tensor: &TensorProto) -> Result<(usize, usize, usize), Fault> {
        let name = &tensor.name;
        let entry = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries.find(|entry| entry.key == key).map(|entry| entry.value.as_str())
        };
        let number = |key: &str| match entry(key).map(str::parse::<usize>) {
            Some(Err(_)) => corrupt(format!("the `{key}` of tensor `{name}` is no number")),
            Some(Ok(number)) => Ok(Some(number)),
            None => Ok(None),
        };
        let Some(location) = entry("location") else {
            return corrupt(format!("tensor `{name}` is in another file, which is not named"));
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let file = self.open(location, name)?;
        let whole = self.bytes[file].len();
        let rest = whole.checked_sub(offset);
        let length = length.or(rest);
        match (length, rest) {
            (Some(length), Some(rest)) if length <= rest => Ok((file, offset, length)),
            _ => corrupt(format!(
                "tensor `{name}` is at byte {offset} of `{location}`, which has {whole} bytes"
            )),
        }
    }

    /// The number of a file beside the ONNX file, which is read if it was not yet.
    fn open(&mut self, location: &str, name: &str) -> Result<usize, Fault> {
        let mut path = PathBuf::new();
        for component in Path::new(location).components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                _ => {
                    return unknown(format!(
                        "tensor `{name}` is in `{location}`, outside the ONNX file's folder; refused"
                    ));
                }
            }
        }
        if let Some(&number) = self.numbers.get(&path) {
            return Ok(number);
        }
        let Some(folder) = &self.folder else {
            return unknown(format!(
                "tensor `{name}` is in the file `{location}`, and the ONNX file was given as bytes; \
                 import it from its folder, or save it in one piece (`external_data=False`)"
            ));
        };
        let bytes = resnet_runtime::file::read(&folder.join(&path)).map_err(|error| {
            Fault::Unknown(format!(
                "cannot read `{location}`, which has the elements of tensor `{name}`: {error}. It has \
                 to lie beside the ONNX file, under the name that it was saved with"
            ))
        })?;
        let number = self.bytes.len();
        self.bytes.push(bytes.into());
        self.numbers.insert(path, number);
        Ok(number)
    }
}

/// How many elements a shape has, if that can be counted.
pub(super) fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// The numbers of a list of variable-length integers; `None` where it is cut off.
fn listed(bytes: &Bytes) -> impl Iterator<Item = Option<i64>> {
    let mut bytes = bytes.clone();
    std::iter::from_fn(move || {
        if !bytes.has_remaining() {
            return None;
        }
        let number = decode_varint(&mut bytes).ok();
        if number.is_none() {
            bytes.clear();
        }
        Some(number.map(|number| number.cast_signed()))
    })
}
