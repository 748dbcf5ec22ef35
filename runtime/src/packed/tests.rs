use super::*;
use crate::load::{LoadError, load};
use crate::session::Packed;
use crate::tensors::{Init, TensorSpec, Transform};
use crate::weights::Weights;

/// A 3x3 convolution from 16 to `out` channels, packed from element `offset` on.
fn recipe(name: &str, out: usize, transform: Transform, offset: usize) -> ConvRecipe {
    ConvRecipe {
        weight: format!("{name}.weight"),
        bias: Some(format!("{name}.bias")),
        norm: None,
        out_channels: out,
        in_channels: 16,
        groups: 1,
        kernel_rows: 3,
        kernel_columns: 3,
        planar: false,
        panel_blocks: out.div_ceil(16).min(2),
        in_blocks: 1,
        in_block_step: 0,
        transform,
        offset,
    }
}

/// Two convolutions and what packs them.
struct Network {
    tensors: Vec<TensorSpec>,
    recipes: Vec<ConvRecipe>,
    len: usize,
    table: u64,
}

impl Network {
    fn new() -> Self {
        let first = recipe("first", 40, Transform::Winograd4x4, 0);
        let second = recipe("second", 16, Transform::None, first.len());
        Self::of(vec![first, second])
    }

    fn of(recipes: Vec<ConvRecipe>) -> Self {
        let tensor = |name: &str, shape: &[usize]| TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            init: Init::Normal(1.0),
        };
        let tensors = recipes.iter().flat_map(|recipe| {
            let out = recipe.out_channels;
            let bias = recipe.bias.as_ref().map(|bias| tensor(bias, &[out]));
            [tensor(&recipe.weight, &[out, 16, 3, 3])].into_iter().chain(bias)
        });
        let len = recipes.iter().map(ConvRecipe::len).sum();
        Self { tensors: tensors.collect(), len, recipes, table: 7 }
    }

    fn packing(&self) -> Packing<'_> {
        let Self { tensors, recipes, len, table } = self;
        Packing { network: "two", table: *table, tensors, recipes, vectors: &[], len: *len }
    }

    fn load(&self, weights: &Weights) -> Result<Packed, LoadError> {
        load(&self.packing(), weights, NonZeroUsize::new(2).unwrap())
    }

    fn packed(&self) -> Vec<f32> {
        self.load(&Weights::random(&self.tensors, 5)).unwrap().as_slice().to_vec()
    }

    fn file(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written =
            write(&mut bytes, &self.packing(), &self.packed(), "--exact", "a\nb").unwrap();
        assert_eq!(written, bytes.len() as u64);
        bytes
    }

    /// The bits that come back from a file.
    fn bits(&self, file: Vec<u8>) -> Result<Vec<u32>, String> {
        let weights = Weights::from_bytes(file).map_err(|error| error.to_string())?;
        let packed = self.load(&weights).map_err(|error| error.to_string())?;
        Ok(bits(packed.as_slice()))
    }

    #[track_caller]
    fn refuses(&self, file: Vec<u8>, expected: &str) {
        let message = self.bits(file).unwrap_err();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("`weights in memory`"), "{message}");
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Makes the head's checksum that of what the head says now.
fn seal(file: &mut [u8]) {
    let text = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let checksum = head_checksum(&file[..40], &file[FIXED..FIXED + text]);
    file[40..48].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn what_is_packed_comes_back_bit_for_bit() {
    let network = Network::new();
    let (file, packed) = (network.file(), network.packed());
    assert_eq!(network.bits(file.clone()), Ok(bits(&packed)));

    let path = std::env::temp_dir().join(format!("resnet-packed-{}", std::process::id()));
    std::fs::write(&path, &file).unwrap();
    let weights = Weights::open(&path).unwrap();
    let loaded = network.load(&weights).unwrap();
    assert!(matches!(loaded, Packed::Mapped(_)) || cfg!(target_endian = "big"));
    assert_eq!(loaded.as_slice().as_ptr() as usize % 64, 0);
    assert_eq!(bits(loaded.as_slice()), bits(&packed));
    // The map outlives the value that opened it.
    drop(weights);
    assert_eq!(bits(loaded.as_slice()), bits(&packed));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn elements_that_are_no_numbers_come_back_too() {
    let network = Network::new();
    let mut packed = network.packed();
    packed[..4].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, f32::from_bits(1), -0.0]);
    let mut file = Vec::new();
    write(&mut file, &network.packing(), &packed, "", "").unwrap();
    assert_eq!(network.bits(file), Ok(bits(&packed)));
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused() {
    let network = Network::new();
    let file = network.file();
    let text = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let start = file.len() - 4 * network.len;
    for len in (0..FIXED + text).chain([start, start + 1, file.len() - 4, file.len() - 1]) {
        assert!(network.bits(file[..len].to_vec()).is_err(), "truncated to {len}");
    }
    // What follows the text up to the page is of no meaning.
    for at in (0..FIXED + text).chain((start..file.len()).step_by(501)) {
        let mut bad = file.clone();
        bad[at] ^= 0x10;
        assert!(network.bits(bad).is_err(), "flipped byte {at}");
    }
}

#[test]
fn says_what_is_wrong_with_a_damaged_file() {
    let network = Network::new();
    let file = network.file();
    let last = file.len() - 1;
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = file.clone();
        change(&mut file);
        file
    };
    network.refuses(file[..last].to_vec(), &format!("has {last} bytes and should have"));
    network.refuses(changed(&|f| f.push(0)), "it was cut off or added to");
    network.refuses(file[..20].to_vec(), "has 20 bytes");
    network.refuses(changed(&|f| f[last] ^= 1), "the checksum differs");
    network.refuses(changed(&|f| f[60] ^= 1), "its head is damaged");
    network.refuses(changed(&|f| assert_eq!(f.remove(4), b'\r')), "transfer as text");
    network.refuses(changed(&|f| f[8..12].reverse()), "big-endian");
    network.refuses(changed(&|f| f[8] = 1), "has version 1, and this program reads version 2");
}

