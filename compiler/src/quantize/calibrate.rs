//! The f32 network over the pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use resnet_runtime::session::{DynSession, Network};
use resnet_runtime::weights::Weights;

use super::Seen;
use super::error::QuantizeError;
use super::histogram::Histogram;
use super::layers::Candidate;
use super::pictures::Pictures;
use crate::graph::{Feature, Graph, NodeId};
use crate::network::{Compiled, Options};

/// The f32 network with its activations, and what they were.
pub(super) struct Calibration {
    network: Box<dyn Network>,
    /// Where each activation lies in an answer.
    places: BTreeMap<NodeId, Range<usize>>,
    /// Of each activation that a scale is for.
    pub(super) histograms: BTreeMap<NodeId, Histogram>,
    /// How many were taken.
    pub(super) pictures: usize,
}

/// One thread's run over a picture.
pub(super) struct Activations<'a> {
    picture: &'a [f32],
    answer: &'a [f32],
    places: &'a BTreeMap<NodeId, Range<usize>>,
}

impl Activations<'_> {
    /// The value of a node that layers read.
    pub(super) fn of(&self, id: NodeId) -> &[f32] {
        // The first node is the picture.
        self.places.get(&id).map_or(self.picture, |place| &self.answer[place.clone()])
    }
}

impl Calibration {
    pub(super) fn input_len(&self) -> usize {
        self.network.info().input_len()
    }

    /// A session for each thread.
    pub(super) fn sessions(&self, count: usize) -> Result<Vec<Box<dyn DynSession>>, QuantizeError> {
        let sessions = (0..count).map(|_| self.network.session_in(None));
        sessions.collect::<Result<_, _>>().map_err(QuantizeError::Memory)
    }

    /// All activations of a picture.
    pub(super) fn run<'a>(
        &'a self,
        session: &'a mut dyn DynSession,
        picture: &'a [f32],
    ) -> Activations<'a> {
        let answer = session.run(picture).expect("the picture has the network's length");
        Activations { picture, answer, places: &self.places }
    }
}

/// Counts the values of every activation that a layer which may be quantised reads.
pub(super) fn calibrate<E: Send>(
    graph: &Graph,
    layers: &[Candidate],
    weights: &Weights,
    options: &Options,
    pictures: &mut Pictures<'_, E>,
    each: impl FnMut(usize, Seen<E>),
) -> Result<Calibration, QuantizeError> {
    let layers: Vec<&Candidate> = layers.iter().filter(|layer| layer.stays.is_none()).collect();
    let (graph, places) = with_activations(graph, &layers);
    let network = Compiled::of_graph(graph, options)?.load_on(weights, pictures.threads())?;
    let mut calibration = Calibration { network, places, histograms: BTreeMap::new(), pictures: 0 };
    let counted: BTreeMap<NodeId, &str> =
        layers.iter().rev().map(|layer| (layer.activation, &*layer.name)).collect();
    let empty = || counted.keys().map(|&id| (id, Histogram::new())).collect::<BTreeMap<_, _>>();
    let sessions = calibration.sessions(pictures.workers())?;
    let mut workers: Vec<_> = sessions.into_iter().map(|session| (session, empty())).collect();
    let mut taken = 0;
    pictures.pass(
        calibration.input_len(),
        &mut workers,
        |(session, histograms), picture, input| {
            let activations = calibration.run(&mut **session, input);
            for (&id, histogram) in histograms {
                histogram.count(activations.of(id)).map_err(|value| QuantizeError::NonFinite {
                    layer: counted[&id].to_owned(),
                    picture,
                    value,
                })?;
            }
            Ok(())
        },
        |()| taken += 1,
        each,
    )?;
    let mut histograms = empty();
    for (_, of_thread) in workers {
        for (id, histogram) in of_thread {
            if let Some(all) = histograms.get_mut(&id) {
                all.merge(histogram);
            }
        }
    }
    (calibration.histograms, calibration.pictures) = (histograms, taken);
    Ok(calibration)
}

/// The graph whose answers begin with all activations that layers read, and where these lie in it.
fn with_activations(
    graph: &Graph,
    layers: &[&Candidate],
) -> (Graph, BTreeMap<NodeId, Range<usize>>) {
    let read = layers.iter().flat_map(|layer| [layer.reads, layer.activation]);
    // The picture is at hand.
    let mut nodes: BTreeSet<NodeId> = read.filter(|id| *id != NodeId(0)).collect();
    // So that nothing is computed in vain: every node leads to an answer, as before.
    nodes.extend(graph.outputs());
    let mut next = 0;
    let places = nodes.iter().map(|&id| {
        let start = next;
        next += graph.node(id).shape.elements();
        (id, start..next)
    });
    let places = places.collect();
    let feature = |&node: &NodeId| Feature { name: graph.node(node).name.clone(), node };
    let features = nodes.iter().map(feature).collect();
    (Graph { features, ..graph.clone() }, places)
}
