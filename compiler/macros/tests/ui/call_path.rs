resnet::resnet!(pub Net = models/good.yaml);

fn main() {}
