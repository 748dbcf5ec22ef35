//! A depth of one's own, as a table in the code: every size is checked while this is compiled.

resnet::resnet! {
    /// Twenty-six layers for small grey pictures.
    Small: 1x28x28 => {
        conv1:   conv(3, 16)                        -> 28x28;
        conv2_x: basic(16) * 4                      -> 28x28;
        conv3_x: basic(32, stride = 2) * 4          -> 14x14;
        conv4_x: basic(64, stride = 2) * 4          -> 7x7;
        avgpool: global_average_pool                -> 1x1;
        fc:      linear(10);
        expect = { depth = 26 };
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network = Small::load(&resnet::Weights::random(&Small::tensors(), 7))?;
    let mut session = network.session();
    let logits: &[f32; 10] = session.run(&[0.5; 28 * 28]);
    println!("{}: depth {}, {} parameters", Small::NAME, Small::DEPTH, Small::PARAMS);
    println!("{logits:.3?}");
    Ok(())
}
