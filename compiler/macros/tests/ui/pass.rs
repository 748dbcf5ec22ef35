//! Whatever a careful crate forbids, the macro's code is no obstacle.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused_results)]

// What a crate may mean by these words.
#[allow(dead_code)]
type Option = ();
#[allow(dead_code)]
type Result = ();
#[allow(dead_code)]
trait Default {}

resnet::resnet! {
    /// Of a file.
    pub Net = "tests/ui/tables/good.yaml";

    /// Of tokens.
    #[resnet(batch = 2, exact = true, memory = 64e6, params = 1e6)]
    pub Tokens: 3x8x8 => { conv(3, 10); average_pool(8, padding = 0); };
}

fn main() {
    fn is_shared<T: Clone + std::fmt::Debug + Send + Sync + resnet::Network>(_: &T) {}
    let network = Net::load(&resnet::Weights::random(&Net::tensors(), 1)).unwrap();
    is_shared(&network);
    let mut session = network.session();
    let answer: &[f32; 10] = session.run(&[0.0; Net::INPUT_LEN]);
    println!("{answer:?} {network:?} {}", Tokens::BATCH);
}
