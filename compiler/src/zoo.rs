//! The networks that the compiler carries inside.

use resnet_runtime::weights::{Mismatch, TensorSpec, Weights, WeightsError};

use crate::graph::Graph;
use crate::spec::Spec;

/// A network's name and its table.
macro_rules! table {
    ($name:literal) => {
        ($name, include_str!(concat!("../models/", $name, ".yaml")))
    };
}

/// Every network, by name: the tables of `models/`.
pub const ZOO: &[(&str, &str)] = &[
    table!("resnet18"),
    table!("resnet34"),
    table!("resnet50"),
    table!("resnet101"),
    table!("resnet152"),
    table!("resnet26d"),
    table!("resnet50d"),
    table!("resnet50_os8"),
    table!("resnet50_backbone"),
    table!("seresnet50"),
    table!("ecaresnet50d"),
    table!("resnetblur50"),
    table!("res2net50_26w_4s"),
    table!("resnet50_gn"),
    table!("resnetv2_50"),
    table!("resnext50_32x4d"),
    table!("resnext101_32x8d"),
    table!("resnext101_64x4d"),
    table!("wide_resnet50_2"),
    table!("wide_resnet101_2"),
    table!("resnet50-paper"),
    table!("resnet101-paper"),
    table!("resnet152-paper"),
    table!("resnet34-a"),
    table!("resnet34-c"),
    table!("plain18"),
    table!("plain34"),
    table!("cifar-resnet20"),
    table!("cifar-resnet32"),
    table!("cifar-resnet44"),
    table!("cifar-resnet56"),
    table!("cifar-resnet110"),
    table!("cifar-resnet1202"),
    table!("preact-resnet164"),
    table!("preact-resnet1001"),
    table!("wrn-28-10"),
    table!("resnet8"),
    ("cifar10-resnet20", include_str!("../models/cifar10/resnet20.yaml")),
];

/// The table of a network, such as `resnet50`.
pub fn zoo(name: &str) -> Option<&'static str> {
    ZOO.iter().find(|(known, _)| *known == name).map(|(_, table)| *table)
}

/// A network of the zoo whose tensors some weights have, all or nearly all of them.
#[derive(Clone, Debug)]
struct Fit {
    /// The network.
    name: &'static str,
    /// Tensors that it needs.
    tensors: usize,
    /// How the weights differ from them.
    difference: Difference,
}

/// How weights differ from a network's tensors.
#[derive(Clone, Debug)]
struct Difference {
    /// What a training wrapper put before every name, such as `module.`.
    prefix: Option<String>,
    /// What differs besides; `None` if nothing does.
    mismatch: Option<Box<Mismatch>>,
}

impl Difference {
    /// Compares weights with a network's tensors. Packed weights have none to compare: `None`.
    fn between(weights: &Weights, tensors: &[TensorSpec]) -> Option<Self> {
        let mismatch = match weights.check(tensors) {
            Ok(()) => None,
            Err(WeightsError::Mismatch(mismatch)) => Some(mismatch),
            Err(_) => return None,
        };
        let Some(prefix) = mismatch.as_ref().and_then(|mismatch| mismatch.prefix.clone()) else {
            return Some(Self { prefix: None, mismatch });
        };
        // All names are there behind the prefix; others, or other shapes, may be too.
        let mut tensors = tensors.to_vec();
        tensors.iter_mut().for_each(|tensor| tensor.name.to_mut().insert_str(0, &prefix));
        let mismatch = Self::between(weights, &tensors)?.mismatch;
        Some(Self { prefix: Some(prefix), mismatch })
    }

    /// Tensors that differ.
    fn count(&self) -> usize {
        self.mismatch.as_ref().map_or(0, |mismatch| mismatch.count())
    }
}

/// The network of the zoo that weights fit best, the first one of equals, if no more than a tenth of
/// its tensors differ. Packed weights have no tensors, and fit none.
fn best_fit(weights: &Weights) -> Option<Fit> {
    let mut best: Option<Fit> = None;
    for &(name, table) in ZOO {
        let graph = Graph::build(&Spec::from_yaml_named(table, name).ok()?).ok()?;
        let difference = Difference::between(weights, &graph.tensors)?;
        let (count, tensors) = (difference.count(), graph.tensors.len());
        let near = count.saturating_mul(10) <= tensors;
        if near && best.as_ref().is_none_or(|best| count < best.difference.count()) {
            best = Some(Fit { name, tensors, difference });
        }
        if count == 0 {
            break;
        }
    }
    best
}

