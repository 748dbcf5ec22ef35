//! What the crate offers, item by item, is what `api.txt` says: a change of it is a change of that file,
//! which somebody reads. `UPDATE_API=1 cargo test --test api` writes it anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::{Fields, ImplItem, Item, ReturnType, TraitItem, UseTree, Visibility};

/// The items of a crate, each with its module.
struct Sources(Vec<(String, Item)>);

impl Sources {
    fn read(folder: &Path) -> Self {
        let mut items = Vec::new();
        read(folder, folder, &mut items);
        Self(items)
    }

    /// What can be said of a public item, a line each.
    fn describe(&self, path: &[String]) -> Vec<String> {
        let (name, modules) = path.split_last().unwrap();
        let module = modules.join("::");
        let inside =
            |at: &str| at == module || at.starts_with(&format!("{module}::")) || module.is_empty();
        let mut lines = Vec::new();
        for (_, item) in self.0.iter().filter(|(at, _)| inside(at)) {
            match item {
                Item::Struct(i) if i.ident == name && public(&i.vis) => {
                    lines.push(format!("struct {name}{}", text(&i.generics)));
                    lines.extend(fields(&i.fields));
                }
                Item::Enum(i) if i.ident == name && public(&i.vis) => {
                    lines.push(format!("enum {name}"));
                    for variant in &i.variants {
                        let named = variant.fields.iter().filter_map(|field| field.ident.as_ref());
                        let named: Vec<String> = named.map(ToString::to_string).collect();
                        lines.push(format!("    {} {{{}}}", variant.ident, named.join(", ")));
                    }
                }
                Item::Trait(i) if i.ident == name && public(&i.vis) => {
                    lines.push(format!("trait {name}: {}", text(&i.supertraits)));
                    lines.extend(i.items.iter().filter_map(|item| match item {
                        TraitItem::Fn(f) => Some(signature(&f.sig)),
                        _ => None,
                    }));
                }
                Item::Fn(i) if i.sig.ident == name && public(&i.vis) => {
                    lines.push(signature(&i.sig).trim_start().to_owned());
                }
                Item::Const(i) if i.ident == name && public(&i.vis) => {
                    lines.push(format!("const {name}: {}", text(&i.ty)));
                }
                _ => {}
            }
        }
        assert!(!lines.is_empty(), "`{}` is nowhere in the sources", path.join("::"));
        lines.extend(self.methods(name));
        lines
    }

    /// The public functions and constants of a type, wherever they are written.
    fn methods(&self, name: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, item) in &self.0 {
            let Item::Impl(i) = item else { continue };
            let of = text(&i.self_ty);
            if i.trait_.is_some() || of.split([' ', '<']).next() != Some(name) {
                continue;
            }
            lines.extend(i.items.iter().filter_map(|item| match item {
                ImplItem::Fn(f) if public(&f.vis) => Some(signature(&f.sig)),
                ImplItem::Const(c) if public(&c.vis) => {
                    Some(format!("    const {}: {}", c.ident, text(&c.ty)))
                }
                _ => None,
            }));
        }
        lines
    }
}

fn read(root: &Path, folder: &Path, items: &mut Vec<(String, Item)>) {
    let mut paths: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(root, &path, items);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let module = path.strip_prefix(root).unwrap().with_extension("");
            let parts = module.iter().map(|part| part.to_string_lossy().into_owned());
            let parts: Vec<String> = parts.filter(|part| part != "mod" && part != "lib").collect();
            let module = parts.join("::");
            for item in file.items {
                // What a macro is given may be items itself.
                if let Item::Macro(call) = &item
                    && let Ok(inside) = call.mac.parse_body::<syn::File>()
                {
                    items.extend(inside.items.into_iter().map(|item| (module.clone(), item)));
                }
                items.push((module.clone(), item));
            }
        }
    }
}

fn public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

fn fields(fields: &Fields) -> Vec<String> {
    let public = fields.iter().filter(|field| public(&field.vis));
    let line = |field: &syn::Field| {
        field.ident.as_ref().map(|name| format!("    {name}: {}", text(&field.ty)))
    };
    public.filter_map(line).collect()
}

fn signature(signature: &syn::Signature) -> String {
    let inputs = text(&signature.inputs);
    let output = match &signature.output {
        ReturnType::Default => String::new(),
        output => format!(" {}", text(output)),
    };
    format!("    fn {}{}({inputs}){output}", signature.ident, text(&signature.generics))
}

/// The paths that a `use` names.
fn paths(tree: &UseTree, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let with = |name: String| [prefix, &[name]].concat();
    match tree {
        UseTree::Path(path) => paths(&path.tree, &with(path.ident.to_string()), found),
        UseTree::Name(name) => found.push(with(name.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| paths(tree, prefix, found)),
        UseTree::Rename(_) | UseTree::Glob(_) => {
            panic!("what the crate offers is named one by one: {}", text(tree))
        }
    }
}

/// The paths that a list of items exports, with the modules that they are exported from.
fn exported(items: &[Item], prefix: &str, found: &mut Vec<(String, Vec<String>)>) {
    for item in items {
        match item {
            Item::Use(item) if public(&item.vis) => {
                let mut named = Vec::new();
                paths(&item.tree, &[], &mut named);
                found.extend(named.into_iter().map(|path| (prefix.to_owned(), path)));
            }
            Item::Mod(item) if public(&item.vis) && item.ident != "__private" => {
                let (_, items) = item.content.as_ref().expect("modules stand in the file");
                exported(items, &format!("{prefix}{}::", item.ident), found);
            }
            Item::Fn(_) | Item::Struct(_) | Item::Enum(_) | Item::Trait(_) => {
                panic!("what the crate offers is defined in its modules: {}", text(item))
            }
            _ => {}
        }
    }
}

#[test]
fn what_the_crate_offers_is_what_the_list_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates: BTreeMap<&str, Sources> =
        [("resnet_runtime", "runtime/src"), ("resnet_compiler", "compiler/src"), ("resnet", "src")]
            .map(|(name, folder)| (name, Sources::read(&root.join(folder))))
            .into();
    let facade = std::fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let mut found = Vec::new();
    exported(&syn::parse_file(&facade).unwrap().items, "", &mut found);
    let mut items: Vec<(String, Vec<String>)> = found
        .into_iter()
        .map(|(prefix, path)| {
            let name = format!("resnet::{prefix}{}", path[path.len() - 1]);
            let lines = match crates.get(path[0].as_str()) {
                Some(sources) => sources.describe(&path[1..]),
                None => {
                    let own = path.strip_prefix(&["crate".to_owned()]).unwrap_or(&path);
                    crates["resnet"].describe(own)
                }
            };
            (name, lines)
        })
        .collect();
    items.sort();
    let mut list = format!("{} items\n", items.len());
    for (name, lines) in items {
        list += &format!("\n{name}\n{}\n", lines.join("\n"));
    }
    let path = root.join("tests/api.txt");
    if std::env::var_os("UPDATE_API").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(list == expected, "the interface has changed; it is now:\n{list}");
}
