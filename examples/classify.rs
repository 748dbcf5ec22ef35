//! Says what is in a picture: a network and its weights inside one program, compiled with it.
//!
//!     cargo run --release --example classify examples/pictures/04-cat.png

use resnet::{Image, top_k};

resnet::resnet! {
    Cifar10 = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20.safetensors";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Cifar10::embedded().session();
    for path in std::env::args().skip(1) {
        let picture = Image::open(&path)?;
        let input = Cifar10::preprocess().apply(&picture, Cifar10::INPUT)?;
        let logits = session.try_run(&input)?;
        println!("{path}: {}", Cifar10::LABELS[top_k(logits, 1)[0]]);
    }
    Ok(())
}
