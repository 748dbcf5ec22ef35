//! What timm's architectures have that no tensor shows, by their names.
//!
//! Facts are those of timm 1.0 (`timm/models/{resnet,resnetv2,senet,regnet,byobnet,...}.py`), which
//! `tests/hub/check_timm.py` compares with timm's own answers.

use resnet_compiler::spec::{AntiAlias, Shortcut, StrideOn};

use super::{Expected, Facts};
use crate::error::{Fault, unknown};
use crate::{Activation, Options, StemPool};

/// A fact.
enum Says {
    /// The strides of the stages.
    Strides(&'static [usize]),
    /// Whether a pool follows the stem.
    Pool(bool),
    /// Caffe's, which rounds sizes up.
    CeilPool,
    /// BiT's, whose padding counts as zeros.
    ZeroPool,
    /// The last convolution of the stem has a stride in the place of a pool.
    StemStrides,
    StrideOn(StrideOn),
    AntiAlias(AntiAlias),
    Activation(Activation),
    /// The epsilon of weight standardization.
    Standardized(f64),
    /// Channels of a group of group norm.
    GroupSize(usize),
    Shortcut(Shortcut),
    /// Whether norms come before convolutions.
    PreActivation(bool),
    /// The number in the name is that of layers: two, and the convolutions of blocks.
    Counts,
    /// No table has it.
    Refused(&'static str),
}

use Says::{
    CeilPool, Counts, Pool, PreActivation, Refused, Standardized, StemStrides, Strides, ZeroPool,
};

const BLUR: Says = Says::AntiAlias(AntiAlias::Blur);
const AVERAGE: Says = Says::AntiAlias(AntiAlias::Average);
const ON_3X3: Says = Says::StrideOn(StrideOn::Second);
const ON_1X1: Says = Says::StrideOn(StrideOn::First);
const POOLED: Says = Says::Shortcut(Shortcut::PoolProjection);
const SILU: Says = Says::Activation(Activation::Silu);
const PLAIN: Says = Says::Shortcut(Shortcut::Projection);
const IDENTITY: Says = Says::Shortcut(Shortcut::Identity);

/// Patterns of names, and what holds for them; what stands later holds where both do.
const RULES: &[(&str, &[Says])] = &[
    // resnet.py. Whether shortcuts pool, and how deep the stem is, shows in the names of tensors.
    (
        "resnet10t resnet14t resnet18 resnet26 resnet34 resnet50 resnet101 resnet152 resnet200 resnet??d \
         resnet???d resnet??c resnet???c resnet??s resnet???s resnet26t resnet50t resnet50_gn resnext50* \
         resnext101* seresnet18 seresnet34 seresnet50 seresnet50t seresnet101 seresnet152* seresnet200d \
         seresnet269d seresnext26d* seresnext26t_* seresnext26tn_* seresnext50* seresnext101* ecaresnet* \
         ecaresnext* wide_resnet*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, PreActivation(false), Counts],
    ),
    (
        "resnetaa* seresnetaa* seresnextaa101*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, AVERAGE, PreActivation(false), Counts],
    ),
    (
        "seresnextaa201*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, AVERAGE, PreActivation(false)],
    ),
    (
        "resnetblur*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, BLUR, PreActivation(false), Counts],
    ),
    // A convolution with a stride has the place of the stem's pool.
    ("resnetrs*", &[Strides(&[1, 2, 2, 2]), Pool(false), ON_3X3, PreActivation(false)]),
    // res2net.py. Chunks and their widths show in tensors.
    (
        "res2net* res2next*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, PreActivation(false), Counts],
    ),
    // resnetv2.py.
    (
        "resnetv2_*",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, PLAIN, PreActivation(true), Counts],
    ),
    ("resnetv2_*d resnetv2_*t resnetv2_*d_*", &[POOLED]),
    ("resnetv2_*_bit", &[PLAIN, Standardized(1e-8), ZeroPool]),
    ("resnetv2_*_evos", &[Refused("EvoNorm")]),
    ("resnetv2_*_frn", &[Refused("filter response norm")]),
    // senet.py, after Caffe's networks.
    ("legacy_seresnet*", &[Strides(&[1, 2, 2, 2]), CeilPool, ON_1X1, PreActivation(false), Counts]),
    (
        "legacy_seresnext*",
        &[Strides(&[1, 2, 2, 2]), CeilPool, ON_3X3, PreActivation(false), Counts],
    ),
    // regnet.py.
    (
        "regnetx_* regnety_*",
        &[Strides(&[2, 2, 2, 2]), Pool(false), ON_3X3, PLAIN, PreActivation(false)],
    ),
    ("regnety_*_sgn", &[SILU, Says::GroupSize(16)]),
    ("regnetv_*", &[Strides(&[2, 2, 2, 2]), Pool(false), ON_3X3, PLAIN, SILU, PreActivation(true)]),
    ("regnetv_064", &[POOLED]),
    (
        "regnetz_*",
        &[Strides(&[2, 2, 2, 2]), Pool(false), ON_3X3, IDENTITY, SILU, PreActivation(false)],
    ),
    ("regnetz_d* regnetz_e8", &[Strides(&[1, 2, 2, 2]), StemStrides]),
    ("regnetz_*_evos", &[Refused("EvoNorm")]),
    // byobnet.py.
    (
        "resnet*_clip_gap",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, AVERAGE, POOLED, PreActivation(false)],
    ),
    ("resnet*_clip", &[Refused("a pool by attention")]),
    (
        "resnet50_mlp",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, AVERAGE, POOLED, PreActivation(false)],
    ),
    (
        "resnext26ts seresnext26ts eca_resnext26ts",
        &[Strides(&[1, 2, 2, 2]), Pool(true), ON_3X3, PLAIN, SILU, PreActivation(false)],
    ),
    (
        "resnet32ts resnet33ts resnet51q eca_resnet33ts seresnet33ts",
        &[Strides(&[1, 2, 2, 2]), StemStrides, ON_3X3, PLAIN, SILU, PreActivation(false)],
    ),
    ("resnet61q", &[Refused("blocks of four convolutions")]),
    ("gcresnet33ts gcresnext26ts", &[Refused("attention by a global context")]),
    // Blocks of other kinds.
    ("resnest*", &[Refused("split attention")]),
    ("skresnet* skresnext*", &[Refused("selective kernels")]),
];

