#![deny(deprecated)]

resnet::resnet! {
    pub Net = "tests/ui/tables/flattened.yaml";
}

fn main() {
    println!("{}", Net::CLASSES);
}
