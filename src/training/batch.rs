//! Batches, made on threads beside the step, in the order of the epoch.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use resnet_runtime::picture::Preprocess;

use super::augment::{Augment, Random};
use super::{Crop, Dataset, Options};

/// The input of a step.
#[derive(Clone)]
pub(super) struct Batch {
    /// Planar, one after the other.
    pub(super) images: Vec<f32>,
    /// The probability of each class, of each image.
    pub(super) targets: Vec<f32>,
    /// The class of each image.
    pub(super) classes: Vec<usize>,
}

/// What makes batches.
pub(super) struct Maker<'a, D: ?Sized> {
    pub(super) data: &'a D,
    pub(super) shape: [usize; 3],
    pub(super) classes: usize,
    pub(super) preprocess: Preprocess,
    pub(super) augment: Augment,
    pub(super) smoothing: f32,
    pub(super) seed: u64,
    pub(super) epoch: usize,
    pub(super) batch: usize,
}

/// Which chance is meant: numbers for one are not those for another.
enum Chance {
    Order = 1,
    Image,
    Mixup,
    Drawn,
}

impl<'a, D: Dataset + ?Sized> Maker<'a, D> {
    /// What makes the batches of an epoch.
    pub(super) fn new(
        data: &'a D,
        (shape, classes): ([usize; 3], usize),
        preprocess: &Preprocess,
        options: &Options,
        epoch: usize,
    ) -> Self {
        let mut preprocess = preprocess.clone();
        if options.augment.crop != Crop::None {
            // What is cut out has the network's size.
            (preprocess.resize, preprocess.crop) = (None, None);
        }
        let Options { augment, smoothing, seed, batch, .. } = *options;
        Self { data, shape, classes, preprocess, augment, smoothing, seed, epoch, batch }
    }

    /// Starts `threads` threads that make the batches from `first` on, `count` of them in all; the receivers
    /// have one after the other in turn.
    pub(super) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        first: usize,
        count: usize,
    ) -> std::io::Result<Vec<Receiver<Result<Batch, String>>>> {
        let order = self.order();
        let mut receivers = Vec::new();
        for thread in 0..threads {
            let (sender, receiver) = sync_channel(1);
            let order = order.clone();
            std::thread::Builder::new().spawn_scoped(scope, move || {
                for batch in (first + thread..count).step_by(threads) {
                    // Whoever waited for it has stopped.
                    if sender.send(self.make(&order, batch)).is_err() {
                        return;
                    }
                }
            })?;
            receivers.push(receiver);
        }
        Ok(receivers)
    }

    /// The images in the epoch's order.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        let mut random = self.random(Chance::Order, 0);
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        order
    }

    fn random(&self, chance: Chance, index: usize) -> Random {
        Random::of(&[self.seed, chance as u64, self.epoch as u64, index as u64])
    }

    pub(super) fn make(&self, order: &[usize], batch: usize) -> Result<Batch, String> {
        let own = &order[batch * self.batch..][..self.batch];
        let len = self.shape.iter().product();
        let mut images = vec![0.0; own.len() * len];
        for (&index, input) in own.iter().zip(images.chunks_mut(len)) {
            self.image(index, input)?;
        }
        let classes: Vec<usize> = own.iter().map(|&index| self.data.class(index)).collect();
        let smooth = self.smoothing / self.classes as f32;
        let mut targets = vec![smooth; own.len() * self.classes];
        for (&class, target) in classes.iter().zip(targets.chunks_mut(self.classes)) {
            target[class] += 1.0 - self.smoothing;
        }
        if self.augment.mixup > 0.0 {
            let part = self.random(Chance::Mixup, batch).beta(f64::from(self.augment.mixup)) as f32;
            mix(&mut images, len, part);
            mix(&mut targets, self.classes, part);
        }
        Ok(Batch { images, targets, classes })
    }

    fn image(&self, index: usize, input: &mut [f32]) -> Result<(), String> {
        let mut random = self.random(Chance::Image, index);
        let image = self.data.image(index)?;
        let [_, height, width] = self.shape;
        let is_of_size = (image.height(), image.width()) == (height, width);
        if matches!(self.augment.crop, Crop::Padded(_) | Crop::Reflected(_)) && !is_of_size {
            return Err(format!(
                "image {index} is {}x{} (height x width); what is padded before it is cut has to have the network's \
                 size, {height}x{width}: resize the images, or take resized parts of them",
                image.height(),
                image.width()
            ));
        }
        let image = self.augment.cut(image, (height, width), &mut random);
        self.preprocess
            .apply_into(&image, self.shape, input)
            .map_err(|error| format!("image {index}: {error}"))?;
        self.augment.blank(input, self.shape, &mut random);
        Ok(())
    }
}

/// Adds to each of some arrays a part of its mirror image among them.
fn mix(values: &mut [f32], len: usize, part: f32) {
    let before = values.to_vec();
    for (own, other) in values.chunks_mut(len).zip(before.chunks(len).rev()) {
        for (value, other) in own.iter_mut().zip(other) {
            *value = part * *value + (1.0 - part) * other;
        }
    }
}

/// One of many batches without images: pixels are drawn from a normal distribution, as if they had been normalised, and
/// classes are as likely each.
pub(super) fn drawn(
    (shape, classes): ([usize; 3], usize),
    batch: usize,
    seed: u64,
    index: usize,
) -> Batch {
    let mut random = Random::of(&[seed, Chance::Drawn as u64, index as u64]);
    let len = batch * shape.iter().product::<usize>();
    let images = (0..len).map(|_| random.normal() as f32).collect();
    let of: Vec<usize> = (0..batch).map(|_| random.below(classes)).collect();
    let mut targets = vec![0.0; batch * classes];
    for (&class, target) in of.iter().zip(targets.chunks_mut(classes)) {
        target[class] = 1.0;
    }
    Batch { images, targets, classes: of }
}