/// Networks of other files by the names of those that they equal.
const ALIASES: &[&str] = &["tv_", "gluon_", "ssl_", "swsl_", "ig_"];

/// What is known of an architecture; nothing, if no rule has its name. A tag of weights behind a dot, and whose
/// hub they are from, are no part of it: `timm/resnet50.a1_in1k`.
pub(super) fn facts(name: &str) -> Option<Facts> {
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    let name = name.split_once('.').map_or(name, |(name, _)| name);
    let bare = ALIASES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let bare = bare.trim_end_matches("_v1b");
    let says: Vec<&Says> = RULES
        .iter()
        .filter(|(names, _)| any_fits(names, bare))
        .flat_map(|(_, says)| *says)
        .collect();
    if says.is_empty() {
        return None;
    }
    let mut options = Options::default();
    let mut expected = Expected::default();
    let mut refused = None;
    for says in says {
        match *says {
            Strides(strides) => options.strides = strides.to_vec(),
            Says::Activation(activation) => options.activation = Some(activation),
            Standardized(epsilon) => options.weight_standardization = Some(epsilon),
            Says::GroupSize(size) => options.norm_group_size = Some(size),
            StemStrides => options.pool = Some(StemPool::Stride),
            ZeroPool => options.pool = Some(StemPool::Zeros),
            CeilPool => options.pool = Some(StemPool::Ceil),
            Pool(pool) => {
                options.pool = Some(if pool { StemPool::Max } else { StemPool::None });
            }
            Says::StrideOn(on) => options.stride_on = Some(on),
            Says::AntiAlias(anti_alias) => options.anti_alias = Some(anti_alias),
            Says::Shortcut(shortcut) => options.shortcut = Some(shortcut),
            PreActivation(pre_activation) => expected.pre_activation = Some(pre_activation),
            Counts => expected.depth = number(bare),
            Refused(what) => refused = Some(what),
        }
    }
    Some(Facts { options, expected, refused, settled: true, ..Facts::default() })
}

