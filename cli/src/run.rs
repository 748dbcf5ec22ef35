//! `resnet run`: answers to pictures, or to an array.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use resnet::compiler::graph::Op;
use resnet::compiler::network::Compiled;
use serde::Serialize;

use crate::Outcome;
use crate::args::{Format, Run};
use crate::classes::{softmax, top};
use crate::feed::{Source, answers, progress};
use crate::model::{Model, weights};
use crate::npy;
use crate::output::Output;
use crate::pictures::{Array, Pictures, gather};

pub(crate) fn run(options: &Run, out: &mut dyn Write) -> Result<Outcome> {
    let model = Model::open(&options.model.model)?;
    let compiled = model.compile(&options.engine, 1)?;
    let answer = Answer::of(&model, &compiled, options.top.get())?;
    ensure!(
        answer.classifies || options.output.is_some() || options.format.format == Format::Json,
        "`{}` ends in features of {:?}, not in classes: give it `--output Y.npy` or \
         `--format json`",
        compiled.info().name,
        answer.shape
    );
    let source = source(options, &model, &compiled)?;
    let mut array =
        options.output.as_deref().map(|path| array(path, options, &model)).transpose()?;
    let random = options.weights.random_weights;
    let weights = weights(options.weights.weights.as_deref(), random, &compiled)?;
    let network = compiled.load(&weights)?;
    if let Some(array) = &mut array {
        let shape = [&[source.len()][..], &answer.shape].concat();
        npy::write_header(array, &shape).context(CANNOT_WRITE)?;
    }

    let mut printer = Printer { out, format: options.format.format, printed: 0 };
    printer.begin(&answer)?;
    let bar = progress(source.len(), true);
    let mut outcome = Outcome::Done;
    answers(&*network, &*source, options.engine.threads(), |index, values| {
        let input = source.name(index);
        let values = values.inspect_err(|error| {
            outcome = Outcome::SomeFailed;
            bar.suspend(|| eprintln!("error: {error:#}"));
        });
        if let Ok(values) = &values
            && values.iter().any(|value| !value.is_finite())
        {
            bar.suspend(|| {
                eprintln!("warning: the answer to `{input}` has values that are not finite")
            });
        }
        if let Some(array) = &mut array {
            let missing = || vec![f32::NAN; answer.shape.iter().product()];
            let row = values.as_ref().map_or_else(|_| missing(), Clone::clone);
            npy::write_values(array, &row).context(CANNOT_WRITE)?;
        }
        printer.print(&answer, &input, values)?;
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();
    printer.end()?;
    if let Some(array) = array {
        array.finish()?;
    }
    Ok(outcome)
}

const CANNOT_WRITE: &str = "cannot write the answers";

/// The pictures or the array that the command line names.
fn source(options: &Run, model: &Model, compiled: &Compiled) -> Result<Box<dyn Source>> {
    let shape = compiled.info().input;
    Ok(match &options.input {
        Some(path) => Box::new(Array::open(path, shape)?),
        None => {
            let paths = gather(&options.images)?;
            Box::new(Pictures::new(paths, model.spec.preprocess.clone(), shape)?)
        }
    })
}

/// Prepares the file of the answers, which must not be one that is read.
fn array(path: &Path, options: &Run, model: &Model) -> Result<Output> {
    let weights = options.weights.weights.iter();
    let files = options.images.iter().chain(&options.input).chain(weights).chain(&model.path);
    Output::create(path, files.map(|file| file.as_path()))
}

/// What an answer means.
struct Answer {
    /// The network's name.
    name: String,
    /// `[classes]`, or `[channels, height, width]` of features.
    shape: Vec<usize>,
    classifies: bool,
    /// The network itself ends in softmax.
    softmax: bool,
    labels: Option<Vec<String>>,
    /// How many classes are shown.
    top: usize,
}

impl Answer {
    fn of(model: &Model, compiled: &Compiled, top: usize) -> Result<Self> {
        let graph = compiled.graph();
        let shape = graph.output_shape();
        let op = &graph.node(graph.output).op;
        let classifies = shape.pixels() == 1;
        Ok(Self {
            name: graph.name.clone(),
            shape: match classifies {
                true => vec![shape.channels],
                false => vec![shape.channels, shape.height, shape.width],
            },
            classifies,
            softmax: matches!(op, Op::Softmax),
            labels: model.labels(shape.elements())?,
            top,
        })
    }

    /// The likeliest classes of an answer.
    fn top(&self, values: &[f32]) -> Vec<Class<'_>> {
        if !self.classifies {
            return Vec::new();
        }
        let probabilities = match self.softmax {
            true => values.iter().map(|&value| f64::from(value)).collect(),
            false => softmax(values),
        };
        let class = |class: usize| Class {
            class,
            label: self.labels.as_ref().map(|labels| labels[class].as_str()),
            probability: probabilities[class],
        };
        top(values, self.top).into_iter().map(class).collect()
    }
}

/// One line of an answer.
#[derive(Serialize)]
struct Class<'a> {
    class: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    probability: f64,
}

/// An element of the JSON's `results`.
#[derive(Serialize)]
struct Item<'a> {
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Class<'a>>>,
    /// The network's answer: logits, or if it ends in softmax probabilities, or features.
    #[serde(flatten)]
    values: Option<Values<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Values<'a> {
    Logits(&'a [f32]),
    Probabilities(&'a [f32]),
    Features(&'a [f32]),
}

/// Prints results as they come.
struct Printer<'a> {
    out: &'a mut dyn Write,
    format: Format,
    printed: usize,
}

impl Printer<'_> {
    fn begin(&mut self, answer: &Answer) -> Result<()> {
        if self.format == Format::Json {
            let name = serde_json::to_string(&answer.name)?;
            let shape = serde_json::to_string(&answer.shape)?;
            write!(self.out, "{{\"name\": {name}, \"output\": {shape}, \"results\": [")?;
        }
        Ok(())
    }

    fn print(&mut self, answer: &Answer, input: &str, values: Result<Vec<f32>>) -> Result<()> {
        match self.format {
            Format::Json => self.json(answer, input, values)?,
            Format::Text => {
                if let (Ok(values), true) = (values, answer.classifies) {
                    self.text(answer, input, &values)?;
                }
            }
        }
        self.printed += 1;
        self.out.flush()?;
        Ok(())
    }

    fn text(&mut self, answer: &Answer, input: &str, values: &[f32]) -> Result<()> {
        writeln!(self.out, "{input}")?;
        for Class { class, label, probability } in answer.top(values) {
            let percent = 100.0 * probability;
            match label {
                Some(label) => writeln!(self.out, "  {percent:6.2}%  {label}")?,
                None => writeln!(self.out, "  {percent:6.2}%  class {class}")?,
            }
        }
        Ok(())
    }

    fn json(&mut self, answer: &Answer, input: &str, values: Result<Vec<f32>>) -> Result<()> {
        self.out.write_all(if self.printed == 0 { b"\n" } else { b",\n" })?;
        let result = match &values {
            Err(error) => {
                Item { input, error: Some(format!("{error:#}")), top: None, values: None }
            }
            Ok(values) => Item {
                input,
                error: None,
                top: answer.classifies.then(|| answer.top(values)),
                values: Some(match (answer.classifies, answer.softmax) {
                    (false, _) => Values::Features(values),
                    (true, true) => Values::Probabilities(values),
                    (true, false) => Values::Logits(values),
                }),
            },
        };
        serde_json::to_writer(&mut self.out, &result)?;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "\n]}}")?;
        }
        self.out.flush()?;
        Ok(())
    }
}
