//! A network that takes arrays of pictures.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::{Array, StructArray};
use resnet::{
    Answer as Kind, Choices, CompileError, DynSession, ImageError, Info, Labels, LoadError, Model,
    ModelError, Network, Preprocess, Spec, Weights, WeightsError,
};

use crate::answers::{Answer, Answers, Classes, Features};
use crate::description::{Description, fingerprint};
use crate::pictures::{Picture, UnknownType, rows};

/// A network with its weights, which any number of threads may ask at the same time.
pub struct ArrowNetwork {
    description: Description,
    preprocess: Preprocess,
    labels: Option<Labels>,
    classes: Option<Part>,
    /// Made when they are asked for first: a network is mostly used for one or the other.
    features: OnceLock<Result<Part, String>>,
    source: Option<Source>,
}

/// Where features are made from.
struct Source {
    model: Model,
    weights: Weights,
    batch: usize,
}

/// A network of one answer, and the sessions that no call uses at the moment.
struct Part {
    network: Box<dyn Network>,
    batch: usize,
    idle: Mutex<Vec<Worker>>,
}

/// What a call needs for itself.
struct Worker {
    session: Box<dyn DynSession>,
    /// Room for the pictures that are computed together.
    input: Vec<f32>,
    output: Vec<f32>,
}

