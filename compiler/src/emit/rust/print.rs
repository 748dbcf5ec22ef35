//! Emitted code as a person reads it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Parts, emit};
use crate::nest::VerifyError;
use crate::plan::Plan;
use crate::spec::{Labels, Spec};

/// The source that `resnet!` makes of a table, formatted: a file that compiles in a crate that
/// depends on `resnet`. The plan is the table's, for the macro's options.
///
/// # Errors
///
/// A program that fails verification, which is a bug in this compiler.
pub fn print(spec: &Spec, plan: &Plan) -> Result<String, VerifyError> {
    let model = &*plan.info.name;
    let labels = match spec.labels.as_ref().map(|labels| &labels.value) {
        Some(Labels::Names(names)) => names.clone(),
        Some(Labels::File(_)) | None => Vec::new(),
    };
    let parts = Parts {
        krate: &quote!(::resnet),
        attributes: &TokenStream::new(),
        visibility: &quote!(pub),
        name: &format_ident!("{}", type_name(model)),
        preprocess: &spec.preprocess,
        labels: &labels,
        embedded: None,
        tracked: &[],
    };
    let tokens = emit(plan, &parts)?;
    let file = syn::parse2(tokens).expect("emitted code is a list of items");
    let header = HEADER.replace("{name}", model);
    Ok(header + &plain_comments(&prettyplease::unparse(&file)))
}

/// Tokens have no comments, so the emitted code cannot say this itself.
const HEADER: &str = "\
// What `resnet!` makes of the table of `{name}`.
//
// SAFETY, for every unsafe block: the compiler has verified, over all values of the loops'
// variables, that no kernel call leaves the memory that the run was given, whose lengths stand
// in `MODEL`, and that only the arena, the scratch and the output are written.

";

/// `cifar-resnet20` as `CifarResnet20`.
fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut text: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.insert_str(0, "Net");
    }
    text
}

/// The layers' names in front of the steps are documentation to the macro, because tokens have no
/// comments; for people they are comments.
fn plain_comments(source: &str) -> String {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    for i in 1..lines.len() {
        if lines[i].trim_start().starts_with("run.parallel(") {
            lines[i - 1] = lines[i - 1].replacen("///", "//", 1);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenTree;

    use super::*;
    use crate::graph::Graph;
    use crate::schedule::Wishes;

    const TABLE: &str = "
name: two-layers
input: 3x8x8
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 32}
  - {layer: fc, op: linear, channels: 10}
";

    fn printed(batch: usize) -> String {
        let spec = Spec::from_yaml(TABLE).unwrap();
        let wishes = Wishes { batch, ..Wishes::default() };
        print(&spec, &Plan::new(&Graph::build(&spec).unwrap(), &wishes).unwrap()).unwrap()
    }

    #[test]
    fn what_is_printed_is_legible() {
        let text = printed(1);
        // The rest is about weights, or the same for every network.
        let start = text.find("    mod batch1").unwrap();
        insta::assert_snapshot!(&text[start..]);
    }

    /// Tokens as text, but for documentation, which printing turns into comments.
    fn words(tokens: TokenStream) -> Vec<String> {
        let mut words = Vec::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let doc = |t: &TokenTree| matches!(t, TokenTree::Group(g) if g.to_string().starts_with("[doc"));
            match &token {
                TokenTree::Punct(hash)
                    if hash.as_char() == '#' && tokens.peek().is_some_and(doc) =>
                {
                    tokens.next();
                }
                TokenTree::Group(group) => words.extend(self::words(group.stream())),
                // A formatter adds commas.
                TokenTree::Punct(comma) if comma.as_char() == ',' => {}
                token => words.push(token.to_string()),
            }
        }
        words
    }

    #[test]
    fn what_is_printed_is_what_is_emitted() {
        let spec = Spec::from_yaml(TABLE).unwrap();
        let graph = Graph::build(&spec).unwrap();
        for batch in [1, 4] {
            let plan = Plan::new(&graph, &Wishes { batch, ..Wishes::default() }).unwrap();
            let parts = Parts {
                krate: &quote!(::resnet),
                attributes: &TokenStream::new(),
                visibility: &quote!(pub),
                name: &format_ident!("TwoLayers"),
                preprocess: &spec.preprocess,
                labels: &[],
                embedded: None,
                tracked: &[],
            };
            let emitted = emit(&plan, &parts).unwrap();
            let printed: TokenStream = printed(batch).parse().unwrap();
            assert_eq!(words(printed), words(emitted));
        }
    }

    #[test]
    fn types_have_names() {
        let names = ["cifar-resnet20", "resnet18", "18 layers", "é", "_x"].map(type_name);
        assert_eq!(names, ["CifarResnet20", "Resnet18", "Net18Layers", "Net", "X"]);
    }
}
