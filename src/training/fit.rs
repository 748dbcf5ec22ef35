//! The classifier alone: features of images by a network that was trained before, computed once, and a logistic regression over
//! them.

mod lbfgs;
mod logistic;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use resnet_compiler::classes::ClassesError;
use resnet_compiler::graph::{Graph, Op};
use resnet_compiler::network::{CompileError, Compiler};
use resnet_compiler::spec::{Expect, Spec};
use resnet_runtime::kernels::Isa;
use resnet_runtime::session::Network;
use resnet_runtime::weights::{LoadError, Stored, TensorSpec, Weights, WeightsError, all_threads};

pub use logistic::{Classifier, fit};

use super::trainer::safetensors_of;
use super::{Dataset, Prepared};
use crate::{Diagnostics, FeedError, feed};

/// How a classifier is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// How much the images weigh against small weights: scikit-learn's `C`.
    pub c: f64,
    /// Threads; as many as this process may use if there is no number.
    pub threads: Option<NonZeroUsize>,
    /// The instruction set that makes the features; the best one of this CPU if none is named.
    pub isa: Option<Isa>,
}

impl Default for FitOptions {
    /// A `C` of 1, as scikit-learn's.
    fn default() -> Self {
        Self { c: 1.0, threads: None, isa: None }
    }
}

/// Why a classifier cannot be fitted.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Mistakes in the table.
    #[error(transparent)]
    Table(#[from] Diagnostics),
    /// The table does not end in a classifier, or cannot be changed.
    #[error(transparent)]
    Classes(#[from] ClassesError),
    /// Nothing stands before the classifier.
    #[error(
        "`{layer}` is the first row of `{network}`: there are no features to fit a classifier to"
    )]
    Empty {
        /// The network.
        network: String,
        /// The classifier.
        layer: String,
    },
    /// The weights are of integers.
    #[error(
        "`{origin}` is quantised (`{tensor}` is in 8 bits): fit the classifier to the weights in f32 that it was made of, \
         and quantise what comes of it"
    )]
    Quantised {
        /// Where the weights come from.
        origin: String,
        /// A tensor of integers.
        tensor: String,
    },
    /// The weights do not fit the table.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The network could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The network could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The features could not be made.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Options that make no sense.
    #[error("{0}")]
    Options(String),
    /// The images do not suit.
    #[error("{0}")]
    Data(String),
    /// The operating system starts no thread more.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// Weights cannot be written.
    #[error("cannot write the weights: {0}")]
    Write(String),
}

/// What a network makes of images before its classifier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Numbers of an image.
    pub width: usize,
    /// The numbers, one image after the other.
    pub values: Vec<f32>,
    /// The class of each image.
    pub classes: Vec<usize>,
}

impl Features {
    /// The features of each image, and its class.
    fn rows(&self) -> impl Iterator<Item = (&[f32], usize)> {
        self.values.chunks(self.width.max(1)).zip(self.classes.iter().copied())
    }

    /// Refuses what is not of so many classes, or no numbers.
    fn check(&self, classes: usize) -> Result<(), FitError> {
        let wrong = |what: String| Err(FitError::Data(what));
        let Self { width, values, classes: own } = self;
        if *width == 0 || values.len() != width * own.len() {
            return wrong(format!(
                "there are {} numbers for {} images of {width} features",
                values.len(),
                own.len()
            ));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (image, feature) = (at / width, at % width);
            return wrong(format!("feature {feature} of image {image} is {}", values[at]));
        }
        if let Some(image) = own.iter().position(|&class| class >= classes) {
            let class = own[image];
            return wrong(format!("image {image} is of class {class}, and there are {classes}"));
        }
        match own.is_empty() {
            true => wrong("there are no images".to_owned()),
            false => Ok(()),
        }
    }

    /// Refuses classes that nothing can be learned of.
    fn check_classes(&self, classes: usize) -> Result<(), FitError> {
        let wrong = |what: String| Err(FitError::Data(what));
        let own = &self.classes;
        if classes < 2 {
            return wrong(format!(
                "there are {} images of one class: there is nothing to tell it from",
                own.len()
            ));
        }
        let seen: BTreeSet<usize> = own.iter().copied().collect();
        match (0..classes).find(|class| !seen.contains(class)) {
            Some(class) => wrong(format!("class {class} of {classes} has no image")),
            None => Ok(()),
        }
    }
}

/// A network up to its classifier, which makes features of images.
pub struct Backbone {
    /// The table without the classifier.
    spec: Spec,
    network: Box<dyn Network>,
    /// All tensors but the classifier's.
    tensors: Vec<(TensorSpec, Vec<f32>)>,
    /// The names of the classifier's weight and bias.
    classifier: [String; 2],
    threads: NonZeroUsize,
}

