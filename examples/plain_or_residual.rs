//! What the shortcuts of a residual network cost: ResNet-34 beside the plain network of the same
//! layers.

use std::time::{Duration, Instant};

use resnet::{Network, Weights};

resnet::resnet! {
    Plain = "models/plain34.yaml";
    Residual = "models/resnet34.yaml";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("network   parameters    MACs (G)  arena (MiB)  ms a picture");
    report(&Plain::load(&Weights::random(&Plain::tensors(), 1))?)?;
    report(&Residual::load(&Weights::random(&Residual::tensors(), 1))?)?;
    Ok(())
}

fn report(network: &dyn Network) -> Result<(), resnet::RunError> {
    let info = network.info();
    let mut session = network.session();
    let picture = vec![0.5; info.input_len()];
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        session.run(&picture)?;
        shortest = shortest.min(start.elapsed());
    }
    println!(
        "{:<9} {:>10} {:>11.3} {:>12.2} {:>13.2}",
        info.name,
        info.params,
        info.macs as f64 / 1e9,
        info.arena_bytes as f64 / f64::from(1 << 20),
        1e3 * shortest.as_secs_f64(),
    );
    Ok(())
}
