resnet::resnet! {
    pub Net: 3x8x8 => {
        conv1: conv(3, 16, strid = 2);
        fc: linear(10);
    }
}

fn main() {
    let weights = resnet::Weights::random(&Net::tensors(), 1);
    let network = Net::load(&weights).unwrap();
    let mut session = network.session();
    let answer: &[f32; 10] = session.run(&[0.0; Net::INPUT_LEN]);
    println!("{answer:?} {}", Net::CLASSES);
}
