//! Classifies a picture with a network, and its weights, that are part of the program.

use resnet::runtime::picture::Picture;

resnet::resnet! {
    Cifar = "models/cifar10/resnet20.yaml", weights = "models/cifar10/resnet20.safetensors";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or("examples/pictures/04-cat.png".into());
    let input = Cifar::preprocess().apply(&Picture::open(&path)?, Cifar::INPUT)?;
    let mut session = Cifar::embedded().session();
    let logits = session.run(input.as_slice().try_into()?);
    let best = (0..Cifar::CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    println!("{path}: {}", Cifar::LABELS[best.unwrap_or(0)]);
    Ok(())
}
