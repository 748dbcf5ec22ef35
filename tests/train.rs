//! Training as a program does it.

use std::ops::ControlFlow;

use resnet::train::{Augment, Crop, InMemory, Options, Trainer};
use resnet::{Image, Spec};

const TABLE: &str = "
name: stripes
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 8}
  - {layer: conv2_x, op: basic, repeat: 2, channels: 16, stride: 2}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 2}
";

/// Stripes along and across, each of some width and brightness.
fn stripes() -> InMemory {
    let mut data = InMemory::default();
    for index in 0..64 {
        let (class, width) = (index % 2, 1 + index / 2 % 3);
        let pixel = |at: usize| {
            let (row, column) = (at / 8, at % 8);
            let along = if class == 0 { row } else { column };
            let bright = along / width % 2 == 1;
            [if bright { 200 + (index % 50) as u8 } else { (index % 40) as u8 }; 3]
        };
        let pixels = (0..64).flat_map(pixel).collect();
        data.push(Image::new(8, 8, 3, pixels).unwrap(), class);
    }
    data
}

fn options() -> Options {
    Options {
        epochs: 6,
        batch: 16,
        warm_up: Some(1.0),
        rate: 0.05,
        augment: Augment { crop: Crop::Padded(1), flip: true, cutout: 2, mixup: 0.1 },
        smoothing: 0.05,
        average: Some(0.9),
        threads: std::num::NonZeroUsize::new(2),
        ..Options::default()
    }
}

fn trainer(data: &InMemory, options: Options) -> Trainer {
    Trainer::new(&Spec::from_yaml(TABLE).unwrap(), data, options).unwrap()
}

#[test]
fn it_learns() {
    let data = stripes();
    let plain = Options { augment: Augment { flip: false, ..Augment::default() }, ..options() };
    let mut trainer = trainer(&data, plain);
    let mut losses = Vec::new();
    while !trainer.is_done() {
        losses.push(trainer.epoch(&data, |_| ControlFlow::Continue(())).unwrap().progress.loss);
    }
    assert!(losses.len() == 6 && losses[5] < 0.5 * losses[0], "{losses:?}");
}

/// Stopped after any step and gone on from a checkpoint, on another number of threads: the same bits.
#[test]
fn a_checkpoint_goes_on_as_if_nothing_had_been() {
    let data = stripes();
    let mut whole = trainer(&data, options());
    while !whole.is_done() {
        whole.epoch(&data, |_| ControlFlow::Continue(())).unwrap();
    }
    let mut first = trainer(&data, options());
    first.epoch(&data, |_| ControlFlow::Continue(())).unwrap();
    let stopped = first
        .epoch(&data, |progress| match progress.step {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .unwrap();
    assert!(!stopped.is_done && stopped.progress.step == 3);
    let checkpoint = first.checkpoint().unwrap();

    let mut second =
        trainer(&data, Options { threads: std::num::NonZeroUsize::new(3), ..options() });
    second.resume(&checkpoint).unwrap();
    let rest = second.epoch(&data, |_| ControlFlow::Continue(())).unwrap();
    assert!(rest.is_done && rest.epoch == 2);
    while !second.is_done() {
        second.epoch(&data, |_| ControlFlow::Continue(())).unwrap();
    }
    assert!(whole.weights().unwrap() == second.weights().unwrap(), "other bits");
    assert!(whole.checkpoint().unwrap() == second.checkpoint().unwrap(), "other bits");
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let data = stripes();
    let mut own = trainer(&data, options());
    let checkpoint = own.checkpoint().unwrap();
    let before = own.weights().unwrap();
    let fails = |own: &mut Trainer, bytes: &[u8], expected: &str| {
        let error = own.resume(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    for len in [0, 7, 100, checkpoint.len() - 1] {
        fails(&mut own, &checkpoint[..len], "cannot be read");
    }
    fails(&mut own, &before, "no checkpoint of a training");
    let mut other = trainer(&data, Options { seed: 2, ..options() });
    fails(&mut other, &checkpoint, "another seed: 1 there, 2 here");
    let wide = Spec::from_yaml(&TABLE.replace("channels: 16", "channels: 24")).unwrap();
    let mut other = Trainer::new(&wide, &data, options()).unwrap();
    fails(&mut other, &checkpoint, "another table");
    assert!(own.weights().unwrap() == before, "nothing was changed");
}
