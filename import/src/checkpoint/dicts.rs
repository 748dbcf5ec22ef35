//! Where in a pickle the state dict is.
//!
//! Training scripts save it beside an epoch, an optimizer's state, arguments, a metric; under a key,
//! or under two; of one network or of several; or they save the module itself, which holds its tensors
//! as attributes. What counts is which dict has a network's names.

mod path;

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};

use self::path::{Node, Step, WRAPPERS, path, rank};
use super::pickle::{Name, Object, Pickle, TensorRecord, Value};
use crate::candidates::{Sketch, has_blocks};
use crate::error::{Fault, corrupt, unknown};

/// Behind the name of a quantised linear layer.
const PACKED: &str = "._packed_params._packed_params";

/// Dicts that are listed in a message.
const MOST_LISTED: usize = 8;

/// Keys and attributes that may lead to a state dict, one inside the other.
const DEEPEST: usize = 6;

/// No tensor's name is longer.
const LONGEST_NAME: usize = 512;

/// More than any network has, or several of them.
const MOST_TENSORS: usize = 50_000;

/// How deep modules may be nested; with [`MOST_EDGES`] it bounds what a module costs that holds itself.
const DEEPEST_MODULE: usize = 40;

/// A module's own attributes are among the first.
const MOST_ATTRIBUTES: usize = 256;

/// More than a pickle has that does not refer to the same values again and again.
const MOST_EDGES: usize = 2_000_000;

/// The tensors that make up a network, or several.
pub(super) struct StateDict<'p, 'a> {
    pub(super) tensors: Vec<(Cow<'a, str>, &'p TensorRecord<'a>)>,
    /// Tensors that are made by functions that are not known.
    pub(super) unread: Vec<(Cow<'a, str>, Name<'a>)>,
    pub(super) notes: Vec<String>,
}

impl<'p, 'a> StateDict<'p, 'a> {
    /// The dict or module under `key`, or else the one that holds a network.
    pub(super) fn find(pickle: &'p Pickle<'a>, key: Option<&str>) -> Result<Self, Fault> {
        let tree = Tree { pickle, edges: Cell::new(0) };
        let mut from = pickle.root;
        if let Some(key) = key {
            from = tree
                .follow(from, key)
                .filter(|&value| tree.children(value).is_some())
                .ok_or_else(|| {
                    Fault::Unknown(format!("no dict of tensors under `{key}`; {}", tree.keys(from)))
                })?;
        }
        let chosen = tree.choose(from, key.unwrap_or(""));
        if chosen.as_ref().map_or(true, |(found, _)| tree.is_module(*found))
            && let Some(layer) = tree.quantised_layer()
        {
            return unknown(format!(
                "the file has a whole module, whose quantised layers keep their weights as their code packs them \
                 (`{layer}`); save `model.state_dict()`"
            ));
        }
        let (found, notes) = chosen?;
        let mut dict = Self { tensors: Vec::new(), unread: Vec::new(), notes };
        if let Some(instance) = pickle.instance(found).filter(|_| tree.is_module(found)) {
            let class = instance.maker;
            dict.notes.push(format!(
                "the file has a whole module, `{class}`: its tensors are read, and what its code does is \
                 not known"
            ));
        }
        let entries = tree.entries(found)?;
        if entries.len() > MOST_TENSORS {
            return corrupt(format!("a state dict of {} entries", entries.len()));
        }
        // Of two with one name the last one counts, as in Python.
        let entries: BTreeMap<Cow<'_, str>, Value<'_>> = entries.into_iter().collect();
        let mut others = Vec::new();
        for (name, value) in entries {
            if name.len() > LONGEST_NAME {
                return corrupt(format!("a tensor whose name has {} bytes", name.len()));
            }
            // Of a quantised linear layer, a weight and a bias in a tuple.
            match (name.strip_suffix(PACKED), pickle.object(value)) {
                (Some(module), Some(Object::Tuple(parts))) => {
                    for (part, &value) in ["weight", "bias"].into_iter().zip(parts) {
                        if value != Value::Plain {
                            let name = Cow::Owned(format!("{module}.{part}"));
                            others.extend(dict.take(pickle, name, value));
                        }
                    }
                }
                _ if name.ends_with("._packed_params.dtype") => {}
                _ => others.extend(dict.take(pickle, name, value)),
            }
        }
        dict.leave_out(pickle, others);
        Ok(dict)
    }

