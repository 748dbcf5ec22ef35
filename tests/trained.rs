//! The trained network in the repository on the pictures in the repository.

use std::path::Path;

use resnet::Image;
use resnet::{Backend, Compiler, Options, Spec, Weights};

const LABELS: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[test]
fn the_sample_pictures_are_what_their_names_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = resnet::zoo("cifar10-resnet20").unwrap();
    let spec = Spec::from_yaml(text).unwrap();
    let weights = Weights::open(root.join("models/cifar10/resnet20.safetensors")).unwrap();
    let networks = [Backend::Jit, Backend::Interpret].map(|backend| {
        let options = Options { backend, ..Options::default() };
        Compiler::new(&spec).options(options).compile().unwrap().load(&weights).unwrap()
    });
    let mut seen = 0;
    for entry in root.join("examples/pictures").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let picture = Image::open(&path).unwrap();
        for network in &networks {
            let input = spec.preprocess.apply(&picture, network.info().input).unwrap();
            let mut session = network.session();
            let logits = session.run(&input).unwrap();
            let best = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = stem.split('-').nth(1).unwrap();
            assert_eq!(LABELS[best], name, "{}", path.display());
        }
        seen += 1;
    }
    assert_eq!(seen, 12);
}
