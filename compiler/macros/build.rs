//! Does nothing but be there: a crate with a build script has an `OUT_DIR`, which is where the
//! macro keeps the weights that it packs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