    /// Takes a value that is a tensor, or would be one; others it gives back.
    fn take(
        &mut self,
        pickle: &'p Pickle<'a>,
        name: Cow<'a, str>,
        value: Value<'a>,
    ) -> Option<(Cow<'a, str>, Value<'a>)> {
        match pickle.object(value) {
            Some(Object::Tensor(tensor)) => self.tensors.push((name, tensor)),
            Some(Object::Instance(instance)) if instance.of_tensor => {
                self.unread.push((name, instance.maker));
            }
            _ => return Some((name, value)),
        }
        None
    }

    /// Sets aside what is no tensor. What a call makes that is not known, beside the tensors of a module,
    /// may have been one.
    fn leave_out(&mut self, pickle: &Pickle<'a>, others: Vec<(Cow<'a, str>, Value<'a>)>) {
        let module = |name: &str| name.rsplit_once('.').map(|(module, _)| module.to_owned());
        let modules: HashSet<String> =
            self.tensors.iter().filter_map(|(name, _)| module(name)).collect();
        let mut left = Vec::new();
        for (name, value) in others {
            let beside = module(&name).is_some_and(|module| modules.contains(&module));
            match pickle.instance(value) {
                Some(instance) if beside && !name.ends_with("._extra_state") => {
                    self.unread.push((name, instance.maker));
                }
                _ => left.push(name),
            }
        }
        if let [first, more @ ..] = &*left {
            let more = match more.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.notes
                .push(format!("left out: `{first}`{more}, beside the tensors and none itself"));
        }
    }
}

/// A pickle as a tree of dicts, lists and attributes.
struct Tree<'p, 'a> {
    pickle: &'p Pickle<'a>,
    /// How often a value was found inside another one.
    edges: Cell<usize>,
}

type Children<'p, 'a> = Box<dyn Iterator<Item = (Step<'a>, Value<'a>)> + 'p>;

/// The attributes of a module that hold its tensors.
struct Module<'a> {
    parameters: Value<'a>,
    buffers: Value<'a>,
    modules: Value<'a>,
    /// The names of buffers that a state dict does not have.
    transient: Value<'a>,
}

impl<'p, 'a> Tree<'p, 'a> {
    /// The value with the best claim to be the state dict, at `from`, which is under `key`, or inside.
    fn choose(&self, from: Value<'a>, key: &str) -> Result<(Value<'a>, Vec<String>), Fault> {
        let nodes = self.nodes(from)?;
        let (mut networks, mut others) = (Vec::new(), Vec::new());
        for (number, node) in nodes.iter().enumerate() {
            if let Some(names) = self.tensor_names(node.value)? {
                match has_blocks(names.iter().map(|name| &**name)) {
                    true => networks.push(number),
                    false => others.push((number, names.len())),
                }
            }
        }
        let path = |number: usize| path(&nodes, number, key);
        let is_usual = |number| rank(&nodes, number).iter().all(|&rank| rank < WRAPPERS.len());
        let chosen = |number| match number {
            0 => Vec::new(),
            _ => vec![format!("the state dict is the one under `{}`", path(number))],
        };
        // What was named is meant.
        let named = networks.first() == Some(&0) || others.first().is_some_and(|(n, _)| *n == 0);
        if !key.is_empty() && named {
            return Ok((from, Vec::new()));
        }
        networks.sort_by_cached_key(|&number| rank(&nodes, number));
        match &*networks {
            [] => {}
            [best, rest @ ..] if rest.is_empty() || is_usual(*best) => {
                let mut notes = chosen(*best);
                for other in rest.iter().map(|&other| path(other)).take(MOST_LISTED) {
                    notes.push(format!("there is another one under `{other}`: `--key {other}`"));
                }
                return Ok((nodes[*best].value, notes));
            }
            several => {
                let mut list = String::new();
                for &number in several.iter().take(MOST_LISTED) {
                    let looks = self.looks(nodes[number].value)?;
                    list += &format!("\n  `--key {}`: {looks}", path(number));
                }
                return unknown(format!("there are several networks in it:{list}"));
            }
        }
        // No names that are known: the largest dict is to be looked at, if it is where it should be.
        others.sort_by_key(|&(_, count)| Reverse(count));
        match others.first() {
            Some(&(best, _)) if is_usual(best) => Ok((nodes[best].value, chosen(best))),
            _ => {
                let others = others.iter().take(MOST_LISTED).map(|&(other, _)| path(other));
                self.nothing(from, key, &others.collect::<Vec<_>>())
            }
        }
    }

