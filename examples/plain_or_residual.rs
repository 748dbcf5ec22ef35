//! A plain network against its residual twin (section 4.1 of the 2015 paper): the same layers with
//! and without shortcuts, their cost, and what becomes of a signal on its way through random weights.
//!
//!     cargo run --release --example plain_or_residual

use std::time::{Duration, Instant};

use resnet::{Network, Weights};

resnet::resnet! {
    Plain18 = "models/plain18.yaml";
    ResNet18 = "models/resnet18.yaml";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("network     params        MACs  arena KB  min ms  largest logit");
    report(&Plain18::load(&Weights::random(&Plain18::tensors(), 1))?, Plain18::ARENA_BYTES)?;
    report(&ResNet18::load(&Weights::random(&ResNet18::tensors(), 1))?, ResNet18::ARENA_BYTES)?;
    Ok(())
}

/// One line about any network, whoever compiled it.
fn report(network: &dyn Network, arena: usize) -> Result<(), resnet::RunError> {
    let info = network.info();
    let mut session = network.session();
    let picture: Vec<f32> = (0..info.input_len()).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let mut fastest = Duration::MAX;
    let mut largest = 0.0_f32;
    for _ in 0..10 {
        let start = Instant::now();
        let logits = session.run(&picture)?;
        fastest = fastest.min(start.elapsed());
        largest = logits.iter().fold(0.0, |largest, logit| largest.max(logit.abs()));
    }
    let milliseconds = fastest.as_secs_f64() * 1e3;
    let (name, params, macs, kilobytes) = (&info.name, info.params, info.macs, arena / 1024);
    println!("{name:9} {params:8} {macs:11} {kilobytes:9} {milliseconds:7.1} {largest:14.3}");
    Ok(())
}
