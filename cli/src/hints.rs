//! What to do about errors, in the command's words: the library's have the facts alone.

use resnet::{ChoicesError, CompileError, LoadError, PackedError, PlanError, WeightsError};
use resnet_compiler::profile::ProfileError;

/// What helps against an error that the library found.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|error| {
        let compile = error.downcast_ref().or_else(|| match error.downcast_ref() {
            Some(ProfileError::Compile(error)) => Some(error),
            _ => None,
        });
        if let Some(CompileError::Plan(PlanError::Precision { .. })) = compile {
            return Some("leave out `--precision`, or give the weights in f32".to_owned());
        }
        if let Some(CompileError::Plan(PlanError::Choices(error))) = compile {
            return of_choices(error);
        }
        let load = error.downcast_ref().or_else(|| match error.downcast_ref() {
            Some(ProfileError::Load(error)) => Some(error),
            _ => None,
        });
        match load {
            Some(LoadError::Packed { reason, .. }) => return of_packed(reason),
            Some(LoadError::Weights(error)) => return of_weights(error),
            _ => {}
        }
        error.downcast_ref().and_then(of_weights)
    })
}

fn of_choices(error: &ChoicesError) -> Option<String> {
    match error {
        ChoicesError::Table { .. } => Some("run `resnet tune` for this table".to_owned()),
        ChoicesError::Batch { expected, .. } => {
            Some(format!("run `resnet tune --batch {expected}`"))
        }
        ChoicesError::Precision { expected, .. } => {
            Some(format!("leave out `--precision`, or run `resnet tune --precision {expected}`"))
        }
        ChoicesError::Layer { .. } => {
            Some("run `resnet tune` again, with `--weights` if they are in 8 bits here".to_owned())
        }
        ChoicesError::Unknown { .. } => {
            Some("correct its name, or run `resnet tune` again".to_owned())
        }
        ChoicesError::Exact { .. } => Some("leave out `--exact` or `--schedule`".to_owned()),
    }
}

fn of_packed(error: &PackedError) -> Option<String> {
    Some(match error {
        PackedError::Options { options, .. } if !options.is_empty() => {
            format!("give it `{options}`, or pack with the other options: `resnet pack`")
        }
        _ => "`resnet pack MODEL --weights W -o FILE` packs them".to_owned(),
    })
}

fn of_weights(error: &WeightsError) -> Option<String> {
    match error {
        WeightsError::Foreign { importable: true, .. } => {
            Some("`resnet import FILE -o DIR` makes a safetensors file of it, and its table".into())
        }
        WeightsError::Packed { reason, .. } => of_packed(reason),
        _ => None,
    }
}