#[test]
fn a_head_that_contradicts_itself_is_refused_whatever_its_checksum() {
    let network = Network::new();
    for (at, value) in [(16, u64::MAX), (16, 0), (16, 4100), (24, u64::MAX), (24, 3)] {
        let mut file = network.file();
        file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        seal(&mut file);
        assert!(network.bits(file).is_err(), "{value} at {at}");
    }
    let mut file = network.file();
    let place = file.windows(5).position(|bytes| bytes == b"\"f32\"").unwrap();
    file[place + 1..place + 4].copy_from_slice(b"f64");
    seal(&mut file);
    network.refuses(file, "its elements are f64");
}

#[test]
fn what_was_packed_for_something_else_is_refused() {
    let file = Network::new().file();
    let changed = |change: fn(&mut Network)| {
        let mut network = Network::new();
        change(&mut network);
        network
    };
    changed(|n| n.table = 8).refuses(file.clone(), "packed for another table, called `two`");
    changed(|n| n.recipes[0].transform = Transform::None).refuses(
        file.clone(),
        "packed with the options `--exact` for the same table, but this network reads its weights \
         in another way (`first.weight`: transform is \"Winograd4x4\" in the file and \"None\" \
         here): compile it with the same options",
    );
    changed(|n| n.recipes[1].weight = "other.weight".into())
        .refuses(file.clone(), "the file has `second.weight` where the network has `other.weight`");
    changed(|n| drop(n.recipes.pop())).refuses(file.clone(), "the network has no `second.weight`");
    changed(|n| n.recipes.push(recipe("third", 16, Transform::None, 0)))
        .refuses(file.clone(), "the file has no `third.weight`");
    changed(|n| n.len += 16).refuses(file, "the network needs");
}

#[test]
fn packed_weights_have_no_tensors() {
    let network = Network::new();
    let weights = Weights::from_bytes(network.file()).unwrap();
    assert_eq!(weights.names().count(), 0);
    let about = weights.packed().unwrap().about();
    assert_eq!((about.options.as_str(), about.schedule.as_str()), ("--exact", "a\nb"));
    for error in [weights.tensor("x").unwrap_err(), weights.check(&network.tensors).unwrap_err()] {
        assert!(error.to_string().contains("which have no tensors any more"), "{error}");
    }
}

#[test]
fn checksums_do_not_depend_on_threads() {
    for len in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 5] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        let sums = [1, 2, 3, 9].map(|n| checksum(&bytes, NonZeroUsize::new(n).unwrap()));
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{len}");
    }
}
