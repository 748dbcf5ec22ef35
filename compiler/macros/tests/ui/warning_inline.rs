#![deny(deprecated)]

resnet::resnet! {
    pub Net: 3x32x32 => {
        conv1: conv(3x3, 16, stride = 2);
        pool1: max_pool(2x2, stride = 2x3, padding = 0);
        fc: linear(10);
    }

    pub Quiet: 3x8x8 => {
        allow = [skipped_pixels];
        pool1: max_pool(2x2, stride = 3, padding = 0);
        avgpool: global_average_pool;
        fc: linear(10);
    }
}

fn main() {
    println!("{} {}", Net::CLASSES, Quiet::CLASSES);
}
