//! Where one core's time goes, picture by picture: `stages MODEL WEIGHTS FOLDER [CORES...]`.
//!
//! Prints the time of decoding, of preprocessing and of the network, for a picture of the folder on one thread, and how
//! many pictures so many cores would answer a second if nothing else bounded them.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resnet::{Choices, Image, Model, Weights};
use resnet_arrow::ArrowNetwork;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, weights, folder, cores @ ..] = &arguments[..] else {
        return Err("usage: stages MODEL WEIGHTS FOLDER [CORES...]".into());
    };
    let cores = cores.iter().map(|count| count.parse());
    let cores: Vec<NonZeroUsize> = cores.collect::<Result<_, _>>()?;
    let model = Model::open(model)?;
    let weights = Weights::open(weights)?;
    let files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let files: Vec<Vec<u8>> = files.iter().take(500).map(fs::read).collect::<Result<_, _>>()?;
    let bytes = files.iter().map(Vec::len).sum::<usize>() / files.len().max(1);
    println!("{} pictures of {bytes} bytes each", files.len());

    let single = model.compiler().weights(&weights).plan()?;
    let shape = single.info.input;
    let mut input = vec![0.0; single.info.input_len()];
    let (mut decode, mut preprocess) = (Duration::ZERO, Duration::ZERO);
    for bytes in &files {
        decode += shortest(3, || drop(black_box(Image::decode(bytes))));
        let picture = Image::decode(bytes)?;
        preprocess += shortest(3, || {
            let _ = black_box(model.spec.preprocess.apply_into(&picture, shape, &mut input));
        });
    }
    let count = files.len().max(1) as u32;
    let (decode, preprocess) = (decode / count, preprocess / count);
    println!("decoding       {}", shown(decode));
    println!("preprocessing  {}", shown(preprocess));

    let mut network = Duration::ZERO;
    for batch in [1, 2, 4, 8, 16, 32] {
        let choices = Choices { batch, ..single.choices.clone() };
        let compiler = model.compiler().weights(&weights).choices(Arc::new(choices)).batch(batch);
        let loaded = compiler.compile()?.load(&weights)?;
        let mut session = loaded.session();
        let (input, mut output) = (input.repeat(batch), vec![0.0; batch * single.info.outputs]);
        let run = || session.run_batch(&input, &mut output).expect("whole pictures");
        let time = shortest(1 + 64 / batch, run) / batch as u32;
        println!("network, {batch:2} at a time  {}", shown(time));
        if batch == ArrowNetwork::BATCH {
            network = time;
        }
    }
    let one = 1.0 / (decode + preprocess + network).as_secs_f64();
    for count in std::iter::once(NonZeroUsize::MIN).chain(cores) {
        let rate = one * count.get() as f64;
        let megabytes = rate * bytes as f64 / 1e6;
        println!(
            "{count} cores: {rate:.0} pictures a second, which are {megabytes:.1} MB a second to read"
        );
    }
    Ok(())
}

/// The shortest time of so many: what others do on this machine makes none shorter.
fn shortest(times: usize, mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..times).map(time).min().unwrap_or_default()
}

fn shown(time: Duration) -> String {
    format!("{:8.3} ms", 1e3 * time.as_secs_f64())
}
