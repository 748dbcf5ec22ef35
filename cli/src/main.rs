//! The command `resnet`.

fn main() {
    println!("{}", env!("CARGO_PKG_VERSION"));
}