/// Why a network could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The table or the labels.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The weights' file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights' file cannot be read to its end.
    #[error("cannot read the weights `{path}`: {reason}")]
    Read {
        /// The path as it was given.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The table cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The weights do not fit the table.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No picture can ever be what the network takes.
    #[error(transparent)]
    Preprocess(#[from] ImageError),
}

/// Why an array has no answers. A picture that cannot be used is no such error.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The array does not hold pictures.
    #[error(transparent)]
    Type(#[from] UnknownType),
    /// The network has not what is asked for.
    #[error("`{network}` has no {asked}: {reason}")]
    Answer {
        /// The network's name.
        network: String,
        /// `classes` or `features`.
        asked: &'static str,
        /// Why.
        reason: String,
    },
    /// No memory for a session.
    #[error("no memory for the network's activations: {0}")]
    Memory(#[from] io::Error),
}

impl ArrowNetwork {
    /// Pictures that are decoded and computed together, whatever the number of rows: one, as in the command. More share
    /// each reading of the weights, and their activations leave the core's caches, which costs more.
    pub const BATCH: usize = 1;

    /// Opens a network: a table's file or a network of the zoo by its name, and its weights, a safetensors file or one
    /// that `resnet pack` wrote, which is mapped.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the table, the labels that it names, or the weights.
    pub fn open(model: impl AsRef<Path>, weights: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_for(model, weights, Self::BATCH)
    }

    /// [`open`](Self::open) with another number of pictures at a time. Answers have the same bits.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_for(
        model: impl AsRef<Path>,
        weights: impl AsRef<Path>,
        batch: usize,
    ) -> Result<Self, OpenError> {
        let opened = Opened::new(model.as_ref(), weights.as_ref())?;
        let Opened { description, model, weights, labels } = opened;
        let part = Part::new(&model.spec, &weights, batch)?;
        let preprocess = model.spec.preprocess.clone();
        preprocess.check(part.network.info().input)?;
        let (classes, features) = match part.network.info().answer {
            Kind::Features => (None, OnceLock::from(Ok(part))),
            Kind::Logits | Kind::Probabilities => (Some(part), OnceLock::new()),
        };
        let source = Some(Source { model, weights, batch });
        Ok(Self { description, preprocess, labels, classes, features, source })
    }

    /// What [`open`](Self::open) would open, without compiling it or reading weights into memory.
    ///
    /// # Errors
    ///
    /// What is wrong with the table or the labels, and weights that cannot be read.
    pub fn describe(
        model: impl AsRef<Path>,
        weights: impl AsRef<Path>,
    ) -> Result<Description, OpenError> {
        Ok(Opened::new(model.as_ref(), weights.as_ref())?.description)
    }

    /// A network that is in the program already, such as one of `resnet!` with embedded weights. It has the answer
    /// that it has, classes or features, and others know it by `fingerprint`, which is the caller's to choose.
    ///
    /// # Errors
    ///
    /// A preprocessing that does not make what the network takes.
    pub fn embedded(
        network: Box<dyn Network>,
        preprocess: Preprocess,
        labels: Option<Labels>,
        fingerprint: u64,
    ) -> Result<Self, OpenError> {
        let Info { ref name, input, outputs, answer, .. } = *network.info();
        preprocess.check(input)?;
        let name = name.to_string();
        let part = |network| Part { network, batch: Self::BATCH, idle: Mutex::default() };
        let (counts, classes, features) = match answer {
            Kind::Features => ((0, outputs), None, OnceLock::from(Ok(part(network)))),
            Kind::Logits | Kind::Probabilities => {
                ((outputs, 0), Some(part(network)), OnceLock::new())
            }
        };
        let description = Description { name, fingerprint, classes: counts.0, features: counts.1 };
        Ok(Self { description, preprocess, labels, classes, features, source: None })
    }

    /// Which network this is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The likeliest class of each picture, as [`classes_type`](crate::classes_type) says.
    ///
    /// # Errors
    ///
    /// An array that does not hold pictures, a network without classes, no memory.
    pub fn classify(&self, pictures: &dyn Array) -> Result<StructArray, RowsError> {
        let Some(part) = &self.classes else {
            return Err(self.has_no("classes", "it ends in features".to_owned()));
        };
        let kind = part.network.info().answer;
        let answers = Box::new(Classes::new(kind, self.labels.as_ref(), pictures.len()));
        self.answer(part, pictures, answers)
    }

    /// The features of each picture, as [`features_type`](crate::features_type) says: the answer of a network that
    /// ends in features, of another one what goes into its classifier.
    ///
    /// # Errors
    ///
    /// An array that does not hold pictures, a network without features, no memory.
    pub fn features(&self, pictures: &dyn Array) -> Result<StructArray, RowsError> {
        let part = self.features.get_or_init(|| {
            let Some(Source { model, weights, batch }) = &self.source else {
                return Err("it is embedded and ends in classes".to_owned());
            };
            let spec = model.spec.embedding().map_err(|error| error.to_string())?;
            Part::new(&spec, weights, *batch).map_err(|error| error.to_string())
        });
        let part = part.as_ref().map_err(|reason| self.has_no("features", reason.clone()))?;
        let answers = Box::new(Features::new(part.network.info().outputs, pictures.len()));
        self.answer(part, pictures, answers)
    }

    fn has_no(&self, asked: &'static str, reason: String) -> RowsError {
        RowsError::Answer { network: self.description.name.clone(), asked, reason }
    }

    fn answer(
        &self,
        part: &Part,
        pictures: &dyn Array,
        mut answers: Box<dyn Answers + '_>,
    ) -> Result<StructArray, RowsError> {
        let picture = rows(pictures)?;
        let mut worker = part.worker()?;
        let mut group = Group::new(part, &mut worker);
        for row in 0..pictures.len() {
            group.push(picture(row), &self.preprocess, &mut *answers);
        }
        group.flush(&mut *answers);
        part.put_back(worker);
        Ok(answers.finish())
    }
}

/// A table, its weights and what is said of them.
struct Opened {
    description: Description,
    model: Model,
    weights: Weights,
    labels: Option<Labels>,
}

impl Opened {
    fn new(model: &Path, path: &Path) -> Result<Self, OpenError> {
        let model = Model::open(model)?;
        let weights = Weights::open(path)?;
        let plan = model.compiler().weights(&weights).plan()?;
        let outputs = plan.info.outputs;
        let (classes, features, labels) = match plan.info.answer {
            Kind::Features => (0, outputs, None),
            Kind::Logits | Kind::Probabilities => {
                let embedding = model.spec.embedding().ok();
                let plan = embedding.map(|spec| resnet::Compiler::new(&spec).plan()).transpose()?;
                (outputs, plan.map_or(0, |plan| plan.info.outputs), model.labels(outputs)?)
            }
        };
        let name = plan.info.name.to_string();
        let fingerprint = fingerprint(&model, labels.as_ref(), path)
            .map_err(|reason| OpenError::Read { path: path.to_owned(), reason })?;
        let description = Description { name, fingerprint, classes, features };
        Ok(Self { description, model, weights, labels })
    }
}

impl Part {
    fn new(spec: &Spec, weights: &Weights, batch: usize) -> Result<Self, OpenError> {
        let compiler = resnet::Compiler::new(spec).weights(weights);
        // For another batch the compiler may choose other algorithms, with other last bits. These are the choices that
        // a single picture has in the command.
        let choices = Choices { batch, ..compiler.plan()?.choices };
        let compiled = compiler.choices(Arc::new(choices)).batch(batch).compile()?;
        Ok(Self { network: compiled.load(weights)?, batch, idle: Mutex::default() })
    }

    /// A worker that no other call has.
    fn worker(&self) -> io::Result<Worker> {
        // A panic while the list is locked cannot leave it in between.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(worker) = idle {
            return Ok(worker);
        }
        let info = self.network.info();
        Ok(Worker {
            session: self.network.session_in(None)?,
            input: vec![0.0; self.batch * info.input_len()],
            output: vec![0.0; self.batch * info.outputs],
        })
    }

    fn put_back(&self, worker: Worker) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}

