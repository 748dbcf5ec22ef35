//! A network with its weights, and what it says to pictures.

use resnet_compiler::graph::{Graph, Shape};
use resnet_compiler::network::Compiler;
use resnet_compiler::spec::{Labels, Spec};
use resnet_runtime::classes::classify;
use resnet_runtime::picture::Image;
use resnet_runtime::session::{DynSession, Info};
use resnet_runtime::weights::Weights;
use serde::Serialize;

/// Most classes that an answer names.
const MOST_CLASSES: usize = 5;

/// A network that is ready to run.
pub(crate) struct Trained {
    spec: Spec,
    graph: Graph,
    weights: Weights,
    info: Info,
    session: Box<dyn DynSession>,
    /// The last picture, as networks read it.
    picture: Option<Vec<f32>>,
    /// The network whose answer is what the operator makes that was asked for last.
    part: Option<(usize, Info, Box<dyn DynSession>)>,
}

/// What is to be known of a network before pictures come.
#[derive(Serialize)]
pub(crate) struct About {
    name: String,
    /// Channels, rows and columns of its input.
    input: [usize; 3],
    /// Those whose output can be asked for, by their places here.
    operators: Vec<Operator>,
}

/// An operator of the graph.
#[derive(Serialize)]
struct Operator {
    name: String,
    /// The row of the table.
    row: String,
    shape: [usize; 3],
}

/// What a network says to a picture.
#[derive(Serialize)]
pub(crate) struct Answer {
    /// The likeliest classes.
    top: Vec<Class>,
    /// All numbers of the answer.
    logits: Vec<f32>,
    /// The picture's size in the file.
    width: usize,
    height: usize,
}

#[derive(Serialize)]
struct Class {
    class: usize,
    label: Option<String>,
    probability: f64,
}

impl Trained {
    pub(crate) fn open(table: &str, weights: Vec<u8>) -> Result<Self, String> {
        let spec = Spec::from_yaml(table).map_err(|error| error.to_string())?;
        let weights = Weights::from_bytes(weights).map_err(|error| error.to_string())?;
        let graph = Graph::build(&spec).map_err(|error| error.to_string())?;
        let (info, session) = load(Compiler::new(&spec), &weights)?;
        spec.preprocess.check(info.input).map_err(|error| error.to_string())?;
        Ok(Self { spec, graph, weights, info, session, picture: None, part: None })
    }

    pub(crate) fn about(&self) -> About {
        let operators = self.graph.operators().filter_map(|(_, node)| {
            let row = self.spec.table[node.row?].layer.value.clone();
            let Shape { channels, height, width } = node.shape;
            Some(Operator { name: node.name.clone(), row, shape: [channels, height, width] })
        });
        let name = self.graph.name.clone();
        About { name, input: self.info.input, operators: operators.collect() }
    }

    pub(crate) fn classify(&mut self, file: &[u8]) -> Result<Answer, String> {
        let image = Image::decode(file)?;
        let input = self.spec.preprocess.apply(&image, self.info.input);
        let input = input.map_err(|error| error.to_string())?;
        let logits = self.session.run(&input).map_err(|error| error.to_string())?.to_vec();
        self.picture = Some(input);
        let classes = classify(self.info.answer, &logits, MOST_CLASSES).unwrap_or_default();
        let label = |class: usize| match self.spec.labels.as_ref().map(|labels| &labels.value) {
            Some(Labels::Names(names)) => names.get(class).cloned(),
            Some(Labels::File(_)) | None => None,
        };
        let top = classes.into_iter().map(|(class, probability)| Class {
            class,
            label: label(class),
            probability,
        });
        Ok(Answer { top: top.collect(), logits, width: image.width(), height: image.height() })
    }

    /// The shape and the values of what an operator makes of the last picture.
    pub(crate) fn features(&mut self, place: usize) -> Result<([usize; 3], &[f32]), String> {
        let picture = self.picture.as_ref().ok_or("there is no picture yet")?;
        if self.part.as_ref().is_none_or(|(of, ..)| *of != place) {
            let (_, node) = self.graph.operators().nth(place).ok_or("there is no such operator")?;
            let compiler = Compiler::new(&self.spec).features_of(&node.name);
            let (info, session) = load(compiler, &self.weights)?;
            self.part = Some((place, info, session));
        }
        let (_, info, session) = self.part.as_mut().expect("was set above");
        let values = session.run(picture).map_err(|error| error.to_string())?;
        let feature = &info.features[0];
        Ok((feature.shape, feature.of(values)))
    }
}

/// Compiles and loads a network on the one thread that there is.
fn load(compiler: Compiler<'_>, weights: &Weights) -> Result<(Info, Box<dyn DynSession>), String> {
    let compiled = compiler.weights(weights).compile().map_err(|error| error.to_string())?;
    let one = std::num::NonZeroUsize::MIN;
    let network = compiled.load_on(weights, one).map_err(|error| error.to_string())?;
    let session = network.session_in(None).map_err(|error| error.to_string())?;
    Ok((compiled.info().clone(), session))
}