    /// The error for a pickle without a network; `paths` lead to tensors.
    fn nothing<T>(&self, from: Value<'a>, key: &str, paths: &[String]) -> Result<T, Fault> {
        if let Some(instance) = self.pickle.instance(from)
            && self.is_empty(from)
        {
            let what = "the object in it".to_owned();
            return Err(Fault::Code { what, global: instance.maker.to_string() });
        }
        let is_dict =
            matches!(self.pickle.object(from), Some(Object::Dict(_) | Object::Instance(_)));
        if key.is_empty() && paths.is_empty() && !is_dict {
            return unknown(
                "it holds something other than a dict of tensors; save `model.state_dict()`",
            );
        }
        if let [_, ..] = paths {
            let paths: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
            return unknown(format!(
                "no dict in it has names of residual blocks, such as `layer1.0.conv1.weight`; there are \
                 tensors under {}",
                paths.join(", ")
            ));
        }
        if !key.is_empty() {
            return unknown(format!("no dict of tensors under `{key}`; {}", self.keys(from)));
        }
        unknown(match self.pickle.object(from) {
            Some(Object::Dict(dict)) if dict.length == 0 => {
                "it is an empty dict; save `model.state_dict()`".to_owned()
            }
            _ => format!(
                "there are no tensors in it, nor in the dicts inside it; {}. Name the state dict's with \
                 `--key`, or save `model.state_dict()`",
                self.keys(from)
            ),
        })
    }

    /// All values that can hold tensors, from the outermost to the innermost. Each is met once.
    fn nodes(&self, from: Value<'a>) -> Result<Vec<Node<'a>>, Fault> {
        let mut nodes = vec![Node { value: from, parent: 0, step: None, depth: 0 }];
        let mut met = HashSet::new();
        let mut queue = VecDeque::from([0]);
        while let Some(number) = queue.pop_front() {
            let Node { value, depth, .. } = nodes[number];
            if depth == DEEPEST || self.is_module(value) {
                continue;
            }
            for (step, value) in self.children(value).into_iter().flatten() {
                self.count(1)?;
                let Value::Object(object) = value else { continue };
                if !self.is_empty(value) && met.insert(object) {
                    queue.push_back(nodes.len());
                    nodes.push(Node { value, parent: number, step: Some(step), depth: depth + 1 });
                }
            }
        }
        Ok(nodes)
    }

    fn count(&self, edges: usize) -> Result<(), Fault> {
        self.edges.set(self.edges.get().saturating_add(edges));
        match self.edges.get() {
            ..=MOST_EDGES => Ok(()),
            _ => corrupt("its values hold one another over and over"),
        }
    }

    /// What a value holds; `None` if it can hold nothing.
    fn children(&self, value: Value<'a>) -> Option<Children<'p, 'a>> {
        let pickle = self.pickle;
        let pairs = |pairs: &'p [(&'a str, Value<'a>)]| {
            pairs.iter().map(|&(key, value)| (Step::Key(key), value))
        };
        Some(match pickle.object(value)? {
            Object::Dict(dict) => Box::new(pairs(&dict.pairs)),
            Object::Instance(instance) => {
                let attributes = pickle.dict(instance.state).unwrap_or_default();
                Box::new(pairs(&instance.pairs).chain(pairs(attributes)))
            }
            Object::List(list) => {
                Box::new(list.items.iter().map(|&(place, value)| (Step::Place(place), value)))
            }
            Object::Tuple(parts) => {
                let parts = parts.iter().enumerate();
                Box::new(parts.map(|(place, &value)| (Step::Place(place), value)))
            }
            _ => return None,
        })
    }

    fn is_empty(&self, value: Value<'a>) -> bool {
        self.children(value).is_none_or(|mut children| children.next().is_none())
    }

