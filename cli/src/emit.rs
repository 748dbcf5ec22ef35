//! `resnet emit`: the network in another form.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::{Context, Result, bail};
use resnet::compiler::emit::clif::Listing;
use resnet::compiler::emit::jit::Jit;
use resnet::compiler::graph::{Graph, NodeId};
use resnet::compiler::network::plan;
use resnet::compiler::schedule::Wishes;
use resnet::runtime::kernels::Isa;

use crate::Outcome;
use crate::args::{Emit, Form};
use crate::model::{Model, isa};
use crate::output::Output;

pub(crate) fn emit(options: &Emit, out: &mut dyn Write) -> Result<Outcome> {
    let name = match options.form {
        Form::Onnx => bail!("`--as onnx` is not available yet"),
        Form::Rust => "rust",
        Form::Nest => "nest",
        Form::Clif => "clif",
        Form::Asm => "asm",
        Form::Dot => "dot",
    };
    if options.weights.is_some() {
        bail!("`--as {name}` has no weights in it: leave `--weights` out");
    }
    let model = Model::open(&options.model.model)?;
    let text = text(options, &model)?;
    match &options.output {
        None => {
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Some(path) => {
            let mut file = Output::create(path, &model.path)?;
            let failed = || format!("cannot write `{}`", path.display());
            file.write_all(text.as_bytes()).with_context(failed)?;
            file.finish()?;
        }
    }
    Ok(Outcome::Done)
}

fn text(options: &Emit, model: &Model) -> Result<String> {
    let wishes = Wishes { batch: 1, exact: options.exact };
    if options.form == Form::Rust {
        return Ok(resnet_compiler::emit::rust::print(&model.spec, wishes)?);
    }
    let graph = Graph::build(&model.spec)?;
    let listing = match options.form {
        Form::Dot => return Ok(dot(&graph)),
        Form::Clif => Listing::Clif,
        Form::Asm => Listing::Assembly,
        _ => Listing::None,
    };
    let (_, _, program) = plan(&graph, wishes, 1)?;
    if listing == Listing::None {
        return Ok(program.to_string());
    }
    let table = isa(options.isa).unwrap_or_else(Isa::detect).table()?;
    Ok(Jit::list(&program, table, listing)?)
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
