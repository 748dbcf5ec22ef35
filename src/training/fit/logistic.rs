//! Multinomial logistic regression over features.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use resnet_runtime::weights::all_threads;

use super::lbfgs::minimise;
use super::{Features, FitError, FitOptions};
use crate::top_k;

/// The images are divided into so many parts, whatever the threads, whose sums are added in their order.
const PARTS: usize = 16;

/// Images whose features are multiplied at a time.
const ROWS: usize = 128;

/// What no component of the gradient is larger than at the end, of the mean loss by features that are scaled to a
/// deviation of about 1.
const TOLERANCE: f64 = 1e-8;

/// Steps after which the end is not reached.
const MOST: usize = 10_000;

/// A classifier that was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// A row of weights for each class, one after the other.
    pub weight: Vec<f32>,
    /// A bias for each class.
    pub bias: Vec<f32>,
    /// Steps of the search.
    pub iterations: usize,
    /// Whether the search has reached the minimum: no component of the gradient is larger than 1e-8.
    pub converged: bool,
    /// The mean cross-entropy over the images.
    pub loss: f64,
    /// What is least: `C * sum of cross-entropies + sum of squared weights / 2`.
    pub objective: f64,
}

impl Classifier {
    /// A number for each class, of an image's features.
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        self.scores(features).into_iter().map(|score| score as f32).collect()
    }

    fn scores(&self, features: &[f32]) -> Vec<f64> {
        let product = |row: &[f32]| -> f64 {
            row.iter().zip(features).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum()
        };
        let rows = self.weight.chunks(features.len()).zip(&self.bias);
        rows.map(|(row, &bias)| product(row) + f64::from(bias)).collect()
    }

    /// The part of images that are classified rightly.
    ///
    /// # Errors
    ///
    /// No images; features of another network, or of a class that it does not know.
    pub fn accuracy(&self, features: &Features) -> Result<f64, FitError> {
        features.check(self.bias.len())?;
        if features.width * self.bias.len() != self.weight.len() {
            let own = self.weight.len() / self.bias.len().max(1);
            return Err(FitError::Data(format!(
                "the classifier is of {own} features, and the images have {}",
                features.width
            )));
        }
        let right = features.rows().filter(|(row, class)| top_k(&self.logits(row), 1) == [*class]);
        Ok(right.count() as f64 / features.classes.len() as f64)
    }
}

/// Fits a classifier of `classes`: the `W` and `b` that minimise
///
/// ```text
/// C * sum over images of -log softmax(W x + b)[class] + sum of W^2 / 2
/// ```
///
/// which is scikit-learn's `LogisticRegression(C=C)` of three classes or more; of two, theirs has to be given twice the
/// `C`, as it penalises one row of weights. The biases are not penalised. Sums are taken in `f64`, in an order that the number of threads does not change.
///
/// # Errors
///
/// Fewer than two classes, a class without an image or an image without a class; a feature that is no number; a `C` that is not
/// positive.
pub fn fit(
    features: &Features,
    classes: usize,
    options: &FitOptions,
) -> Result<Classifier, FitError> {
    features.check(classes)?;
    features.check_classes(classes)?;
    let c = options.c;
    if !(c > 0.0 && c.is_finite()) {
        return Err(FitError::Options(format!("C is {c}; it has to be a positive number")));
    }
    let threads = options.threads.unwrap_or_else(all_threads);
    let problem = Problem::new(features, classes, c, threads);
    let start = vec![0.0; classes * (features.width + 1)];
    let mut failed = None;
    let found = minimise(start, TOLERANCE, MOST, |at, gradient| {
        problem.value(at, gradient).unwrap_or_else(|error| {
            // A gradient of zero ends the search.
            gradient.fill(0.0);
            failed = Some(error);
            0.0
        })
    });
    match failed {
        Some(error) => Err(FitError::Threads(error)),
        None => Ok(problem.classifier(&found.point, found.iterations, found.gradient <= TOLERANCE)),
    }
}

/// What is to be minimised, as a function of the weights of centred and scaled features. That changes nothing in the
/// minimum, as the penalty is scaled back, and makes it many times quicker to find.
struct Problem<'a> {
    features: &'a Features,
    classes: usize,
    c: f64,
    threads: NonZeroUsize,
    mean: Vec<f64>,
    /// What each feature, centred, is divided by: the root of its variance and of what the penalty curves by, so that it
    /// is never zero.
    scale: Vec<f64>,
}

