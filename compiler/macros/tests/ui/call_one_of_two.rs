resnet::resnet! {
    pub Bad = "tests/ui/tables/nowhere.yaml";
    pub Good = "tests/ui/tables/good.yaml";
}

fn main() {
    let _: [usize; 3] = Good::INPUT;
    let _: &dyn resnet::Network = &Good::load(&resnet::Weights::random(&[], 0)).unwrap();
}
