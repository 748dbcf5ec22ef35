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

    let time = |work: &mut dyn FnMut(&[u8])| {
        let start = Instant::now();
        files.iter().for_each(|bytes| work(bytes));
        start.elapsed() / files.len() as u32
    };
    let decode = time(&mut |bytes| drop(black_box(Image::decode(bytes))));
    let single = model.compiler().weights(&weights).plan()?;
    let shape = single.info.input;
    let mut input = vec![0.0; single.info.input_len()];
    let both = time(&mut |bytes| {
        if let Ok(picture) = Image::decode(bytes) {
            let _ = black_box(model.spec.preprocess.apply_into(&picture, shape, &mut input));
        }
    });
    let preprocess = both.saturating_sub(decode);
    println!("decoding       {}", shown(decode));
    println!("preprocessing  {}", shown(preprocess));

    let mut network = Duration::ZERO;
    for batch in [1, ArrowNetwork::BATCH, 32] {
        let choices = Choices { batch, ..single.choices.clone() };
        let compiler = model.compiler().weights(&weights).choices(Arc::new(choices)).batch(batch);
        let loaded = compiler.compile()?.load(&weights)?;
        let mut session = loaded.session();
        let (input, mut output) = (input.repeat(batch), vec![0.0; batch * single.info.outputs]);
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 5 || begin.elapsed() < Duration::from_secs(2) {
            let start = Instant::now();
            session.run_batch(&input, &mut output)?;
            times.push(start.elapsed() / batch as u32);
        }
        times.sort();
        let median = times[times.len() / 2];
        println!("network, {batch:2} at a time  {}", shown(median));
        if batch == ArrowNetwork::BATCH {
            network = median;
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

fn shown(time: Duration) -> String {
    format!("{:8.3} ms", 1e3 * time.as_secs_f64())
}
