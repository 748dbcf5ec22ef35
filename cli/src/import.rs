//! `resnet import`: a checkpoint becomes a layer table and its weights.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use resnet_import::{AntiAlias, Options, Shortcut, StrideOn};

use crate::Outcome;
use crate::args::{AntiAliasName, Import, ShortcutName, StrideOnName};
use crate::output::{Kind, Output};

pub(crate) fn import(options: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let imported = resnet_import::import(&options.checkpoint, &derivation(options))?;
    let folder = &options.output;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let inputs = || std::iter::once(&options.checkpoint).chain(&imported.beside);
    let table = folder.join(format!("{}.yaml", imported.name));
    let weights = folder.join(format!("{}.safetensors", imported.name));
    let labels = folder.join(imported.labels_file());
    let force = options.force.force;
    // A text may have been edited since; what is the same is not worth a word.
    let text = |path: &Path, text: &str| {
        let same = std::fs::read(path).is_ok_and(|old| old == text.as_bytes());
        Output::create(path, Kind::Text, force || same, inputs())
    };
    let mut file = text(&table, &imported.table)?;
    // The weights are complete before the table appears.
    let mut weights_file = Output::create(&weights, Kind::Safetensors, force, inputs())?;
    imported.write_weights(&mut weights_file)?;
    weights_file.finish()?;
    if !imported.labels.is_empty() {
        let names = imported.labels.join("\n") + "\n";
        let mut labels_file = text(&labels, &names)?;
        labels_file.write_all(names.as_bytes())?;
        labels_file.finish()?;
    }
    file.write_all(imported.table.as_bytes())?;
    file.finish()?;
    for note in &imported.notes {
        crate::say!("note: {note}");
    }
    let (table, weights) = (table.display(), weights.display());
    let count = imported.tensors().count();
    let labels = match imported.labels.len() {
        0 => String::new(),
        count => format!("\n{}: {count} labels", labels.display()),
    };
    writeln!(out, "{table}: the table\n{weights}: {count} tensors{labels}")
        .and_then(|()| out.flush())
        .context("cannot say what was written")?;
    Ok(Outcome::Done)
}

fn derivation(options: &Import) -> Options {
    Options {
        name: options.name.clone(),
        architecture: options.architecture.clone(),
        key: options.key.clone(),
        prefix: options.prefix.clone(),
        without: options.without.clone(),
        input: options.input,
        strides: options.strides.clone(),
        dilations: options.dilations.iter().map(|dilation| dilation.get()).collect(),
        stride_on: options.stride_on.map(|on| match on {
            StrideOnName::Middle => StrideOn::Second,
            StrideOnName::First => StrideOn::First,
        }),
        anti_alias: options.anti_alias.map(|kind| match kind {
            AntiAliasName::Blur => AntiAlias::Blur,
            AntiAliasName::Average => AntiAlias::Average,
        }),
        shortcut: options.shortcut.map(|shortcut| match shortcut {
            ShortcutName::Projection => Shortcut::Projection,
            ShortcutName::PoolProjection => Shortcut::PoolProjection,
            ShortcutName::ProjectAll => Shortcut::ProjectAll,
            ShortcutName::ZeroPad => Shortcut::ZeroPad,
            ShortcutName::None => Shortcut::None,
        }),
        pool: options.pool,
        norm_epsilon: options.norm_epsilon,
        mean: options.mean.clone(),
        std: options.std.clone(),
        resize: options.resize.map(|resize| resize.get()),
    }
}