    /// The value under a dotted path. A key may have dots itself.
    fn follow(&self, from: Value<'a>, path: &str) -> Option<Value<'a>> {
        let ends = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]);
        ends.rev().find_map(|end| {
            let is = |step: Step<'_>| match step {
                Step::Key(key) => key == &path[..end],
                Step::Place(place) => place.to_string() == path[..end],
            };
            // Of two with one key the last one counts, as in Python.
            let (_, value) = self.children(from)?.filter(|&(step, _)| is(step)).last()?;
            match path.get(end + 1..) {
                Some(rest) => self.follow(value, rest),
                None => Some(value),
            }
        })
    }

    fn module(&self, value: Value<'a>) -> Option<Module<'a>> {
        let state = self.pickle.instance(value)?.state;
        let attributes = self.pickle.dict(state)?;
        let attributes = &attributes[..attributes.len().min(MOST_ATTRIBUTES)];
        let part =
            |name| attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        Some(Module {
            parameters: part("_parameters")?,
            buffers: part("_buffers")?,
            modules: part("_modules")?,
            transient: part("_non_persistent_buffers_set").unwrap_or(Value::Plain),
        })
    }

    fn is_module(&self, value: Value<'a>) -> bool {
        self.module(value).is_some()
    }

    /// The names of the tensors of a dict or module; `None` if there are none.
    fn tensor_names(&self, value: Value<'a>) -> Result<Option<Vec<Cow<'a, str>>>, Fault> {
        let mut names = Vec::new();
        for (name, value) in self.entries(value)? {
            match self.pickle.object(value) {
                Some(Object::Tensor(_)) => names.push(name),
                Some(Object::Instance(instance)) if instance.of_tensor => names.push(name),
                _ => {}
            }
        }
        Ok((!names.is_empty()).then_some(names))
    }

    /// The class of a layer that PyTorch has quantised, if there is one as a module.
    fn quantised_layer(&self) -> Option<Name<'a>> {
        self.pickle.objects.iter().find_map(|object| match object {
            Object::Instance(instance) if instance.maker.module.contains(".quantized.") => {
                Some(instance.maker)
            }
            _ => None,
        })
    }

    /// Names and values of a dict, or of a module as its `state_dict()` has them.
    fn entries(&self, value: Value<'a>) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Fault> {
        if self.is_module(value) {
            return self.module_entries(value);
        }
        let pairs = self.pickle.dict(value).unwrap_or_default().iter();
        Ok(pairs.map(|&(name, value)| (Cow::Borrowed(name), value)).collect())
    }

    /// The parameters, buffers and modules of a module, these in turn with their names before theirs.
    fn module_entries(&self, module: Value<'a>) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Fault> {
        let endless = || corrupt("a module holds itself, or more than any network has");
        let mut entries = Vec::new();
        let mut left = vec![(module, String::new(), 0)];
        while let Some((module, prefix, depth)) = left.pop() {
            let Some(Module { parameters, buffers, modules, transient }) = self.module(module)
            else {
                continue;
            };
            let dict = |value| self.pickle.dict(value).unwrap_or_default();
            self.count(1 + dict(parameters).len() + dict(buffers).len() + dict(modules).len())?;
            if depth > DEEPEST_MODULE {
                return endless();
            }
            let transient = match self.pickle.object(transient) {
                Some(Object::List(list)) if list.length <= MOST_ATTRIBUTES => {
                    self.pickle.texts(transient).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            for &(name, value) in dict(parameters).iter().chain(dict(buffers)) {
                // None stands for a bias that is not there.
                if matches!(value, Value::Object(_)) && !transient.contains(&name) {
                    if entries.len() == MOST_TENSORS || prefix.len() + name.len() > LONGEST_NAME {
                        return endless();
                    }
                    entries.push((Cow::Owned(format!("{prefix}{name}")), value));
                }
            }
            for &(name, module) in dict(modules).iter().rev() {
                if left.len() == MOST_TENSORS || prefix.len() + name.len() > LONGEST_NAME {
                    return endless();
                }
                left.push((module, format!("{prefix}{name}."), depth + 1));
            }
        }
        Ok(entries)
    }

    /// What a dict of tensors looks like.
    fn looks(&self, value: Value<'a>) -> Result<Sketch, Fault> {
        let entries = self.entries(value)?;
        Ok(Sketch::of(
            entries
                .iter()
                .filter_map(|(name, value)| Some((&**name, &*self.pickle.tensor(*value)?.shape))),
        ))
    }

    /// The first keys of a dict, for a message.
    fn keys(&self, value: Value<'a>) -> String {
        let children = self.children(value).into_iter().flatten();
        let keys = children.filter_map(|(step, _)| match step {
            Step::Key(key) => Some(format!("`{key}`")),
            Step::Place(_) => None,
        });
        let keys: Vec<String> = keys.take(10).collect();
        match &*keys {
            [] => "none of its keys is a text".to_owned(),
            _ => format!("its keys are {}", keys.join(", ")),
        }
    }
}
