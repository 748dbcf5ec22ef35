resnet::resnet!("tests/ui/tables/good.yaml");

fn main() {}
