//! Gradients by definition: the chain rule, operator by operator, in `f64`, over a batch whose norms have its own
//! statistics. What a training step computes is measured against it, and it against finite differences.

mod planes;

use std::collections::BTreeMap;

use resnet_runtime::kernels::Activation;
use resnet_runtime::weights::{NormTensors, Weights, WeightsError};

use self::planes::{pool_gradient, transposed, unblur, unpad};
use super::activation::{activate, slope};
use super::operators::{Tensors, Values, blur, convolve, gate, inside, means, pooling, zero_pad};
use crate::geometry::{Extent, Padding, Shape, Window};
use crate::graph::{Graph, GroupNorm, Node, Op};

/// The losses of a batch, and the gradient of their mean with respect to each tensor that is learned.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The cross-entropy of each image.
    pub losses: Vec<f64>,
    /// The gradients, by the tensors' names.
    pub tensors: BTreeMap<String, Vec<f64>>,
    /// The L2 norms of those with respect to each node's output, over all images, by the nodes' names.
    pub outputs: BTreeMap<String, f64>,
}

/// The gradients of a batch: `images` are planar, `targets` the probabilities that each image's classes should have.
///
/// # Errors
///
/// Weights that do not fit.
///
/// # Panics
///
/// If there is not a target for each number of the answer of each image.
pub fn gradients(
    graph: &Graph,
    weights: &Weights,
    images: &[f32],
    targets: &[f32],
) -> Result<Gradients, WeightsError> {
    let batch = images.len() / graph.input_shape().elements();
    assert_eq!(targets.len(), batch * graph.output_shape().elements(), "a target for each logit");
    weights.check(&graph.tensors)?;
    let names = graph.tensors.iter().map(|tensor| &*tensor.name);
    let tensors = Tensors::read(names, weights)?;
    let images: Vec<Values> = images
        .chunks(graph.input_shape().elements())
        .map(|image| image.iter().map(|&v| f64::from(v)).collect())
        .collect();
    let mut tape = Tape { graph, tensors, values: vec![images], gradients: BTreeMap::new() };
    for node in &graph.nodes[1..] {
        let value = tape.forward(node);
        tape.values.push(value);
    }
    Ok(tape.backward(targets))
}

/// A value of each image.
type Batch = Vec<Values>;

struct Tape<'a> {
    graph: &'a Graph,
    tensors: Tensors,
    /// One a node.
    values: Vec<Batch>,
    gradients: BTreeMap<String, Values>,
}

