//! Depth variants of one network, from tables in the code: change a number, and the compiler says
//! what it costs. Budgets make it say no.
//!
//!     cargo run --release --example depth

use std::time::Instant;

use resnet::Weights;

resnet::resnet! {
    /// 6n + 2 layers for n = 2.
    #[resnet(params = 0.2e6, macs = 30e6)]
    Depth14: 3x32x32 => {
        conv1:   conv(3x3, 16)                                    -> 32x32;
        conv2_x: basic(16, shortcut = zero_pad) * 2               -> 32x32;
        conv3_x: basic(32, shortcut = zero_pad, stride = 2) * 2   -> 16x16;
        conv4_x: basic(64, shortcut = zero_pad, stride = 2) * 2   -> 8x8;
        avgpool: global_average_pool                              -> 1x1;
        fc:      linear(10);
        expect = { depth = 14 };
    }

    /// The same depth in bottlenecks, which the paper uses from 50 layers on.
    Bottleneck20: 3x32x32 => {
        conv1:   conv(3x3, 16)                                    -> 32x32;
        conv2_x: bottleneck(64) * 2                               -> 32x32;
        conv3_x: bottleneck(128, stride = 2) * 2                  -> 16x16;
        conv4_x: bottleneck(256, stride = 2) * 2                  -> 8x8;
        avgpool: global_average_pool                              -> 1x1;
        fc:      linear(10);
        expect = { depth = 20 };
    }
}

fn main() -> Result<(), resnet::LoadError> {
    let mut first = Depth14::load(&Weights::random(&Depth14::tensors(), 1))?.session();
    let mut second = Bottleneck20::load(&Weights::random(&Bottleneck20::tensors(), 1))?.session();
    let picture = [0.5; Depth14::INPUT_LEN];
    println!("network       depth   params      MACs  us");
    let time = |name: &str, depth: usize, params: usize, macs: u64, run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..100).for_each(|_| run());
        let microseconds = start.elapsed().as_micros() / 100;
        println!("{name:13} {depth:5} {params:8} {macs:9} {microseconds:3}");
    };
    time(Depth14::NAME, Depth14::DEPTH, Depth14::PARAMS, Depth14::MACS, &mut || {
        first.run(&picture);
    });
    time(
        Bottleneck20::NAME,
        Bottleneck20::DEPTH,
        Bottleneck20::PARAMS,
        Bottleneck20::MACS,
        &mut || {
            second.run(&picture);
        },
    );
    Ok(())
}
