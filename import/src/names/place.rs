//! What single names tell: where a module stands, and what it is there.
//!
//! Whoever writes a network numbers its stages, the blocks in them, and the convolutions and norms in a
//! block; the words around the numbers differ. The lists below have those that published code uses, without
//! underscores at their ends and in lower case.

/// Before the number of a stage: `layer1`, `stage_2`, `conv2_x`. A bare number is one too, as in `stages.0`
/// and `features.4`.
const STAGES: &[&str] = &[
    "block",
    "blocks",
    "group",
    "layer",
    "layers",
    "res",
    "res_block",
    "res_layer",
    "resblock",
    "residual_block",
    "residual_layer",
    "s",
    "stage",
];

/// Between a stage and its blocks, and around all blocks where nothing numbers the stages.
const LISTS: &[&str] = &[
    "bottlenecks",
    "block",
    "blocks",
    "layer",
    "layers",
    "res_blocks",
    "resblocks",
    "residual_blocks",
    "units",
];

/// Before the number of a block: `block1`, `unit1`. A bare number is one too.
const BLOCKS: &[&str] = &[
    "b",
    "basic_block",
    "basicblock",
    "block",
    "bottleneck",
    "layer",
    "res",
    "res_block",
    "resblock",
    "residual",
    "residual_block",
    "unit",
];

/// What holds the main path of a block.
const PATHS: &[&str] = &[
    "basic",
    "block",
    "body",
    "bottleneck",
    "branch",
    "conv",
    "conv_block",
    "convpath",
    "convs",
    "double_conv",
    "f",
    "features",
    "layer",
    "layers",
    "left",
    "main",
    "main_path",
    "net",
    "path",
    "residual",
    "residual_branch",
    "residual_function",
    "seq",
    "stack",
];

/// Before the number of a convolution or a norm, and what they may be called inside of what is numbered:
/// `conv1.norm`.
const LAYERS: &[&str] = &[
    "batch_norm",
    "batchnorm",
    "bn",
    "conv",
    "conv2d",
    "convolution",
    "gn",
    "norm",
    "normalization",
];

/// The first word of what stands beside a block's main path.
const SHORTCUTS: &[&str] = &[
    "bn_shortcut",
    "bn_skip",
    "conv_shortcut",
    "conv_skip",
    "convdim",
    "convshortcut",
    "down_sample",
    "downsample",
    "downsample_bn",
    "downsample_conv",
    "downsampling",
    "i_downsample",
    "identity",
    "identity_bn",
    "identity_conv",
    "identity_downsample",
    "idpath",
    "proj",
    "projection",
    "projection_bn",
    "projection_conv",
    "projection_shortcut",
    "res_bn",
    "res_conv",
    "residual_bn",
    "residual_conv",
    "right",
    "shortcut",
    "shortcut_bn",
    "shortcut_conv",
    "shortcut_norm",
    "skip",
    "skip_bn",
    "skip_connection",
    "skip_conv",
];

/// The first word of what weighs a block's channels.
const ATTENTIONS: &[&str] = &[
    "attn",
    "attn_last",
    "eca",
    "fc1",
    "fc2",
    "se",
    "se_block",
    "se_layer",
    "se_module",
    "seblock",
    "selayer",
];

/// What a module of a block is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Role {
    /// On the main path: what holds it, if anything does, and the numbers that order it there.
    Main {
        path: String,
        order: Vec<usize>,
    },
    Shortcut,
    Attention,
}

/// Where a module of a block stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place<'a> {
    /// What stands before the stage's name, with its dot.
    pub(super) owner: &'a str,
    /// The stage's name and what stands before it, up to the block's.
    pub(super) prefix: &'a str,
    /// `None` where blocks are numbered through.
    pub(super) stage: Option<usize>,
    pub(super) block: usize,
    /// The block's name, with its stage's.
    pub(super) name: &'a str,
}

impl<'a> Place<'a> {
    /// Where a module stands if both its stage and its block have numbers, such as `layer1.0.`,
    /// `stages.0.blocks.0.`, `stage1.block1.`, `conv2_x.0.` and `block1.layer.0.`, after anything.
    pub(super) fn in_stage(module: &'a str) -> Option<Self> {
        let parts = parts(module);
        (0..parts.len()).find_map(|at| {
            let stage = stage(parts[at].1)?;
            let next =
                at + 1 + usize::from(parts.get(at + 1).is_some_and(|(_, word)| is(word, LISTS)));
            Self::of_block(module, &parts, at, next, Some(stage))
        })
    }

    /// Where a module stands if only blocks have numbers.
    pub(super) fn in_list(module: &'a str) -> Option<Self> {
        let parts = parts(module);
        (0..parts.len()).find_map(|at| {
            let owner = at - usize::from(at > 0 && is(parts[at - 1].1, LISTS));
            Self::of_block(module, &parts, owner, at, None)
        })
    }