/// The facts of an architecture that the caller names.
pub(super) fn named(name: &str) -> Result<Facts, Fault> {
    let Some(mut facts) = facts(name) else {
        return unknown(format!(
            "`--architecture {name}` is none of timm's residual networks that are known; their names are \
             such as `resnet50d`, `resnetblur18` or `regnetx_002`"
        ));
    };
    facts.source = format!("timm's `{name}`");
    Ok(facts)
}

/// What a name says that tensors do not, and that is not as usual; nothing for other names.
pub(super) fn hint(name: &str) -> Option<String> {
    let facts = facts(name)?;
    if let Some(what) = facts.refused {
        return Some(format!("has {what}, which tables do not have"));
    }
    if let Some(anti_alias) = facts.options.anti_alias {
        return Some(format!("has anti-aliasing ({})", anti_alias.word()));
    }
    let on = facts.options.stride_on;
    (on == Some(StrideOn::First)).then(|| "has strides on 1x1 convolutions".to_owned())
}

/// The first number after the letters of a name, past the `2` of pre-activation.
fn number(name: &str) -> Option<usize> {
    let families = ["wide_", "resnetv2_", "res2net", "res2next"];
    let name = families.iter().fold(name, |name, family| name.trim_start_matches(family));
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn any_fits(patterns: &str, name: &str) -> bool {
    patterns.split_whitespace().any(|pattern| fits(pattern.as_bytes(), name.as_bytes()))
}

/// Whether a name has the form of a pattern, in which `*` is any text and `?` any character.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|length| fits(rest, &name[length..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => fits(pattern, name),
        ([a, pattern @ ..], [b, name @ ..]) => a == b && fits(pattern, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rules_hold_and_names_count() {
        let of = |name| facts(name).unwrap();
        assert_eq!(of("resnetv2_50d").options.shortcut, Some(Shortcut::PoolProjection));
        assert_eq!(of("resnetv2_50").options.shortcut, Some(Shortcut::Projection));
        assert_eq!(of("resnetv2_50").expected.depth, Some(50));
        assert_eq!(of("res2net101_26w_4s").expected.depth, Some(101));
        assert_eq!(of("res2next50").expected.depth, Some(50));
        assert_eq!(of("wide_resnet50_2").expected.depth, Some(50));
        assert_eq!(of("seresnext101d_32x8d").expected.depth, Some(101));
        assert_eq!(
            of("hf_hub:timm/resnetblur50.bt_in1k").options.anti_alias,
            Some(AntiAlias::Blur)
        );
        assert_eq!(of("gluon_resnet50_v1b").options.strides, [1, 2, 2, 2]);
        assert!(of("resnet50_clip").refused.is_some());
        assert!(of("resnet50_clip_gap").refused.is_none());
        assert_eq!(of("resnet33ts").options.pool, Some(StemPool::Stride));
        assert_eq!(of("regnetz_d8").options.strides, [1, 2, 2, 2]);
        assert_eq!(of("regnetz_c16").options.strides, [2, 2, 2, 2]);
        assert!(of("regnetz_c16_evos").refused.is_some());
        assert_eq!(of("resnetv2_50x1_bit").options.weight_standardization, Some(1e-8));
        for other in ["vit_base_patch16_224", "resnet", "resnetx", "resnet50foo"] {
            assert!(facts(other).is_none(), "{other}");
        }
    }
}
