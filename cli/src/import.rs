//! `resnet import`: a checkpoint becomes a layer table and its weights.

use std::io::Write;

use anyhow::{Context, Result};
use resnet_import::{AntiAlias, Options, Shortcut, StrideOn};

use crate::Outcome;
use crate::args::{AntiAliasName, Import, ShortcutName, StrideOnName};
use crate::output::Output;

pub(crate) fn import(options: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let imported = resnet_import::import(&options.checkpoint, &derivation(options))?;
    let folder = &options.output;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let inputs = || std::iter::once(&options.checkpoint).chain(&imported.beside);
    let table = folder.join(format!("{}.yaml", imported.name));
    let weights = folder.join(format!("{}.safetensors", imported.name));
    let labels = folder.join(imported.labels_file());
    let mut file = Output::create(&table, inputs())?;
    // The weights are complete before the table appears.
    let mut weights_file = Output::create(&weights, inputs())?;
    imported
        .write_weights(&mut weights_file)
        .with_context(|| format!("cannot write `{}`", weights.display()))?;
    weights_file.finish()?;
    if !imported.labels.is_empty() {
        let mut labels_file = Output::create(&labels, inputs())?;
        labels_file
            .write_all((imported.labels.join("\n") + "\n").as_bytes())
            .with_context(|| format!("cannot write `{}`", labels.display()))?;
        labels_file.finish()?;
    }
    file.write_all(imported.table.as_bytes())
        .with_context(|| format!("cannot write `{}`", table.display()))?;
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
