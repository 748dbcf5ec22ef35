//! `resnet emit`: the network in another form.

mod object;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anyhow::{Result, bail};
use clap::ValueEnum;
use resnet::Model;
use resnet_compiler::emit::clif::Listing;
use resnet_compiler::emit::jit::Jit;
use resnet_compiler::graph::{Graph, NodeId};
use resnet_compiler::onnx::{self, OnnxError};
use resnet_compiler::plan::{Levels, Plan};
use resnet_compiler::schedule::Wishes;
use resnet_compiler::target::Target;

use crate::Outcome;
use crate::args::{Emit, Form};
use crate::model::{choices, open_model, open_weights, weights};
use crate::output::{Kind, Output};

pub(crate) fn emit(options: &Emit, out: &mut dyn Write) -> Result<Outcome> {
    check(options)?;
    let model = open_model(&options.model.model)?;
    if options.form == Form::Object {
        object::write(options, &model)?;
        return Ok(Outcome::Done);
    }
    match &options.output {
        None => {
            print(options, &model, out)?;
            out.flush()?;
        }
        Some(path) => {
            let kind = if options.form == Form::Onnx { Kind::Onnx } else { Kind::Text };
            let files = model.files();
            let inputs = files.iter().chain(&options.weights).chain(&options.schedule);
            let mut file = Output::create(path, kind, options.force.force, inputs)?;
            print(options, &model, &mut file)?;
            file.finish()?;
        }
    }
    Ok(Outcome::Done)
}

/// Whether the options go together.
fn check(options: &Emit) -> Result<()> {
    let weights = options.weights.is_some() || options.random_weights.is_some();
    if options.target.is_some() && options.form != Form::Object {
        bail!("`--target` is for `--as object`; leave it out");
    }
    if options.form == Form::Object {
        return object::check(options);
    }
    if matches!(options.form, Form::Graph | Form::Dot | Form::Onnx) {
        of_schedules(options)?;
    }
    if options.form == Form::Onnx {
        if !weights {
            bail!(
                "an ONNX model holds its weights: give `--weights W.safetensors`, \
                 or `--random-weights SEED`"
            );
        }
        if options.output.is_none() && io::stdout().is_terminal() {
            bail!("an ONNX model is no text for a terminal: write it to a file with `-o FILE`");
        }
        return Ok(());
    }
    let form = options.form.to_possible_value();
    let form = form.as_ref().map_or("", |form| form.get_name());
    if weights {
        let option = if options.weights.is_some() { "--weights" } else { "--random-weights" };
        bail!("`--as {form}` has no weights in it: leave `{option}` out");
    }
    if options.batch.is_some() {
        bail!("`--batch` is for `--as onnx` and `object`; leave it out of `--as {form}`");
    }
    Ok(())
}

/// Refuses what says how something is computed, for forms in which that is not decided yet.
fn of_schedules(options: &Emit) -> Result<()> {
    let given = [
        (options.exact, "--exact"),
        (options.schedule.is_some(), "--schedule"),
        (options.precision.get().is_some(), "--precision"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => bail!(
            "`{option}` says how a network is computed, which this form does not: leave it out"
        ),
        None => Ok(()),
    }
}

fn print(options: &Emit, model: &Model, sink: &mut dyn Write) -> Result<()> {
    if options.form != Form::Onnx {
        return Ok(sink.write_all(text(options, model)?.as_bytes())?);
    }
    let graph = Graph::build(&model.spec)?;
    let opened = open_weights(options.weights.as_deref(), false)?;
    let tensors = match &opened {
        Some(opened) => onnx::tensors(&graph, opened)?,
        None => graph.tensors.clone(),
    };
    let weights = weights(opened, options.random_weights, &tensors)?;
    onnx::write(&graph, &weights, options.batch, sink).map_err(|error| match error {
        OnnxError::Io(error) => error.into(),
        error => error.into(),
    })
}

fn text(options: &Emit, model: &Model) -> Result<String> {
    let choices = choices(options.schedule.as_deref())?;
    let wishes = Wishes { exact: options.exact, ..Wishes::default() };
    let wishes = wishes.with(choices, options.precision.get());
    let graph = Graph::build(&model.spec)?;
    match options.form {
        Form::Graph => return Ok(graph.to_string()),
        Form::Dot => return Ok(dot(&graph)),
        _ => {}
    }
    let (plan, Levels { fused, schedules }) = Plan::with_levels(&graph, &wishes)?;
    let listing = match options.form {
        Form::Rust => return Ok(resnet_compiler::emit::rust::print(&model.spec, &plan)?),
        Form::Fused => return Ok(fused.to_string()),
        Form::Schedule => return Ok(schedules[0].to_string()),
        Form::Clif => Listing::Clif,
        Form::Asm => Listing::Assembly,
        _ => return Ok(plan.programs[0].to_string()),
    };
    let target = Target::host(options.isa.0)?;
    Ok(Jit::list(&plan.programs[0], target.kernels(), listing)?)
}

/// The operators as a Graphviz graph.
fn dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n  node [shape=box];\n", quoted(&graph.name));
    for (id, node) in (0..).map(NodeId).zip(&graph.nodes) {
        let label = format!("{}\n{}\n{}", node.name, node.op, node.shape);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  n{} [label={}];", id.0, quoted(&label));
        for input in &node.inputs {
            let _ = writeln!(text, "  n{} -> n{};", input.0, id.0);
        }
    }
    text += "}\n";
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_graphviz() {
        assert_eq!(quoted("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
