//! `resnet run`: answers to pictures, or to an array.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use resnet::{Feature, Fed, Images, Info, Model, Source, classify, feed};
use resnet_compiler::graph::{Graph, Shape};
use resnet_compiler::network::Compiled;
use resnet_runtime::session::Answer as Kind;
use serde::Serialize;

use crate::args::{Run, RunFormat};
use crate::interrupt::{self, Interrupted};
use crate::model::{
    backend_for, compile, labels, note_preprocess, open_model, open_weights, weights,
};
use crate::npy;
use crate::output::{self, Output};
use crate::pictures::{Array, Inputs, gather, picture};
use crate::progress::progress;
use crate::stdin::is_stdin;
use crate::voice::escaped;
use crate::{Outcome, is_broken_pipe};

pub(crate) fn run(options: &Run, out: &mut dyn Write) -> Result<Outcome> {
    let model = open_model(&options.model.model)?;
    let opened = open_weights(options.weights.weights.as_deref(), options.engine.no_map)?;
    let graph = Graph::build(&model.spec)?;
    let (source, files) = source(options, &model, &graph)?;
    let backend = backend_for(options.engine.backend, &graph, source.len());
    let compiled = compile(&model, &options.engine, backend, 1, opened.as_ref())?;
    let answer = Answer::of(&model, &compiled, options)?;
    let format = options.format;
    ensure!(
        answer.classifies || options.output.is_some() || format != RunFormat::Text,
        "`{}` ends in features of {:?}, not in classes: give it `--output Y.npy` or \
         `--format json`",
        compiled.info().name,
        answer.shape
    );
    let arrays = match &options.output {
        Some(path) => {
            arrays(path, options.force.force, &answer, &compiled.info().features, &files)?
        }
        None => Vec::new(),
    };
    let weights = weights(opened, options.weights.random_weights, compiled.tensors())?;
    let network = compiled.load_on(&weights, options.engine.threads.get())?;

    let bar = progress(source.len(), true);
    let mut failed = 0;
    // Where the array goes to standard output, nothing else does.
    let closed = arrays.iter().any(|part| part.file.is_stdout());
    let mut printer = Printer { out, format, answer, arrays, printed: 0, closed };
    // Before the first character of what has to be closed.
    interrupt::stops();
    printer.begin(source.len())?;
    let done = feed(&*network, &source, options.engine.threads.get(), |index, fed| {
        interrupt::check()?;
        let input = source.name(index);
        match &fed {
            Err(error) => {
                failed += 1;
                bar.suspend(|| crate::voice::error!("{error:#}"));
            }
            Ok(fed) => {
                if let Some(doubt) = &fed.doubt {
                    bar.suspend(|| crate::voice::warning!("{doubt}"));
                }
                if !fed.answer.iter().all(|value| value.is_finite()) {
                    bar.suspend(|| {
                        crate::voice::warning!(
                            "the answer to `{input}` has values that are not finite"
                        );
                    });
                }
            }
        }
        printer.print(&input, fed)?;
        bar.inc(1);
        anyhow::Ok(())
    });
    bar.finish_and_clear();
    match done {
        Ok(()) => printer.end()?,
        Err(error) if error.is::<Interrupted>() => {
            printer.close()?;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    if failed > 0 && source.len() > 1 {
        crate::voice::error!("{failed} of {} inputs have no answer", source.len());
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The pictures or the array that the command line names, and the files that are read.
fn source(options: &Run, model: &Model, graph: &Graph) -> Result<(Inputs, Vec<PathBuf>)> {
    let Shape { channels, height, width } = graph.input_shape();
    let shape = [channels, height, width];
    let mut files = model.files();
    files.extend(options.weights.weights.clone());
    files.extend(options.engine.algorithms.schedule.clone());
    if let Some(path) = &options.input {
        files.push(path.clone());
        return Ok((Inputs::Array(Array::open(path, shape)?), files));
    }
    let paths = gather(&options.images)?;
    files.extend_from_slice(&paths);
    if options.weights.weights.is_some() {
        note_preprocess(model);
    }
    let preprocess = model.spec.preprocess.clone();
    let pictures = paths.iter().map(|path| picture(path)).collect::<Result<_>>()?;
    let pictures = Images::new(pictures, preprocess, shape)?;
    Ok((Inputs::Images(pictures.allow_damaged(options.reading.allow_damaged)), files))
}

/// A file that gets a part of every answer.
struct Part {
    file: Output,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

/// One file for the answers, or one for each feature: `Y.npy` becomes `Y.conv2_x.npy` and so on.
fn arrays(
    path: &Path,
    force: bool,
    answer: &Answer,
    features: &[Feature],
    inputs: &[PathBuf],
) -> Result<Vec<Part>> {
    if features.is_empty() {
        let range = 0..answer.shape.iter().product();
        let file = Output::create(path, output::Kind::Array, force, inputs)?;
        let shape = answer.shape.clone();
        return Ok(vec![Part { file, shape, range }]);
    }
    ensure!(
        !is_stdin(path),
        "there are {} features for as many files: name them with `--output Y.npy`",
        features.len()
    );
    let part = |feature: &Feature| {
        let name = &feature.name;
        let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        ensure!(plain, "the layer `{name}` cannot be a part of a file's name: call it otherwise");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let path = path.with_file_name(format!("{stem}.{name}.{extension}"));
        let range = feature.offset..feature.offset + feature.len();
        let file = Output::create(&path, output::Kind::Array, force, inputs)?;
        Ok(Part { file, shape: feature.shape.to_vec(), range })
    };
    features.iter().map(part).collect()
}

/// What an answer means.
struct Answer {
    /// The network's name.
    name: String,
    /// `[classes]`, or `[channels, height, width]` of features; all of them together if there are
    /// several.
    shape: Vec<usize>,
    classifies: bool,
    kind: Kind,
    labels: Option<Vec<String>>,
    /// Names and shapes of the features that the table names.
    features: Vec<(String, [usize; 3])>,
    /// How many classes are shown.
    top: usize,
    /// JSON has the whole answer.
    whole: bool,
}

impl Answer {
    fn of(model: &Model, compiled: &Compiled, options: &Run) -> Result<Self> {
        let graph = compiled.graph();
        let shape = graph.output_shape();
        let Info { answer, features, .. } = compiled.info();
        let classifies = *answer != Kind::Features;
        Ok(Self {
            name: graph.name.clone(),
            shape: match classifies {
                true => vec![shape.channels],
                false if !features.is_empty() => vec![graph.output_len()],
                false => vec![shape.channels, shape.height, shape.width],
            },
            classifies,
            kind: *answer,
            labels: labels(model, options.labels.labels.as_deref(), graph.output_len())?
                .map(|labels| labels.names().to_vec()),
            features: features.iter().map(|f| (f.name.to_string(), f.shape)).collect(),
            top: options.top.get(),
            whole: options.logits || !classifies,
        })
    }

    /// The likeliest classes of an answer.
    fn top(&self, values: &[f32]) -> Vec<Class<'_>> {
        let class = |(class, probability): (usize, f64)| Class {
            class,
            label: self.labels.as_ref().map(|labels| labels[class].as_str()),
            probability,
        };
        let classes = classify(self.kind, values, self.top).unwrap_or_default();
        classes.into_iter().map(class).collect()
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
    /// The picture is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
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

/// Prints results as they come, and writes the array.
struct Printer<'a> {
    out: &'a mut dyn Write,
    format: RunFormat,
    answer: Answer,
    arrays: Vec<Part>,
    printed: usize,
    /// Nobody reads `out` any more.
    closed: bool,
}

impl Printer<'_> {
    fn begin(&mut self, inputs: usize) -> Result<()> {
        for part in &mut self.arrays {
            let shape = [&[inputs][..], &part.shape].concat();
            npy::write_header(&mut part.file, &shape)?;
        }
        if self.format == RunFormat::Json && !self.closed {
            let name = serde_json::to_string(&self.answer.name)?;
            let shape = serde_json::to_string(&self.answer.shape)?;
            let features = match self.answer.features.is_empty() {
                true => String::new(),
                false => {
                    format!("\"features\": {}, ", serde_json::to_string(&self.answer.features)?)
                }
            };
            let head = format!("{{\"name\": {name}, \"output\": {shape}, {features}\"results\": [");
            let written = self.out.write_all(head.as_bytes());
            self.tolerate(written.map_err(Into::into))?;
        }
        Ok(())
    }

    fn print(&mut self, input: &str, fed: Result<Fed>) -> Result<()> {
        let (values, doubt) = match fed {
            Ok(fed) => (Ok(fed.answer), fed.doubt),
            Err(error) => (Err(error), None),
        };
        for part in &mut self.arrays {
            let missing = vec![f32::NAN; part.range.len()];
            let row = values.as_ref().map_or(&missing[..], |values| &values[part.range.clone()]);
            npy::write_values(&mut part.file, row)?;
        }
        if !self.closed {
            let shown = match (self.format, values) {
                (RunFormat::Json | RunFormat::Jsonl, values) => self.json(input, values, doubt),
                (RunFormat::Text, Ok(values)) if self.answer.classifies => {
                    self.text(input, &values)
                }
                (RunFormat::Text, _) => Ok(()),
            };
            self.tolerate(shown)?;
        }
        self.printed += 1;
        Ok(())
    }

    /// `run ... --output Y.npy | head` has seen enough, but still wants the whole array.
    fn tolerate(&mut self, shown: Result<()>) -> Result<()> {
        match shown.and_then(|()| Ok(self.out.flush()?)) {
            Err(error) if !self.arrays.is_empty() && is_broken_pipe(&error) => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    fn text(&mut self, input: &str, values: &[f32]) -> Result<()> {
        writeln!(self.out, "{}", escaped(input, ""))?;
        for Class { class, label, probability } in self.answer.top(values) {
            let percent = 100.0 * probability;
            match label {
                Some(label) => {
                    writeln!(self.out, "  {percent:6.2}%  {}", escaped(label, ""))?;
                }
                None => writeln!(self.out, "  {percent:6.2}%  class {class}")?,
            }
        }
        Ok(())
    }

    fn json(
        &mut self,
        input: &str,
        values: Result<Vec<f32>>,
        warning: Option<String>,
    ) -> Result<()> {
        let lines = self.format == RunFormat::Jsonl;
        if !lines {
            self.out.write_all(if self.printed == 0 { b"\n" } else { b",\n" })?;
        }
        let item = match &values {
            Err(error) => {
                let error = Some(format!("{error:#}"));
                Item { input, error, warning, top: None, values: None }
            }
            Ok(values) => Item {
                input,
                error: None,
                warning,
                top: self.answer.classifies.then(|| self.answer.top(values)),
                values: self.answer.whole.then_some(match self.answer.kind {
                    Kind::Features => Values::Features(values),
                    Kind::Probabilities => Values::Probabilities(values),
                    Kind::Logits => Values::Logits(values),
                }),
            },
        };
        serde_json::to_writer(&mut self.out, &item)?;
        if lines {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.close()?;
        self.arrays.into_iter().try_for_each(|part| part.file.finish())
    }

    /// Ends the JSON.
    fn close(&mut self) -> Result<()> {
        if self.format == RunFormat::Json && !self.closed {
            let written = self.out.write_all(b"\n]}\n");
            self.tolerate(written.map_err(Into::into))?;
        }
        Ok(())
    }
}