/// What a part of the images adds to.
struct Sums {
    loss: f64,
    gradient: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(features: &'a Features, classes: usize, c: f64, threads: NonZeroUsize) -> Self {
        let count = features.classes.len() as f64;
        let mut mean = vec![0.0; features.width];
        for (row, _) in features.rows() {
            mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / count);
        }
        let mut scale = vec![1.0 / (count * c); features.width];
        for (row, _) in features.rows() {
            for ((scale, &x), mean) in scale.iter_mut().zip(row).zip(&mean) {
                *scale += (f64::from(x) - mean).powi(2) / count;
            }
        }
        scale.iter_mut().for_each(|scale| *scale = scale.sqrt());
        Self { features, classes, c, threads, mean, scale }
    }

    /// The mean cross-entropy with the penalty over `images * C`, and its gradient.
    fn value(&self, at: &[f64], gradient: &mut [f64]) -> std::io::Result<f64> {
        let count = self.features.classes.len() as f64;
        gradient.fill(0.0);
        let mut value = 0.0;
        for sums in self.parts(at)? {
            value += sums.loss / count;
            gradient.iter_mut().zip(&sums.gradient).for_each(|(own, part)| *own += part / count);
        }
        let width = self.features.width;
        let weights = at[..self.classes * width].chunks(width);
        for (row, gradient) in weights.zip(gradient.chunks_mut(width)) {
            for ((&weight, scale), gradient) in row.iter().zip(&self.scale).zip(gradient) {
                let part = weight / (scale * scale * count * self.c);
                value += weight * part / 2.0;
                *gradient += part;
            }
        }
        Ok(value)
    }

    /// The sums of all parts, in their order.
    fn parts(&self, at: &[f64]) -> std::io::Result<Vec<Sums>> {
        let next = AtomicUsize::new(0);
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.get().min(PARTS) {
                let (sender, next) = (sender.clone(), &next);
                std::thread::Builder::new().spawn_scoped(scope, move || {
                    loop {
                        let part = next.fetch_add(1, Ordering::Relaxed);
                        if part >= PARTS || sender.send((part, self.part(part, at))).is_err() {
                            return;
                        }
                    }
                })?;
            }
            drop(sender);
            let mut parts: Vec<(usize, Sums)> = receiver.iter().collect();
            parts.sort_by_key(|(part, _)| *part);
            Ok(parts.into_iter().map(|(_, sums)| sums).collect())
        })
    }

    /// Cross-entropies, and what they change by, of one part of the images.
    fn part(&self, part: usize, at: &[f64]) -> Sums {
        let Self { features, classes, .. } = self;
        let (width, count) = (features.width, features.classes.len());
        let (weights, biases) = at.split_at(classes * width);
        let weights = matrix(weights, width);
        let mut sums = Sums { loss: 0.0, gradient: vec![0.0; at.len()] };
        let (gradient, bias_gradient) = sums.gradient.split_at_mut(classes * width);
        let mut gradient = matrix_mut(gradient, width);
        let mut scaled = Vec::with_capacity(ROWS * width);
        let mut logits = Vec::with_capacity(ROWS * classes);
        let end = count * (part + 1) / PARTS;
        for first in (count * part / PARTS..end).step_by(ROWS) {
            let rows = first..end.min(first + ROWS);
            scaled.clear();
            for row in features.values[rows.start * width..rows.end * width].chunks(width) {
                let numbers = row.iter().zip(&self.mean).zip(&self.scale);
                scaled.extend(numbers.map(|((&x, mean), scale)| (f64::from(x) - mean) / scale));
            }
            logits.clear();
            rows.clone().for_each(|_| logits.extend_from_slice(biases));
            let x = matrix(&scaled, width);
            general_mat_mul(1.0, &x, &weights.t(), 1.0, &mut matrix_mut(&mut logits, *classes));
            for (row, &class) in logits.chunks_mut(*classes).zip(&features.classes[rows]) {
                sums.loss += cross_entropy(row, class);
                bias_gradient.iter_mut().zip(row).for_each(|(sum, part)| *sum += *part);
            }
            let errors = matrix(&logits, *classes);
            general_mat_mul(1.0, &errors.t(), &x, 1.0, &mut gradient);
        }
        sums
    }

    /// The classifier of features as they are.
    fn classifier(&self, at: &[f64], iterations: usize, converged: bool) -> Classifier {
        let width = self.features.width;
        let (weights, biases) = at.split_at(self.classes * width);
        let of_row = |row: &[f64]| -> Vec<f32> {
            row.iter().zip(&self.scale).map(|(weight, scale)| (weight / scale) as f32).collect()
        };
        let weight: Vec<f32> = weights.chunks(width).flat_map(of_row).collect();
        let bias = weight.chunks(width).zip(biases).map(|(row, bias)| {
            // Of the weights as they were rounded.
            let centre: f64 =
                row.iter().zip(&self.mean).map(|(&w, mean)| f64::from(w) * mean).sum();
            (bias - centre) as f32
        });
        let bias = bias.collect();
        let mut found =
            Classifier { weight, bias, iterations, converged, loss: 0.0, objective: 0.0 };
        let losses =
            self.features.rows().map(|(row, class)| cross_entropy(&mut found.scores(row), class));
        let sum: f64 = losses.sum();
        let squares: f64 = found.weight.iter().map(|&weight| f64::from(weight).powi(2)).sum();
        found.loss = sum / self.features.classes.len() as f64;
        found.objective = self.c * sum + squares / 2.0;
        found
    }
}

/// The cross-entropy of logits, which become the probabilities less the one that the class should have.
fn cross_entropy(logits: &mut [f64], class: usize) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = logits[class] - most;
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - most).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|power| *power /= sum);
    logits[class] -= 1.0;
    sum.ln() - own
}

fn matrix(values: &[f64], width: usize) -> ArrayView2<'_, f64> {
    let shape = (values.len() / width, width);
    ArrayView2::from_shape(shape, values).expect("whole rows")
}

fn matrix_mut(values: &mut [f64], width: usize) -> ArrayViewMut2<'_, f64> {
    let shape = (values.len() / width, width);
    ArrayViewMut2::from_shape(shape, values).expect("whole rows")
}
