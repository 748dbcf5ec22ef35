//! The command as its users meet it: exit status, stdout, stderr, files.

mod bench;
mod check;
mod emit;
mod eval;
mod fit;
mod gradients;
mod import;
mod manners;
mod new;
mod pack;
mod precision;
mod quantize;
mod report;
mod run;
mod sweep;
mod train;
mod tune;

use std::path::{Path, PathBuf};
use std::process::Output;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// Its answer to a picture is the mean of each channel: the class is the colour.
const COLOURS: &str = "
name: colours
input: 3x4x4
table:
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 3}
labels: [red, green, blue]
preprocess: {resize: 4, crop: 4, mean: [0, 0, 0], std: [1, 1, 1]}
";

/// A red picture.
const RED_JPEG: &[u8] = include_bytes!("../../../runtime/tests/golden/jpeg/red.jpg");

/// A folder to work in, which goes away at the end.
struct Workshop {
    folder: TempDir,
}

/// What the command did.
struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Workshop {
    /// A folder with `colours.yaml` and `colours.safetensors`.
    fn new() -> Self {
        let workshop = Self { folder: tempfile::tempdir().unwrap() };
        workshop.write("colours.yaml", COLOURS);
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        workshop.weights("colours.safetensors", &identity);
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Weights of `colours`: this matrix, and no bias.
    fn weights(&self, name: &str, matrix: &[f32; 9]) {
        let header = "{\"fc.weight\":{\"dtype\":\"F32\",\"shape\":[3,3],\"data_offsets\":[0,36]},\
             \"fc.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[36,48]}}";
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(matrix.iter().chain(&[0.0; 3]).flat_map(|value| value.to_le_bytes()));
        self.write(name, bytes);
    }

    /// A picture of one colour.
    fn picture(&self, name: &str, colour: [u8; 3]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with(".jpg") {
            assert_eq!(colour, [255, 0, 0], "there is one JPEG");
            return self.write(name, RED_JPEG);
        }
        RgbImage::from_pixel(6, 5, Rgb(colour)).save(path).unwrap();
    }

    /// Runs the command in the folder; the arguments are separated by spaces.
    fn resnet(&self, arguments: &str) -> Done {
        self.resnet_with(arguments.split_whitespace())
    }

    fn resnet_with<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Done {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("resnet");
        Done::new(command.current_dir(self.folder.path()).args(arguments).output().unwrap())
    }

    /// Everything in the folder, by name.
    fn files(&self) -> Vec<String> {
        let entries = self.folder.path().read_dir().unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Done {
    fn new(output: Output) -> Self {
        Self {
            status: output.status.code().expect("the command ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Everything was done, and nothing was said on stderr.
    #[track_caller]
    fn succeeds(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The command line is fine, but something is wrong, which stderr says.
    #[track_caller]
    fn fails(self, expected: &str) -> Self {
        assert_eq!(self.status, 1, "{}{}", self.out, self.err);
        assert!(self.err.contains(expected), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// The command line is wrong.
    #[track_caller]
    fn must_be_misuse(self, expected: &str) {
        assert_eq!((self.status, self.out.as_str()), (2, ""), "{}", self.err);
        assert!(self.err.contains(expected), "{}", self.err);
    }
}

/// The shape and the values of a `.npy` file of little-endian `f32`.
fn read_npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    let shape = header.split(['(', ')']).nth(1).unwrap().to_owned();
    (shape, bytes[start..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn write_npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[test]
fn usage() {
    let workshop = Workshop::new();
    assert!(workshop.resnet("--help").succeeds().contains("Usage: resnet"));
    assert!(workshop.resnet("--version").succeeds().starts_with("resnet "));
    for command in [
        "check",
        "report",
        "run",
        "eval",
        "bench",
        "pack",
        "quantize",
        "train",
        "gradients",
        "emit",
        "new",
        "sweep",
        "models",
        "man",
    ] {
        assert!(workshop.resnet(&format!("{command} --help")).succeeds().contains("Usage"));
    }
    workshop.resnet("").must_be_misuse("Usage");
    workshop.resnet("chek colours.yaml").must_be_misuse("unrecognized subcommand");
    workshop.resnet("check").must_be_misuse("MODEL");
    workshop.resnet("check colours.yaml --batch 0").must_be_misuse("--batch");
    workshop.resnet("check colours.yaml --format yaml").must_be_misuse("--format");
    workshop.resnet("run colours.yaml a.png").must_be_misuse("--weights");
    workshop.resnet("run colours.yaml --random-weights 1").must_be_misuse("IMAGE");
    workshop
        .resnet("run colours.yaml --random-weights 1 --weights w a.png")
        .must_be_misuse("--weights");
    workshop
        .resnet("run colours.yaml --random-weights 1 --input x a.png")
        .must_be_misuse("--input");
    workshop.resnet("bench colours.yaml --threads 0").must_be_misuse("--threads");
    workshop.resnet("bench colours.yaml --seconds nan").must_be_misuse("not a length of time");
    workshop.resnet("pack colours.yaml --random-weights 1").must_be_misuse("--output");
    workshop.resnet("pack colours.yaml -o colours.packed").must_be_misuse("--weights");
    workshop.resnet("emit colours.yaml --as c").must_be_misuse("--as");
}