impl Tape<'_> {
    fn from(&self, node: &Node, input: usize) -> Shape {
        self.graph.node(node.inputs[input]).shape
    }

    fn input(&self, node: &Node, input: usize) -> &Batch {
        &self.values[node.inputs[input].index()]
    }

    /// What a node makes of each image by itself.
    fn each(&self, node: &Node, make: impl Fn(&Values) -> Values) -> Batch {
        self.input(node, 0).iter().map(make).collect()
    }

    fn forward(&self, node: &Node) -> Batch {
        let (from, to) = (self.from(node, 0), node.shape);
        match &node.op {
            Op::Conv { window, groups, weight, bias, standardise } => {
                let weights = self.tensors.conv(weight, to.channels, *standardise);
                let bias = bias.as_ref().map(|bias| self.tensors.of(bias));
                self.each(node, |x| convolve(x, from, to, window, *groups, &weights, bias))
            }
            Op::Linear { weight, bias } => {
                let (window, from) = whole(from);
                let weights = self.tensors.conv(weight, to.channels, None);
                let bias = Some(self.tensors.of(bias));
                self.each(node, |x| convolve(x, from, to, &window, 1, &weights, bias))
            }
            Op::BatchNorm(norm) => {
                let (x, moments) = (self.input(node, 0), self.moments(node, norm.epsilon));
                self.normalised(x, &moments, norm.weight.as_ref(), norm.bias.as_ref())
            }
            Op::GroupNorm(norm) => self.each(node, |x| self.tensors.group_norm(x, to, norm)),
            Op::Activation(activation) => {
                self.each(node, |x| x.iter().map(|&v| activate(*activation, v)).collect())
            }
            Op::Add => {
                let pairs = self.input(node, 0).iter().zip(self.input(node, 1));
                pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
            }
            Op::Gate => {
                let pairs = self.input(node, 0).iter().zip(self.input(node, 1));
                pairs.map(|(x, g)| gate(x, from.pixels(), g)).collect()
            }
            Op::ChannelConv { kernel, weight } => {
                self.each(node, |x| self.tensors.channel_conv(x, *kernel, weight))
            }
            &Op::ZeroPad { stride, before } => {
                self.each(node, |x| zero_pad(x, from, to, stride, before))
            }
            Op::Pool(pool) => self.each(node, |x| pooling(x, from, to, pool)),
            Op::Blur(window) => self.each(node, |x| blur(x, from, to, window)),
            Op::GlobalAveragePool => self.each(node, |x| means(x, from.pixels())),
            Op::Slice(channels) => {
                let pixels = from.pixels();
                self.each(node, |x| x[channels.start * pixels..channels.end * pixels].to_vec())
            }
            Op::Concat => {
                let of = |image: usize| {
                    let inputs =
                        (0..node.inputs.len()).map(|input| &self.input(node, input)[image]);
                    inputs.flatten().copied().collect()
                };
                (0..self.values[0].len()).map(of).collect()
            }
            // The loss has its own.
            Op::Softmax | Op::Input => self.input(node, 0).clone(),
        }
    }

    /// Mean and inverse deviation of each channel, over the batch.
    fn moments(&self, node: &Node, epsilon: f64) -> Vec<(f64, f64)> {
        let (x, pixels) = (self.input(node, 0), node.shape.pixels());
        let of = |channel: usize| {
            let planes = || x.iter().flat_map(move |x| &x[channel * pixels..][..pixels]);
            let sample = (x.len() * pixels) as f64;
            let mean = planes().sum::<f64>() / sample;
            let variance = planes().map(|v| (v - mean).powi(2)).sum::<f64>() / sample;
            (mean, 1.0 / (variance + epsilon).sqrt())
        };
        (0..node.shape.channels).map(of).collect()
    }

    fn normalised(&self, x: &Batch, moments: &[(f64, f64)], weight: &str, bias: &str) -> Batch {
        let (weight, bias) = (self.tensors.of(weight), self.tensors.of(bias));
        let image = |x: &Values| {
            let pixels = x.len() / moments.len();
            let of = |(at, v): (usize, &f64)| {
                let (mean, inverse) = moments[at / pixels];
                let (scale, shift) = (weight[at / pixels], bias[at / pixels]);
                (v - mean) * inverse * f64::from(scale) + f64::from(shift)
            };
            x.iter().enumerate().map(of).collect()
        };
        x.iter().map(image).collect()
    }

    fn backward(mut self, targets: &[f32]) -> Gradients {
        let nodes = &self.graph.nodes;
        let images = self.values[0].len();
        let mut gradients: Vec<Batch> =
            nodes.iter().map(|node| vec![vec![0.0; node.shape.elements()]; images]).collect();
        let logits = self.values[self.graph.output.index()].clone();
        let classes = targets.len() / images;
        let mut losses = Vec::new();
        for (image, (x, t)) in logits.iter().zip(targets.chunks(classes)).enumerate() {
            let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = x.iter().map(|v| (v - largest).exp()).sum::<f64>().ln() + largest;
            let total: f64 = t.iter().map(|&t| f64::from(t)).sum();
            losses.push(x.iter().zip(t).map(|(v, &t)| f64::from(t) * (log_sum - v)).sum());
            let slope = |(v, &t): (&f64, &f32)| {
                ((v - log_sum).exp() * total - f64::from(t)) / images as f64
            };
            gradients[self.graph.output.index()][image] = x.iter().zip(t).map(slope).collect();
        }
        let mut outputs = BTreeMap::new();
        for index in (1..nodes.len()).rev() {
            let g = std::mem::take(&mut gradients[index]);
            let squares: f64 = g.iter().flatten().map(|g| g * g).sum();
            outputs.insert(nodes[index].name.clone(), squares.sqrt());
            for (input, d) in nodes[index].inputs.iter().zip(self.node(&nodes[index], &g)) {
                for (sum, d) in gradients[input.index()].iter_mut().zip(d) {
                    sum.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
                }
            }
        }
        Gradients { losses, tensors: self.gradients, outputs }
    }

    fn learn(&mut self, tensor: &str, gradient: Values) {
        let sum =
            self.gradients.entry(tensor.to_owned()).or_insert_with(|| vec![0.0; gradient.len()]);
        sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
    }

    /// The gradients of a node's inputs, of that of its output; what it learns is noted.
    fn node(&mut self, node: &Node, g: &Batch) -> Vec<Batch> {
        let (from, to) = (self.from(node, 0), node.shape);
        let each = |make: &dyn Fn(&Values) -> Values| vec![g.iter().map(make).collect::<Batch>()];
        match &node.op {
            Op::Conv { window, groups, weight, bias, standardise } => {
                let standardise = *standardise;
                vec![self.conv(
                    node,
                    from,
                    (window, *groups),
                    weight,
                    bias.as_deref(),
                    standardise,
                    g,
                )]
            }
            Op::Linear { weight, bias } => {
                let (window, from) = whole(from);
                vec![self.conv(node, from, (&window, 1), weight, Some(bias), None, g)]
            }
            Op::BatchNorm(norm) => vec![self.batch_norm(node, norm, g)],
            Op::GroupNorm(norm) => vec![self.group_norm(node, norm, g)],
            Op::Activation(activation) => {
                vec![self.activation(node, *activation, g)]
            }
            Op::Add => vec![g.clone(), g.clone()],
            Op::Gate => self.gate(node, from.pixels(), g),
            Op::ChannelConv { kernel, weight } => vec![self.channel_conv(node, *kernel, weight, g)],
            &Op::ZeroPad { stride, before } => {
                each(&|g| transposed(g, from, to, |dx, g| unpad(dx, g, from, to, stride, before)))
            }
            Op::Pool(pool) => {
                let x = self.input(node, 0);
                let pairs = x.iter().zip(g);
                vec![pairs.map(|(x, g)| pool_gradient(x, g, from, to, pool)).collect()]
            }
            Op::Blur(window) => {
                each(&|g| transposed(g, from, to, |dx, g| unblur(dx, g, from, to, window)))
            }
            Op::GlobalAveragePool => {
                let pixels = from.pixels();
                let spread =
                    |g: &Values| g.iter().flat_map(|v| vec![v / pixels as f64; pixels]).collect();
                each(&spread)
            }
            Op::Slice(channels) => {
                let pixels = from.pixels();
                let put = |g: &Values| {
                    let mut dx = vec![0.0; from.elements()];
                    dx[channels.start * pixels..channels.end * pixels].copy_from_slice(g);
                    dx
                };
                each(&put)
            }
            Op::Concat => {
                let mut first = 0;
                let part = |input: usize| {
                    let len = self.from(node, input).elements();
                    let own = g.iter().map(|g| g[first..first + len].to_vec()).collect();
                    first += len;
                    own
                };
                (0..node.inputs.len()).map(part).collect()
            }
            Op::Softmax | Op::Input => vec![g.clone()],
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what a convolution and a linear layer are told by"
    )]
    fn conv(
        &mut self,
        node: &Node,
        from: Shape,
        (window, groups): (&Window, usize),
        weight: &str,
        bias: Option<&str>,
        standardise: Option<f64>,
        g: &Batch,
    ) -> Batch {
        let to = node.shape;
        let weights = self.tensors.conv(weight, to.channels, standardise);
        let mut dw = vec![0.0; weights.len()];
        let x = self.input(node, 0);
        let mut all = Batch::new();
        for (x, g) in x.iter().zip(g) {
            let mut dx = vec![0.0; from.elements()];
            let (group_in, group_out) = (from.channels / groups, to.channels / groups);
            let kernel = window.kernel;
            let mut tap = 0;
            for (channel, g) in g.chunks(to.pixels()).enumerate() {
                let first = channel / group_out * group_in;
                for input in first..first + group_in {
                    for kr in 0..kernel.rows {
                        for kc in 0..kernel.columns {
                            for (row, from_row) in inside(kr, window.rows(), from.height, to.height)
                            {
                                for (column, from_column) in
                                    inside(kc, window.columns(), from.width, to.width)
                                {
                                    let at =
                                        input * from.pixels() + from_row * from.width + from_column;
                                    let g = g[row * to.width + column];
                                    dx[at] += weights[tap] * g;
                                    dw[tap] += x[at] * g;
                                }
                            }
                            tap += 1;
                        }
                    }
                }
            }
            all.push(dx);
        }
        if let Some(epsilon) = standardise {
            let len = dw.len() / to.channels;
            let stored: Values = self.tensors.of(weight).iter().map(|&w| f64::from(w)).collect();
            let channels = dw.chunks(len).zip(stored.chunks(len));
            dw = channels.flat_map(|(g, w)| normalised_gradient(w, g, epsilon)).collect();
        }
        if let Some(bias) = bias {
            let of = |channel: usize| {
                let planes = g.iter().flat_map(|g| &g[channel * to.pixels()..][..to.pixels()]);
                planes.sum()
            };
            let db = (0..to.channels).map(of).collect();
            self.learn(bias, db);
        }
        self.learn(weight, dw);
        all
    }

    fn batch_norm(&mut self, node: &Node, norm: &NormTensors, g: &Batch) -> Batch {
        let pixels = node.shape.pixels();
        let x = self.input(node, 0);
        let mut all = vec![vec![0.0; node.shape.elements()]; x.len()];
        let scales = self.tensors.of(&norm.weight);
        let (mut dw, mut db) = (Values::new(), Values::new());
        for (channel, &scale) in scales.iter().enumerate() {
            let range = channel * pixels..(channel + 1) * pixels;
            let of = |values: &Batch| -> Values {
                values.iter().flat_map(|v| &v[range.clone()]).copied().collect()
            };
            let (x, g) = (of(x), of(g));
            let (mean, inverse) = moments(&x, norm.epsilon);
            dw.push(x.iter().zip(&g).map(|(v, g)| g * (v - mean) * inverse).sum());
            db.push(g.iter().sum());
            let scaled: Values = g.iter().map(|g| g * f64::from(scale)).collect();
            let dx = normalised_gradient(&x, &scaled, norm.epsilon);
            for (own, dx) in all.iter_mut().zip(dx.chunks(pixels)) {
                own[range.clone()].copy_from_slice(dx);
            }
        }
        self.learn(&norm.weight, dw);
        self.learn(&norm.bias, db);
        all
    }

    fn group_norm(&mut self, node: &Node, norm: &GroupNorm, g: &Batch) -> Batch {
        let (channels, pixels) = (node.shape.channels, node.shape.pixels());
        let scales: Values = self.tensors.of(&norm.weight).iter().map(|&w| f64::from(w)).collect();
        let (mut dw, mut db) = (vec![0.0; channels], vec![0.0; channels]);
        let mut all = Batch::new();
        for (x, g) in self.input(node, 0).iter().zip(g) {
            let len = x.len() / norm.groups;
            let mut own = Values::new();
            for (group, (x, g)) in x.chunks(len).zip(g.chunks(len)).enumerate() {
                let (mean, inverse) = moments(x, norm.epsilon);
                let first = group * len / pixels;
                let channel = |at: usize| first + at / pixels;
                for (at, (v, g)) in x.iter().zip(g).enumerate() {
                    dw[channel(at)] += g * (v - mean) * inverse;
                    db[channel(at)] += g;
                }
                let scaled: Values =
                    g.iter().enumerate().map(|(at, g)| g * scales[channel(at)]).collect();
                own.extend(normalised_gradient(x, &scaled, norm.epsilon));
            }
            all.push(own);
        }
        self.learn(&norm.weight, dw);
        self.learn(&norm.bias, db);
        all
    }

    fn activation(&self, node: &Node, activation: Activation, g: &Batch) -> Batch {
        let pairs = self.input(node, 0).iter().zip(g);
        pairs
            .map(|(x, g)| x.iter().zip(g).map(|(&v, g)| g * slope(activation, v)).collect())
            .collect()
    }

    fn gate(&self, node: &Node, pixels: usize, g: &Batch) -> Vec<Batch> {
        let (mut dx, mut dg) = (Batch::new(), Batch::new());
        let pairs = self.input(node, 0).iter().zip(self.input(node, 1)).zip(g);
        for ((x, gates), g) in pairs {
            let weights: Values = gates.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect();
            let scaled = g.iter().enumerate().map(|(at, g)| g * weights[at / pixels]);
            dx.push(scaled.collect());
            let planes = x.chunks(pixels).zip(g.chunks(pixels)).zip(&weights);
            let of = |((x, g), weight): ((&[f64], &[f64]), &f64)| {
                let sum: f64 = x.iter().zip(g).map(|(x, g)| x * g).sum();
                sum * weight * (1.0 - weight)
            };
            dg.push(planes.map(of).collect());
        }
        vec![dx, dg]
    }

    fn channel_conv(&mut self, node: &Node, kernel: usize, weight: &str, g: &Batch) -> Batch {
        let weights: Values = self.tensors.of(weight).iter().map(|&w| f64::from(w)).collect();
        let mut dw = vec![0.0; kernel];
        let mut all = Batch::new();
        for (x, g) in self.input(node, 0).iter().zip(g) {
            let mut dx = vec![0.0; x.len()];
            for (channel, g) in g.iter().enumerate() {
                for k in 0..kernel {
                    let from = (channel + k).wrapping_sub(kernel / 2);
                    if from < x.len() {
                        dx[from] += weights[k] * g;
                        dw[k] += x[from] * g;
                    }
                }
            }
            all.push(dx);
        }
        self.learn(weight, dw);
        all
    }
}

/// A window over the whole input, which a linear layer is.
fn whole(from: Shape) -> (Window, Shape) {
    let one = Extent::square(1);
    let kernel = Extent::new(from.height, from.width);
    (Window { kernel, stride: one, padding: Padding::NONE, dilation: one }, from)
}

fn moments(x: &[f64], epsilon: f64) -> (f64, f64) {
    let len = x.len() as f64;
    let mean = x.iter().sum::<f64>() / len;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / len;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// The gradient before `(x - mean) / sqrt(variance + epsilon)`.
fn normalised_gradient(x: &[f64], g: &[f64], epsilon: f64) -> Values {
    let len = x.len() as f64;
    let (mean, inverse) = moments(x, epsilon);
    let sum = g.iter().sum::<f64>() / len;
    let product = x.iter().zip(g).map(|(v, g)| g * (v - mean) * inverse).sum::<f64>() / len;
    x.iter().zip(g).map(|(v, g)| inverse * (g - sum - (v - mean) * inverse * product)).collect()
}
