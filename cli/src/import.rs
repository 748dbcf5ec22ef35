//! `resnet import`: a checkpoint becomes a layer table and its weights.

use std::io::Write;

use anyhow::{Context, Result};
use resnet_import::{
    AntiAlias, GlobalPool, Options, Shortcut, ShortcutFrom, StemPool, StrideOn, ZeroChannels,
};

use crate::Outcome;
use crate::args::{
    AntiAliasName, GlobalPoolName, Import, PoolName, ShortcutFromName, ShortcutName, StrideOnName,
    ZeroChannelsName,
};
use crate::output::{Kind, Output};
use crate::stdin::{self, check_folder, is_stdin};

pub(crate) fn import(options: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let folder = &options.output;
    check_folder(folder, "`--output`")?;
    let imported = if is_stdin(&options.checkpoint) {
        let bytes = stdin::bytes().context("cannot read a checkpoint from standard input")?;
        resnet_import::import_bytes(bytes, "-", &derivation(options))?
    } else {
        resnet_import::import(&options.checkpoint, &derivation(options))?
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let inputs = || std::iter::once(&options.checkpoint).chain(&imported.beside);
    let table = folder.join(format!("{}.yaml", imported.name));
    let weights = folder.join(format!("{}.safetensors", imported.name));
    let labels = folder.join(imported.labels_file());
    let force = options.force.force;
    let mut file = Output::create_text(&table, &imported.table, force, inputs())?;
    // The weights are complete before the table appears.
    let mut weights_file = Output::create(&weights, Kind::Safetensors, force, inputs())?;
    imported.write_weights(&mut weights_file)?;
    weights_file.finish()?;
    if !imported.labels.is_empty() {
        let names = imported.labels.join("\n") + "\n";
        let mut labels_file = Output::create_text(&labels, &names, force, inputs())?;
        labels_file.write_all(names.as_bytes())?;
        labels_file.finish()?;
    }
    file.write_all(imported.table.as_bytes())?;
    file.finish()?;
    let said = if options.verbose { imported.said_at_length() } else { imported.said() };
    for note in said {
        crate::voice::note!("{note}");
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
        stem_stride: options.stem_stride.map(|stride| stride.get()),
        strides: options.strides.iter().map(|stride| stride.get()).collect(),
        dilations: options.dilations.iter().map(|dilation| dilation.get()).collect(),
        stride_on: options.stride_on.map(|on| match on {
            StrideOnName::Second => StrideOn::Second,
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
            ShortcutName::PoolZeroPad => Shortcut::PoolZeroPad,
            ShortcutName::Identity => Shortcut::Identity,
            ShortcutName::None => Shortcut::None,
        }),
        shortcut_from: options.shortcut_from.map(|from| match from {
            ShortcutFromName::Input => ShortcutFrom::Input,
            ShortcutFromName::Norm => ShortcutFrom::Norm,
            ShortcutFromName::NormAlways => ShortcutFrom::NormAlways,
        }),
        zero_channels: options.zero_channels.map(|zeros| match zeros {
            ZeroChannelsName::Around => ZeroChannels::Around,
            ZeroChannelsName::After => ZeroChannels::After,
        }),
        pool: options.pool.map(|pool| match pool {
            PoolName::True => StemPool::Max,
            PoolName::False => StemPool::None,
            PoolName::Ceil => StemPool::Ceil,
            PoolName::Stride => StemPool::Stride,
            PoolName::Zeros => StemPool::Zeros,
        }),
        global_pool: options.global_pool.map(|pool| match pool {
            GlobalPoolName::Average => GlobalPool::Average,
            GlobalPoolName::Max => GlobalPool::Max,
        }),
        activation: options.activation,
        weight_standardization: options.weight_standardization,
        norm_groups: options.norm_groups.map(|groups| groups.get()),
        norm_group_size: options.norm_group_size.map(|size| size.get()),
        norm_epsilon: options.norm_epsilon,
        mean: options.mean.clone(),
        std: options.std.clone(),
        resize: options.resize.map(|resize| resize.get()),
    }
}
