//! Times the training step of a table of the zoo: `step NAME [batch] [threads] [steps]`.

use std::num::NonZeroUsize;
use std::time::Instant;

use resnet_compiler::graph::Graph;
use resnet_compiler::network::Backend;
use resnet_compiler::spec::Spec;
use resnet_compiler::target::Target;
use resnet_compiler::train::{Descent, Rate, Step};
use resnet_compiler::zoo;
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default| arguments.get(at).map_or(default, |n| n.parse().unwrap());
    let name = arguments.first().map_or("cifar-resnet20", String::as_str);
    let (batch, threads) = (number(1, 128), number(2, 1));
    let table = zoo::zoo(name).expect("a name of the zoo");
    let spec = Spec::from_yaml(table).unwrap_or_else(|d| panic!("{d}"));
    let graph = Graph::build(&spec).unwrap_or_else(|d| panic!("{d}"));
    let weights = Weights::random(&graph.tensors, 1);
    let pool = Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap();
    let target = Target::host(None).unwrap();
    let start = Instant::now();
    let mut step = Step::compile(
        &graph,
        batch,
        Descent::default(),
        &weights,
        &target,
        Backend::Jit,
        (threads > 1).then_some(&pool),
    )
    .unwrap();
    eprintln!("compiled in {:?}", start.elapsed());
    let classes = graph.output_shape().channels;
    let images: Vec<f32> = (0..batch * graph.input_shape().elements())
        .map(|i| (i * 7919 % 255) as f32 / 128.0 - 1.0)
        .collect();
    let mut targets = vec![0.0; batch * classes];
    targets.chunks_mut(classes).enumerate().for_each(|(i, t)| t[i % classes] = 1.0);
    let rate = Rate { rate: 0.01, momentum: 0.9, decay: 1e-4 };
    let mut best = f64::INFINITY;
    for _ in 0..number(3, 5) {
        let start = Instant::now();
        let found = step.run(&images, &targets, rate);
        let loss = found.losses.iter().sum::<f32>() / batch as f32;
        let seconds = start.elapsed().as_secs_f64();
        best = best.min(seconds);
        eprintln!("loss {loss:.4}, {:.1} ms", seconds * 1e3);
    }
    let (speed, memory) = (batch as f64 / best, step.bytes() / 1_000_000);
    println!("{name}, batch {batch}, {threads} threads: {speed:.1} images/s, {memory} MB");
}
