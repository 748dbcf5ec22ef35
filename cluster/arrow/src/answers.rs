//! Arrow arrays of answers.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int32Builder, StringBuilder};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{DataType, Field, Fields};
use resnet::{Answer as Kind, Labels, classify};

/// What a network makes of a row.
pub(crate) enum Answer<'a> {
    /// There is no picture.
    Null,
    /// The picture cannot be used, and why.
    Broken(String),
    /// The network's numbers.
    Values(&'a [f32]),
}

/// Builds an array of answers, row by row.
pub(crate) trait Answers {
    fn push(&mut self, answer: Answer<'_>);

    fn finish(self: Box<Self>) -> StructArray;
}

fn classes_fields() -> Fields {
    Fields::from(vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("class", DataType::Int32, true),
        Field::new("probability", DataType::Float64, true),
        Field::new("error", DataType::Utf8, true),
    ])
}

/// The type of classes: a struct of `label` (Utf8; `class 3` where the table has no labels), `class` (Int32),
/// `probability` (Float64, the label's) and `error` (Utf8).
pub fn classes_type() -> DataType {
    DataType::Struct(classes_fields())
}

fn features_fields(len: usize) -> Fields {
    Fields::from(vec![
        Field::new("features", list_of(len), true),
        Field::new("error", DataType::Utf8, true),
    ])
}

fn list_of(len: usize) -> DataType {
    let len = i32::try_from(len).expect("an answer has at most 2^31 elements");
    DataType::FixedSizeList(element(), len)
}

fn element() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, false))
}

/// The type of features: a struct of `features` (a list of `len` Float32, in channel, row, column order) and
/// `error` (Utf8).
pub fn features_type(len: usize) -> DataType {
    DataType::Struct(features_fields(len))
}

/// The likeliest class of each row.
pub(crate) struct Classes<'a> {
    kind: Kind,
    labels: Option<&'a Labels>,
    label: StringBuilder,
    class: Int32Builder,
    probability: Float64Builder,
    error: StringBuilder,
    valid: NullBufferBuilder,
}

impl<'a> Classes<'a> {
    pub(crate) fn new(kind: Kind, labels: Option<&'a Labels>, rows: usize) -> Self {
        Self {
            kind,
            labels,
            label: StringBuilder::new(),
            class: Int32Builder::with_capacity(rows),
            probability: Float64Builder::with_capacity(rows),
            error: StringBuilder::new(),
            valid: NullBufferBuilder::new(rows),
        }
    }

    fn class(&mut self, class: usize, probability: f64) {
        match self.labels {
            Some(labels) => self.label.append_value(&labels.names()[class]),
            None => self.label.append_value(format!("class {class}")),
        }
        self.class.append_value(class as i32);
        self.probability.append_value(probability);
        self.error.append_null();
    }
}

impl Answers for Classes<'_> {
    fn push(&mut self, answer: Answer<'_>) {
        self.valid.append(!matches!(answer, Answer::Null));
        let error = match answer {
            Answer::Values(values) => match classify(self.kind, values, 1).as_deref() {
                Some(&[(class, probability)]) => return self.class(class, probability),
                _ => unreachable!("a network that classifies has at least one class"),
            },
            Answer::Broken(error) => Some(error),
            Answer::Null => None,
        };
        self.label.append_null();
        self.class.append_null();
        self.probability.append_null();
        self.error.append_option(error);
    }

    fn finish(mut self: Box<Self>) -> StructArray {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.label.finish()),
            Arc::new(self.class.finish()),
            Arc::new(self.probability.finish()),
            Arc::new(self.error.finish()),
        ];
        StructArray::new(classes_fields(), columns, self.valid.finish())
    }
}

/// The whole answer of each row.
pub(crate) struct Features {
    len: usize,
    values: Vec<f32>,
    present: NullBufferBuilder,
    error: StringBuilder,
    valid: NullBufferBuilder,
}

impl Features {
    pub(crate) fn new(len: usize, rows: usize) -> Self {
        Self {
            len,
            values: Vec::with_capacity(len * rows),
            present: NullBufferBuilder::new(rows),
            error: StringBuilder::new(),
            valid: NullBufferBuilder::new(rows),
        }
    }
}

impl Answers for Features {
    fn push(&mut self, answer: Answer<'_>) {
        self.valid.append(!matches!(answer, Answer::Null));
        self.present.append(matches!(answer, Answer::Values(_)));
        match answer {
            Answer::Values(values) => self.values.extend_from_slice(values),
            Answer::Broken(_) | Answer::Null => {
                self.values.resize(self.values.len() + self.len, 0.0)
            }
        }
        self.error.append_option(if let Answer::Broken(error) = answer {
            Some(error)
        } else {
            None
        });
    }

    fn finish(mut self: Box<Self>) -> StructArray {
        let DataType::FixedSizeList(element, len) = list_of(self.len) else { unreachable!() };
        let values = Arc::new(Float32Array::from(self.values));
        let features = FixedSizeListArray::new(element, len, values, self.present.finish());
        let columns: Vec<ArrayRef> = vec![Arc::new(features), Arc::new(self.error.finish())];
        StructArray::new(features_fields(self.len), columns, self.valid.finish())
    }
}