impl Backbone {
    /// The network of a table whose last row, or the one before `softmax`, is a linear layer: whatever its classes, in the table
    /// and in the weights. Weights may lack the classifier's.
    ///
    /// # Errors
    ///
    /// A table with another end, or with nothing before it; weights that are quantised or packed, or do not fit.
    pub fn new(spec: &Spec, weights: &Weights, options: &FitOptions) -> Result<Self, FitError> {
        let at = spec.classifier()?;
        let whole = Graph::build(spec)?;
        let row = |node: &&resnet_compiler::graph::Node| node.row == Some(at);
        let Some(Op::Linear { weight, bias }) = whole.nodes.iter().find(row).map(|node| &node.op)
        else {
            unreachable!("the classifier is a linear layer");
        };
        let classifier = [weight.clone(), bias.clone()];
        let mut spec = spec.clone();
        let layer = spec.table[at].layer.value.clone();
        spec.table.truncate(at);
        if at == 0 {
            return Err(FitError::Empty { network: whole.name, layer });
        }
        (spec.expect, spec.labels) = (Expect::default(), None);
        let graph = Graph::build(&spec)?;
        if let Some(tensor) = weights.quantised().pop_first() {
            let origin = weights.origin().to_owned();
            return Err(FitError::Quantised { origin, tensor });
        }
        weights.check(&expected(&graph, weights, &classifier))?;
        let tensors =
            graph.tensors.iter().map(|spec| Ok((spec.clone(), weights.tensor(&spec.name)?.values)));
        let tensors = tensors.collect::<Result<Vec<_>, WeightsError>>()?;
        let threads = options.threads.unwrap_or_else(all_threads);
        let mut compiler = Compiler::new(&spec);
        if let Some(isa) = options.isa {
            compiler = compiler.isa(isa);
        }
        let own =
            Weights::from_bytes(safetensors_of(named(&tensors), None).map_err(FitError::Write)?)?;
        let network = compiler.compile()?.load_on(&own, threads)?;
        Ok(Self { spec, network, tensors, classifier, threads })
    }

    /// Numbers that it makes of an image.
    pub fn width(&self) -> usize {
        self.network.info().outputs
    }

    /// The features of images, which are prepared as for inference; `each` hears of every one.
    ///
    /// # Errors
    ///
    /// No images; one that cannot be had; a feature that is no number.
    pub fn features<D: Dataset + ?Sized>(
        &self,
        data: &D,
        mut each: impl FnMut(usize),
    ) -> Result<Features, FitError> {
        if data.is_empty() {
            return Err(FitError::Data("there are no images".to_owned()));
        }
        let info = self.network.info();
        let (preprocess, shape) = (&self.spec.preprocess, info.input);
        preprocess.check(shape).map_err(|error| FitError::Data(error.to_string()))?;
        let mut found = Features { width: info.outputs, ..Features::default() };
        let source = Prepared::new(data, preprocess, shape);
        feed(&*self.network, &source, self.threads, |index, fed| {
            let answer = fed.map_err(FitError::Data)?.answer;
            if let Some(feature) = answer.iter().position(|value| !value.is_finite()) {
                return Err(FitError::Data(format!(
                    "{}: feature {feature} is {}; the network's activations overflow",
                    data.name(index),
                    answer[feature]
                )));
            }
            found.values.extend_from_slice(&answer);
            found.classes.push(data.class(index));
            each(index);
            Ok(())
        })?;
        Ok(found)
    }

    /// All weights of the network with this classifier, as a safetensors file. Its table is
    /// [`Spec::with_classes`].
    ///
    /// # Errors
    ///
    /// A classifier of other features; what cannot be put together.
    pub fn weights(&self, classifier: &Classifier) -> Result<Vec<u8>, FitError> {
        let (width, classes) = (self.width(), classifier.bias.len());
        if classifier.weight.len() != width * classes {
            let found = classifier.weight.len();
            return Err(FitError::Data(format!(
                "the classifier has {found} weights; {classes} classes of {width} features have {}",
                width * classes
            )));
        }
        let [weight, bias] = self.classifier.clone();
        let own = [
            (weight, vec![classes, width], &classifier.weight[..]),
            (bias, vec![classes], &classifier.bias[..]),
        ];
        safetensors_of(named(&self.tensors).chain(own), None).map_err(FitError::Write)
    }
}

fn named(tensors: &[(TensorSpec, Vec<f32>)]) -> impl Iterator<Item = (String, Vec<usize>, &[f32])> {
    tensors.iter().map(|(spec, values)| (spec.name.to_string(), spec.shape.to_vec(), &values[..]))
}

/// What weights have to have: all before the classifier, which may be there, of any number of classes.
fn expected(graph: &Graph, weights: &Weights, classifier: &[String; 2]) -> Vec<TensorSpec> {
    let width = graph.output_len();
    let classes = weights.shape(&classifier[0]).ok().and_then(|shape| shape.first().copied());
    let mut tensors = graph.tensors.clone();
    if let Some(classes) = classes {
        let shapes = [vec![classes, width], vec![classes]];
        for (name, shape) in classifier.iter().zip(shapes) {
            let init = resnet_runtime::weights::Init::Normal(0.0);
            let (name, shape) = (name.clone().into(), shape.into());
            tensors.push(TensorSpec { name, shape, stored: Stored::Float, init });
        }
    }
    tensors
}
