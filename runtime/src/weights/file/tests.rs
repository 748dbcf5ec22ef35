use super::*;
use crate::kernels::{ConvShape, Element, PanelFormat, Panels, Transform};
use crate::weights::{
    Content, ConvSource, Init, LoadError, NormTensors, Packed, Stored, TensorSpec, Weights, load,
};

/// A 3x3 convolution from 16 to `out` channels, packed from element `offset` on.
fn conv(name: &str, out: usize, transform: Transform, offset: usize) -> Recipe {
    let source = ConvSource {
        weight: format!("{name}.weight").into(),
        bias: Some(format!("{name}.bias").into()),
        norm: None,
        standardise: None,
        slice: None,
    };
    let shape = ConvShape {
        out_channels: out,
        in_channels: 16,
        groups: 1,
        kernel_rows: 3,
        kernel_columns: 3,
    };
    let format = PanelFormat {
        planar: false,
        panel_blocks: out.div_ceil(16).min(2),
        in_blocks: 1,
        in_block_step: 0,
        transform,
        element: Element::F32,
    };
    Recipe { content: Content::Conv { source, panels: Panels { shape, format } }, offset }
}

fn vector(name: &str, offset: usize) -> Recipe {
    Recipe { content: Content::Vector { weight: name.to_owned().into(), channels: 20 }, offset }
}

/// Some parts and what packs them.
struct Network {
    plan: WeightsPlan,
}

impl Network {
    /// Two convolutions, a batch norm and two vectors.
    fn new() -> Self {
        let norm = |part: &str| format!("norm.{part}").into();
        let norm = NormTensors {
            weight: norm("weight"),
            bias: norm("bias"),
            mean: norm("running_mean"),
            variance: norm("running_var"),
            epsilon: 1e-5,
        };
        let mut next = 0;
        let parts = [
            conv("first", 40, Transform::Winograd4x4, 0),
            conv("second", 16, Transform::None, 0),
            Recipe { content: Content::Norm { norm, channels: 24 }, offset: 0 },
            vector("scales", 0),
            vector("shifts", 0),
        ];
        let recipes = parts.map(|recipe| {
            let offset = next;
            next += recipe.content.bytes();
            Recipe { offset, ..recipe }
        });
        Self::of(recipes.to_vec())
    }

    fn of(recipes: Vec<Recipe>) -> Self {
        let tensor = |name: &str, shape: &[usize]| TensorSpec {
            name: name.to_owned().into(),
            shape: shape.to_vec().into(),
            stored: Stored::Float,
            init: Init::Uniform(0.5, 1.5),
        };
        let tensors = recipes.iter().flat_map(|recipe| match &recipe.content {
            Content::Conv { source, panels } => {
                let out = panels.shape.out_channels;
                let bias = source.bias.as_ref().map(|bias| tensor(bias, &[out]));
                let weight = tensor(&source.weight, &[out, 16, 3, 3]);
                [weight].into_iter().chain(bias).collect::<Vec<_>>()
            }
            Content::Norm { norm, channels } => {
                norm.names().map(|name| tensor(name, &[*channels])).to_vec()
            }
            Content::Vector { weight, channels } => vec![tensor(weight, &[*channels])],
            other => unreachable!("{other:?} is not among them"),
        });
        let plan = WeightsPlan {
            network: "two".into(),
            table: 7,
            tensors: tensors.collect(),
            bytes: recipes.last().map_or(0, |last| last.range().end),
            recipes: recipes.into(),
        };
        Self { plan }
    }

    fn load(&self, weights: &Weights) -> Result<Packed, LoadError> {
        load(&self.plan, weights, NonZeroUsize::new(2).unwrap())
    }

    fn packed(&self) -> Vec<f32> {
        let packed = self.load(&Weights::random(&self.plan.tensors, 5)).unwrap();
        bytemuck::cast_slice(packed.as_bytes()).to_vec()
    }

    fn file(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written =
            write(&mut bytes, &self.plan, bytemuck::cast_slice(&self.packed()), "--exact", "a\nb")
                .unwrap();
        assert_eq!(written, bytes.len() as u64);
        bytes
    }

    /// The bits that come back from a file.
    fn bits(&self, file: Vec<u8>) -> Result<Vec<u32>, String> {
        let weights = Weights::from_bytes(file).map_err(|error| error.to_string())?;
        let packed = self.load(&weights).map_err(|error| error.to_string())?;
        Ok(bits(bytemuck::cast_slice(packed.as_bytes())))
    }