    fn of_block(
        module: &'a str,
        parts: &[(usize, &'a str)],
        owner: usize,
        at: usize,
        stage: Option<usize>,
    ) -> Option<Self> {
        let &(start, word) = parts.get(at)?;
        let block = numbered(word, BLOCKS)?;
        let &(inner, _) = parts.get(at + 1)?;
        role(&module[inner..])?;
        Some(Self {
            owner: &module[..parts[owner].0],
            prefix: module[..start].trim_end_matches('.'),
            stage,
            block,
            name: &module[..inner - 1],
        })
    }
}

/// The parts of a name, each with where it begins.
fn parts(name: &str) -> Vec<(usize, &str)> {
    name.split('.').map(|part| (part.as_ptr().addr() - name.as_ptr().addr(), part)).collect()
}

fn is(word: &str, list: &[&str]) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// The number after one of the words, or alone.
fn numbered(part: &str, words: &[&str]) -> Option<usize> {
    // torchvision's RegNets have the stage's number again: `block1-0`.
    if let Some((stage, number)) = part.split_once('-') {
        return numbered(stage, words).filter(|_| !number.contains('-')).and(number.parse().ok());
    }
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = part[word.len()..].parse().ok()?;
    let word = word.trim_end_matches('_');
    (word.is_empty() || is(word, words)).then_some(number)
}

fn stage(part: &str) -> Option<usize> {
    match part.strip_suffix("_x") {
        Some(part) => numbered(part, &["conv"]),
        None => numbered(part, STAGES),
    }
}

/// What a module of a block is, by its name inside the block.
pub(super) fn role(inner: &str) -> Option<Role> {
    let mut parts: Vec<&str> = inner.split('.').collect();
    let first = parts[0];
    if is(first, SHORTCUTS) {
        return Some(Role::Shortcut);
    }
    if is(first, ATTENTIONS) {
        return Some(Role::Attention);
    }
    if parts.len() > 1 && is(parts[parts.len() - 1], LAYERS) {
        parts.pop();
    }
    let held = parts.len() > 1 && is(first, PATHS);
    let path = if held { parts.remove(0).to_owned() } else { String::new() };
    if held && is(parts[0], ATTENTIONS) {
        return Some(Role::Attention);
    }
    // A number alone says nothing, and after one come numbers alone: `0.conv1` is a module of another block.
    let (first, rest) = parts.split_first()?;
    if path.is_empty() && first.parse::<usize>().is_ok() {
        return None;
    }
    let letter = match first.as_bytes() {
        [letter @ b'a'..=b'c'] if held => Some(usize::from(letter - b'a')),
        _ => None,
    };
    let mut order = vec![letter.or_else(|| counted(first))?];
    for part in rest {
        order.push(part.parse().ok()?);
    }
    Some(Role::Main { path, order })
}

/// The number of a convolution or a norm, or its letter: `conv1`, `bn_2`, `0`, `conv_a`, `conv1_1x1`.
fn counted(part: &str) -> Option<usize> {
    let part = part.strip_suffix("_1x1").or_else(|| part.strip_suffix("_kxk")).unwrap_or(part);
    let letter = part.rsplit_once('_').filter(|(word, _)| is(word, LAYERS));
    match letter.map(|(_, letter)| letter.as_bytes()) {
        Some(&[letter @ b'a'..=b'c']) => Some(usize::from(letter - b'a')),
        _ => numbered(part, LAYERS),
    }
}

/// What all names begin with: whole parts, such as `module.`, that leave a module's name behind.
pub(super) fn common_prefix<'a>(names: &[&'a str]) -> &'a str {
    let Some(first) = names.first() else { return "" };
    let place = first.rsplit_once('.').and_then(|(module, _)| Place::in_stage(module));
    let mut prefix = "";
    for (dot, _) in first.match_indices('.') {
        let longer = &first[..=dot];
        let fits = |name: &&str| name.strip_prefix(longer).is_some_and(|rest| rest.contains('.'));
        let is_stage = place.as_ref().is_some_and(|place| longer.len() > place.owner.len());
        if is_stage || !names.iter().all(fits) {
            break;
        }
        prefix = longer;
    }
    prefix
}

/// What the name of a module of a block tells from afar.
#[derive(Debug)]
pub(crate) struct Spot<'a> {
    /// What stands before the stages, dots included.
    pub(crate) root: &'a str,
    pub(crate) stage: usize,
    pub(crate) block: usize,
    /// Whether it is on the main path: one of the convolutions in a row, if it is a convolution.
    pub(crate) is_main: bool,
}

/// Where a module stands, if it is a block's and stages have numbers.
pub(crate) fn block_of(module: &str) -> Option<Spot<'_>> {
    let place = Place::in_stage(module)?;
    let is_main = matches!(role(&module[place.name.len() + 1..]), Some(Role::Main { .. }));
    Some(Spot { root: place.owner, stage: place.stage?, block: place.block, is_main })
}

/// What the norm after a convolution of the stem may be called.
pub(super) fn norm_names(conv: &str) -> Vec<String> {
    let (parent, last) = conv
        .rsplit_once('.')
        .map_or(("", conv), |(_, last)| (&conv[..conv.len() - last.len()], last));
    let mut names = vec![format!("{conv}.norm"), format!("{conv}.bn")];
    if let Ok(index) = last.parse::<usize>() {
        names.push(format!("{parent}{}", index.saturating_add(1)));
    }
    if let Some(rest) = last.strip_prefix("conv") {
        let number = match rest {
            "olution" => return vec![format!("{parent}normalization")],
            number => number,
        };
        names.extend(["bn", "norm"].map(|word| format!("{parent}{word}{number}")));
    }
    names
}

/// A key that puts `conv10` after `conv9`.
pub(super) fn natural(name: &str) -> Vec<(usize, String)> {
    let mut key = Vec::new();
    for part in name.split('.') {
        let digits = part.len() - part.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (word, number) = part.split_at(part.len() - digits);
        key.push((0, word.to_owned()));
        key.push((number.parse().unwrap_or(0), String::new()));
    }
    key
}