/// Says whose weights these are, if a network of the zoo fits them better than the one that they
/// were meant for, which needs `tensors`; with a tensor that tells the two apart.
pub fn whose(weights: &Weights, tensors: &[TensorSpec]) -> Option<String> {
    let meant = Difference::between(weights, tensors)?;
    let Fit { name, tensors, difference } = best_fit(weights)?;
    let count = difference.count();
    if count >= meant.count() {
        return None;
    }
    let mut text = match count {
        0 => String::new(),
        1 => format!("but for one of {tensors} tensors "),
        _ => format!("but for {count} of {tensors} tensors "),
    };
    text += &format!("these are the weights of `{name}`");
    if let Some(mismatch) = &meant.mismatch {
        let odd = |tensor: &str| {
            difference.mismatch.as_ref().is_some_and(|rest| {
                let (missing, surplus) = (rest.missing.iter(), rest.surplus.iter());
                let names = missing.chain(surplus).map(|(name, _)| name);
                names.chain(rest.misshapen.iter().map(|(name, ..)| name)).any(|n| n == tensor)
            })
        };
        let surplus = mismatch.surplus.iter().map(|(tensor, _)| (tensor, "exists"));
        let misshapen = mismatch.misshapen.iter().map(|(tensor, ..)| (tensor, "has its shape"));
        let missing = mismatch.missing.iter().map(|(tensor, _)| (tensor, "does not exist"));
        let mut witnesses = surplus.chain(misshapen).chain(missing);
        if let Some((tensor, how)) = witnesses.find(|(tensor, _)| !odd(tensor)) {
            text += &format!(": {tensor} {how}");
        }
    }
    if let Some(prefix) = &difference.prefix {
        text += &format!(", with `{prefix}` before every name");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(name: &str) -> Vec<TensorSpec> {
        let spec = Spec::from_yaml(zoo(name).unwrap()).unwrap();
        Graph::build(&spec).unwrap().tensors
    }

    /// What is said about weights with these tensors that are given to a network.
    fn hint(found: &[TensorSpec], network: &str) -> Option<String> {
        let weights = Weights::random(found, 0);
        whose(&weights, &tensors(network))
    }

    #[test]
    fn the_page_about_the_zoo_names_every_network() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/zoo.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let mut named: Vec<&str> =
            rows.flat_map(|row| row.trim_end_matches('`').split("`, `")).collect();
        let mut carried: Vec<&str> = ZOO.iter().map(|(name, _)| *name).collect();
        named.sort_unstable();
        carried.sort_unstable();
        assert_eq!(named, carried);
    }

    #[test]
    fn weights_know_whose_they_are() {
        let fifty = tensors("resnet50");
        let fit = best_fit(&Weights::random(&fifty, 0)).unwrap();
        assert_eq!((fit.name, fit.tensors, fit.difference.count()), ("resnet50", fifty.len(), 0));
        assert_eq!(
            hint(&fifty, "resnet18").unwrap(),
            "these are the weights of `resnet50`: layer1.0.bn3.bias exists"
        );
        // All that is there fits; not all is there.
        assert_eq!(
            hint(&tensors("resnet18"), "resnet34").unwrap(),
            "these are the weights of `resnet18`: layer1.2.conv1.weight does not exist"
        );
        // The same names; the tensors have other shapes.
        assert_eq!(
            hint(&fifty, "wide_resnet50_2").unwrap(),
            "these are the weights of `resnet50`: layer1.0.conv1.weight has its shape"
        );
        let mut wrapped = fifty.clone();
        wrapped.iter_mut().for_each(|tensor| tensor.name.to_mut().insert_str(0, "module."));
        let said = hint(&wrapped, "resnet18").unwrap();
        assert!(said.starts_with("these are the weights of `resnet50`: module."), "{said}");
        assert!(said.ends_with(", with `module.` before every name"), "{said}");
    }

    #[test]
    fn a_new_classifier_hides_nothing() {
        let mut tuned = tensors("resnet50");
        for tensor in tuned.iter_mut().filter(|tensor| tensor.name.starts_with("fc.")) {
            tensor.shape.to_mut()[0] = 7;
        }
        let said = hint(&tuned, "resnet18").unwrap();
        let count = tuned.len();
        assert!(said.starts_with(&format!("but for 2 of {count} tensors ")), "{said}");
        assert!(said.ends_with("the weights of `resnet50`: layer1.0.bn3.bias exists"), "{said}");
        // To its own network there is nothing to say.
        assert_eq!(hint(&tuned, "resnet50"), None);
    }

    #[test]
    fn weights_of_nothing_known_have_no_owner() {
        let few = tensors("resnet50").into_iter().take(30).collect::<Vec<_>>();
        assert_eq!(hint(&few, "resnet18"), None);
        assert!(best_fit(&Weights::random(&[], 0)).is_none());
    }

    /// Depth, parameters and multiply-adds. Those of torchvision's and timm's networks are in
    /// `tests/golden/zoo.json`, counted by PyTorch. The others follow from the table of section 4.2 and the projections of
    /// section 4.1 of the paper, counted apart from this code.
    const COUNTS: &[(&str, usize, u64, u64)] = &[
        ("resnet18", 18, 11_689_512, 1_814_073_344),
        ("resnet34", 34, 21_797_672, 3_663_761_408),
        ("resnet50", 50, 25_557_032, 4_089_184_256),
        ("resnet101", 101, 44_549_160, 7_801_405_440),
        ("resnet152", 152, 60_192_808, 11_513_626_624),
        ("resnet26d", 28, 16_014_408, 2_581_897_216),
        ("resnet50d", 52, 25_576_264, 4_328_824_832),
        ("resnet50_backbone", 49, 23_508_032, 4_087_136_256),
        ("resnet50_os8", 50, 25_557_032, 19_079_364_608),
        ("seresnet50", 50, 28_088_024, 4_091_699_200),
        ("ecaresnet50d", 52, 25_576_350, 4_328_912_640),
        ("resnetblur50", 50, 25_557_032, 5_133_020_672),
        ("res2net50_26w_4s", 50, 25_699_120, 4_255_166_464),
        ("resnet50_gn", 50, 25_557_032, 4_089_184_256),
        ("resnetv2_50", 50, 25_549_352, 4_089_184_256),
        ("resnext50_32x4d", 50, 25_028_904, 4_230_479_872),
        ("resnext101_32x8d", 101, 88_791_336, 16_414_015_488),
        ("resnext101_64x4d", 101, 83_455_272, 15_460_270_080),
        ("wide_resnet50_2", 50, 68_883_240, 11_398_021_120),
        ("wide_resnet101_2", 101, 126_886_696, 22_753_050_624),
        ("resnet50-paper", 50, 25_557_032, 3_857_973_248),
        ("resnet101-paper", 101, 44_549_160, 7_570_194_432),
        ("resnet152-paper", 152, 60_192_808, 11_282_415_616),
        ("resnet34-a", 34, 21_623_848, 3_644_493_824),
        ("resnet34-c", 34, 22_716_840, 3_830_747_136),
        ("plain18", 18, 11_515_688, 1_794_805_760),
        ("plain34", 34, 21_623_848, 3_644_493_824),
        ("cifar-resnet20", 20, 269_722, 40_551_040),
        ("cifar-resnet32", 32, 464_154, 68_862_592),
        ("cifar-resnet44", 44, 658_586, 97_174_144),
        ("cifar-resnet56", 56, 853_018, 125_485_696),
        ("cifar-resnet110", 110, 1_727_962, 252_887_680),
        ("cifar-resnet1202", 1202, 19_421_274, 2_829_238_912),
        ("preact-resnet164", 164, 1_703_258, 247_646_720),
        ("preact-resnet1001", 1001, 10_327_706, 1_490_995_712),
        ("wrn-28-10", 26, 36_479_194, 5_243_328_768),
        ("resnet8", 8, 78_186, 12_501_632),
        ("cifar10-resnet20", 20, 269_722, 40_551_040),
    ];

    #[test]
    fn every_network_counts_what_is_published() {
        assert_eq!(ZOO.len(), COUNTS.len());
        for &(name, depth, params, macs) in COUNTS {
            let text = zoo(name).expect("a table of that name");
            let spec = Spec::from_yaml_named(text, name).unwrap_or_else(|error| panic!("{error}"));
            let graph = Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(graph.name, name);
            assert_eq!((graph.depth, graph.params, graph.macs), (depth, params, macs), "{name}");
            assert!(spec.expect.depth.is_some() && spec.expect.params.is_some(), "{name}");
            assert!(spec.expect.macs.is_some(), "{name}");
        }
    }
}