    fn with(mut self, index: usize, change: fn(&mut Recipe)) -> Self {
        change(&mut self.plan.recipes.to_mut()[index]);
        self
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
    assert_eq!(loaded.as_bytes().as_ptr() as usize % 64, 0);
    assert_eq!(bits(bytemuck::cast_slice(loaded.as_bytes())), bits(&packed));
    // The map outlives the value that opened it.
    drop(weights);
    assert_eq!(bits(bytemuck::cast_slice(loaded.as_bytes())), bits(&packed));
    // And another file that is renamed over its own, as careful writers do.
    let new = path.with_extension("new");
    std::fs::write(&new, b"cut short").unwrap();
    std::fs::rename(&new, &path).unwrap();
    assert_eq!(bits(bytemuck::cast_slice(loaded.as_bytes())), bits(&packed));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_was_read_does_not_mind_a_file_that_is_cut_short() {
    let network = Network::new();
    let path = std::env::temp_dir().join(format!("resnet-read-{}", std::process::id()));
    std::fs::write(&path, network.file()).unwrap();
    let weights = Weights::read(&path).unwrap();
    std::fs::write(&path, b"").unwrap();
    let loaded = network.load(&weights).unwrap();
    assert!(matches!(loaded, Packed::Owned(_)));
    assert_eq!(bits(bytemuck::cast_slice(loaded.as_bytes())), bits(&network.packed()));
    assert!(Weights::read(&path).unwrap_err().to_string().contains("the file is empty"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn elements_that_are_no_numbers_come_back_too() {
    let network = Network::new();
    let mut packed = network.packed();
    packed[..4].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, f32::from_bits(1), -0.0]);
    let mut file = Vec::new();
    write(&mut file, &network.plan, bytemuck::cast_slice(&packed), "", "").unwrap();
    assert_eq!(network.bits(file), Ok(bits(&packed)));
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused() {
    let network = Network::new();
    let file = network.file();
    let text = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    let start = file.len() - network.plan.bytes;
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
    let version = format!("has version 1, and this program reads version {VERSION}");
    network.refuses(changed(&|f| f[8] = 1), &version);
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
}

#[test]
fn what_was_packed_for_something_else_is_refused() {
    let file = Network::new().file();
    let changed = |change: fn(&mut Network)| {
        let mut network = Network::new();
        change(&mut network);
        network
    };
    changed(|n| n.plan.table = 8).refuses(file.clone(), "packed for another table, called `two`");
    let with = |index: usize, change: fn(&mut Recipe)| Network::new().with(index, change);
    with(0, |recipe| *recipe = conv("first", 40, Transform::None, 0)).refuses(
        file.clone(),
        "packed with the options `--exact` for the same table, but this network reads its weights \
         in another way (`first.weight`: transform is \"Winograd4x4\" in the file and \"None\" \
         here): compile it with the same options",
    );
    with(1, |recipe| *recipe = conv("other", 16, Transform::None, recipe.offset))
        .refuses(file.clone(), "the file has `second.weight` where the network has `other.weight`");
    // Two tables may differ in names alone, and then have the same fingerprint.
    with(2, |recipe| {
        let Content::Norm { norm, .. } = &mut recipe.content else { panic!("{recipe:?}") };
        std::mem::swap(&mut norm.bias, &mut norm.mean);
    })
    .refuses(file.clone(), "`norm.weight`: bias is \"norm.bias\" in the file");
    with(2, |recipe| {
        let Content::Norm { norm, .. } = &mut recipe.content else { panic!("{recipe:?}") };
        norm.epsilon = 1e-3;
    })
    .refuses(file.clone(), "`norm.weight`: epsilon is 0.00001 in the file and 0.001 here");
    with(3, |recipe| *recipe = vector("shifts", recipe.offset))
        .refuses(file.clone(), "the file has `scales` where the network has `shifts`");
    with(4, |recipe| recipe.offset += 64).refuses(file.clone(), "`shifts`: offset is");
    changed(|n| drop(n.plan.recipes.to_mut().pop()))
        .refuses(file.clone(), "the network has no `shifts`");
    changed(|n| n.plan.recipes.to_mut().push(conv("third", 16, Transform::None, 0)))
        .refuses(file.clone(), "the file has no `third.weight`");
    changed(|n| n.plan.bytes += 64).refuses(file, "the network needs");
}

#[test]
fn packed_weights_have_no_tensors() {
    let network = Network::new();
    let weights = Weights::from_bytes(network.file()).unwrap();
    assert_eq!(weights.names().count(), 0);
    let about = weights.packed().unwrap().about();
    assert_eq!((about.options.as_str(), about.schedule.as_str()), ("--exact", "a\nb"));
    for error in
        [weights.tensor("x").unwrap_err(), weights.check(&network.plan.tensors).unwrap_err()]
    {
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
