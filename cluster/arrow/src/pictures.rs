//! Arrow arrays of pictures: their bytes, or the paths of their files.

use std::path::Path;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use resnet::{Image, ImageError};

/// The types that pictures can have: of bytes, and of paths, which the machine that computes opens.
pub const PICTURE_TYPES: [DataType; 6] = [
    DataType::Binary,
    DataType::LargeBinary,
    DataType::BinaryView,
    DataType::Utf8,
    DataType::LargeUtf8,
    DataType::Utf8View,
];

/// An array of another type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "pictures are bytes (Binary, LargeBinary, BinaryView) or paths of files (Utf8, LargeUtf8, Utf8View), not {0}"
)]
pub struct UnknownType(pub DataType);

/// A picture that is not decoded yet.
pub(crate) enum Picture<'a> {
    Bytes(&'a [u8]),
    Path(&'a str),
}

impl Picture<'_> {
    pub(crate) fn decode(&self) -> Result<Image, String> {
        match self {
            Self::Bytes(bytes) => Image::decode(bytes)
                .map_err(|reason| format!("cannot decode the picture: {reason}")),
            Self::Path(path) => {
                Image::open(Path::new(path)).map_err(|error: ImageError| error.to_string())
            }
        }
    }
}

/// What gives the picture of a row, which is `None` if it is NULL.
pub(crate) fn rows<'a>(
    pictures: &'a dyn Array,
) -> Result<Box<dyn Fn(usize) -> Option<Picture<'a>> + 'a>, UnknownType> {
    macro_rules! each {
        ($array:expr, $picture:path) => {{
            let array = $array;
            Ok(Box::new(move |row| array.is_valid(row).then(|| $picture(array.value(row)))))
        }};
    }
    match pictures.data_type() {
        DataType::Binary => each!(pictures.as_binary::<i32>(), Picture::Bytes),
        DataType::LargeBinary => each!(pictures.as_binary::<i64>(), Picture::Bytes),
        DataType::BinaryView => each!(pictures.as_binary_view(), Picture::Bytes),
        DataType::Utf8 => each!(pictures.as_string::<i32>(), Picture::Path),
        DataType::LargeUtf8 => each!(pictures.as_string::<i64>(), Picture::Path),
        DataType::Utf8View => each!(pictures.as_string_view(), Picture::Path),
        DataType::Null => Ok(Box::new(|_| None)),
        other => Err(UnknownType(other.clone())),
    }
}
