resnet::resnet! {
    #[resnet(precision = "f16")]
    pub Net = "tests/ui/tables/good.yaml";
}

fn main() {
    let weights = resnet::Weights::random(&Net::tensors(), 1);
    let network = Net::load(&weights).unwrap();
    let mut session = network.session();
    let answer: &[f32; 10] = session.run(&[0.0; Net::INPUT_LEN]);
    println!("{answer:?} {}", Net::CLASSES);
}
