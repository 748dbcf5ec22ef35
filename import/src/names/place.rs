//! What single names tell: where a module stands, and what it is there.

/// What a module of a block is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    /// Counted from 0.
    Conv(usize),
    Norm(usize),
    Shortcut,
    Attention,
}

/// What all names begin with: whole parts, such as `module.`, that leave a module's name behind.
pub(super) fn common_prefix<'a>(names: &[&'a str]) -> &'a str {
    let Some(first) = names.first() else { return "" };
    let mut prefix = "";
    for (dot, _) in first.match_indices('.') {
        let longer = &first[..=dot];
        let fits = |name: &&str| name.strip_prefix(longer).is_some_and(|rest| rest.contains('.'));
        let is_stage = Place::of(first).is_some_and(|place| longer.len() > place.prefix.len());
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
    /// Whether it is one of the convolutions in a row.
    pub(crate) is_conv: bool,
}

/// Where a module stands, if it is a block's.
pub(crate) fn block_of(module: &str) -> Option<Spot<'_>> {
    let Place { root, prefix, stage, block } = Place::of(module)?;
    let (_, inner) = module[prefix.len() + 1..].split_once('.')?;
    let is_conv = matches!(role(inner), Some(Role::Conv(_)));
    Some(Spot { root: &module[..root], stage, block, is_conv })
}

/// Where a module of a block stands.
#[derive(Debug, PartialEq)]
pub(super) struct Place<'a> {
    /// Length of what stands before the stages.
    pub(super) root: usize,
    pub(super) prefix: &'a str,
    pub(super) stage: usize,
    pub(super) block: usize,
}

impl<'a> Place<'a> {
    /// Knows `layer1.0.`, `stages.0.blocks.0.`, `stages.0.layers.0.` and `block1.layer.0.`, after
    /// anything.
    pub(super) fn of(module: &'a str) -> Option<Self> {
        let parts: Vec<&str> = module.split('.').collect();
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok());
        let numbered = |at: usize, word: &str| parts[at].strip_prefix(word)?.parse::<usize>().ok();
        for at in 0..parts.len() {
            let (stage, block_at) = match (parts[at], parts.get(at + 2).copied()) {
                ("stages", Some("blocks" | "layers")) => (number(at + 1), at + 3),
                _ if parts.get(at + 1) == Some(&"layer") => (numbered(at, "block"), at + 2),
                _ => (numbered(at, "layer"), at + 1),
            };
            if let (Some(stage), Some(block)) = (stage, number(block_at))
                && parts.len() > block_at + 1
            {
                let length =
                    |parts: &[&str]| parts.iter().map(|part| part.len() + 1).sum::<usize>();
                let (root, prefix) = (length(&parts[..at]), length(&parts[..block_at]) - 1);
                return Some(Self { root, prefix: &module[..prefix], stage, block });
            }
        }
        None
    }
}

/// What a module of a block is, by its name inside the block.
pub(super) fn role(inner: &str) -> Option<Role> {
    let (head, rest) = inner.split_once('.').unwrap_or((inner, ""));
    let counted = |text: &str| text.parse::<usize>().ok()?.checked_sub(1);
    if matches!(head, "downsample" | "shortcut" | "convShortcut") {
        return Some(Role::Shortcut);
    }
    if head == "se" && matches!(rest, "fc1" | "fc2" | "conv") {
        return Some(Role::Attention);
    }
    if head == "layer" {
        let (index, kind) = rest.split_once('.')?;
        let index = index.parse().ok()?;
        return match kind {
            "convolution" => Some(Role::Conv(index)),
            "normalization" => Some(Role::Norm(index)),
            _ => None,
        };
    }
    if !rest.is_empty() {
        return None;
    }
    if let Some(number) = head.strip_prefix("conv") {
        return counted(number).map(Role::Conv);
    }
    let number = head.strip_prefix("bn").or_else(|| head.strip_prefix("norm"))?;
    counted(number).map(Role::Norm)
}

/// What the batch norm after a convolution of the stem may be called.
pub(super) fn norm_names(conv: &str) -> Vec<String> {
    let (parent, last) = conv
        .rsplit_once('.')
        .map_or(("", conv), |(_, last)| (&conv[..conv.len() - last.len()], last));
    if let Ok(index) = last.parse::<usize>() {
        return vec![format!("{parent}{}", index.saturating_add(1))];
    }
    let Some(rest) = last.strip_prefix("conv") else { return Vec::new() };
    match rest {
        "olution" => vec![format!("{parent}normalization")],
        number => vec![format!("{parent}bn{number}"), format!("{parent}norm{number}")],
    }
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