/// Rows whose pictures are computed together.
struct Group<'a> {
    part: &'a Part,
    worker: &'a mut Worker,
    /// What is known of the rows since the last run: that the picture is the next of the input, or why there is none.
    rows: Vec<Result<(), Option<String>>>,
    /// Pictures in the input.
    filled: usize,
}

impl<'a> Group<'a> {
    fn new(part: &'a Part, worker: &'a mut Worker) -> Self {
        Self { part, worker, rows: Vec::new(), filled: 0 }
    }

    fn push(
        &mut self,
        picture: Option<Picture<'_>>,
        preprocess: &Preprocess,
        answers: &mut dyn Answers,
    ) {
        let Info { input: shape, .. } = *self.part.network.info();
        let len = shape.iter().product::<usize>();
        let input = &mut self.worker.input[self.filled * len..][..len];
        let row = picture.ok_or(None).and_then(|picture| {
            let decoded = picture.decode().map_err(Some)?;
            preprocess.apply_into(&decoded, shape, input).map_err(|error| Some(error.to_string()))
        });
        self.filled += usize::from(row.is_ok());
        self.rows.push(row);
        if self.filled == self.part.batch {
            self.flush(answers);
        }
    }

    /// Computes what is waiting, and hands out the answers in the rows' order.
    fn flush(&mut self, answers: &mut dyn Answers) {
        let info = self.part.network.info();
        let Worker { session, input, output } = &mut *self.worker;
        let output = &mut output[..self.filled * info.outputs];
        session
            .run_batch(&input[..self.filled * info.input_len()], output)
            .expect("these are whole pictures, and room for their answers");
        let mut values = output.chunks_exact(info.outputs);
        for row in self.rows.drain(..) {
            answers.push(match row {
                Ok(()) => finite(values.next().expect("a picture has an answer")),
                Err(Some(error)) => Answer::Broken(error),
                Err(None) => Answer::Null,
            });
        }
        self.filled = 0;
    }
}

/// An answer, unless it is none.
fn finite(values: &[f32]) -> Answer<'_> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Answer::Values(values),
        Some(value) => Answer::Broken(format!(
            "the network's answer has the value {value}, which is not finite: its activations overflow"
        )),
    }
}
