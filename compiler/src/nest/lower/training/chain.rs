//! Steps that are run image by image, one after the other for each, as one function.

use std::collections::HashMap;
use std::ops::Range;

use resnet_runtime::kernels::{Call, Element, FetchParams, LINE_BYTES};

use super::super::{Lowering, nested};
use crate::nest::{Address, Base, Function, FunctionId, Loop, Place, Statement, Step, Var};
use crate::schedule::Region;
use crate::train::Ahead;

impl Lowering {
    /// Makes one step of those from `first` on, each of which has for its outermost loop images, or the parts of the batch that
    /// are summed apart. With one of the latter, threads divide parts, not images. What is wanted `ahead` is fetched meanwhile;
    /// `of_ops` are the steps of each operator.
    pub(super) fn image_by_image(
        &mut self,
        first: usize,
        ahead: &[Ahead],
        of_ops: &[Range<usize>],
    ) {
        let steps = self.steps.split_off(first);
        let [head, ..] = &steps[..] else { return };
        let functions: Vec<Function> =
            steps.iter().map(|step| self.functions[step.function.index()].clone()).collect();
        let parts = functions.iter().find_map(parts_of);
        let mut chain = Chain { batch: self.batch, parts, ..Chain::default() };
        for (step, function) in steps.iter().zip(functions) {
            chain.add(&step.operands, function);
        }
        ahead.iter().for_each(|wanted| chain.fetch(wanted, of_ops[wanted.during].clone()));
        let (function, operands) = chain.function();
        self.step((head.layer, head.part), function, operands);
    }

    /// Drops functions that no step calls any more.
    pub(super) fn drop_unused(&mut self) {
        let mut kept: HashMap<FunctionId, FunctionId> = HashMap::new();
        let mut functions = Vec::new();
        for Step { function, .. } in &mut self.steps {
            *function = *kept.entry(*function).or_insert_with(|| {
                functions.push(self.functions[function.index()].clone());
                FunctionId::at(functions.len() - 1)
            });
        }
        self.functions = functions;
    }
}

/// The steps so far.
#[derive(Default)]
struct Chain {
    batch: usize,
    /// Parts of the batch, if some step sums them apart.
    parts: Option<usize>,
    docs: Vec<String>,
    names: Vec<&'static str>,
    places: Vec<Place>,
    /// What is done once for each part.
    before: Vec<Statement>,
    /// What each step does of an image.
    of_image: Vec<Vec<Statement>>,
}

impl Chain {
    /// Images of a part, or all of them.
    fn images(&self) -> usize {
        self.batch / self.parts.unwrap_or(1)
    }

    fn add(&mut self, places: &[Place], function: Function) {
        // What lies in the scratch is no operand.
        let mut operands = Vec::new();
        for (&place, name) in places.iter().zip(&function.operands) {
            operands.push(self.places.len());
            if place.region != Region::Scratch {
                self.places.push(place);
                self.names.push(*name);
            }
        }
        let (mut before, mut of_image) = apart(&function, self.batch);
        if self.parts.is_some() && parts_of(&function).is_none() {
            edit(&mut of_image, &|address| by_parts(address, self.images()));
        }
        for own in [&mut before, &mut of_image] {
            edit(own, &|address| {
                if let Base::Operand(operand) = &mut address.base {
                    *operand = operands[*operand];
                }
            });
        }
        self.before.extend(before);
        self.of_image.push(of_image);
        if self.docs.last() != Some(&function.doc) {
            self.docs.push(function.doc);
        }
    }

    /// Fetches what is wanted during some steps, if there is a call beside which it can be.
    fn fetch(&mut self, wanted: &Ahead, during: Range<usize>) {
        let operand = self.places.len();
        let of_part = self.parts.map(|_| (Var::Part, self.images() * wanted.bytes));
        let terms = of_part.into_iter().chain([(Var::Picture, wanted.bytes)]).collect();
        let from = Address { base: Base::Operand(operand), offset: 0, terms };
        let steps = &mut self.of_image[during];
        if steps.iter_mut().any(|body| insert_fetch(wanted.bytes, &from, body, &mut Vec::new())) {
            let Ahead { offset, .. } = *wanted;
            self.places.push(Place { region: Region::Arena, offset, element: Element::F32 });
            self.names.push("ahead");
        }
    }

    fn function(self) -> (Function, Vec<Place>) {
        let each = Loop { var: Var::Picture, extent: self.images() };
        let of_image = self.of_image.concat();
        let (parallel, body) = match self.parts {
            None => (each, of_image),
            Some(extent) => {
                let images = Statement::For(each, of_image);
                (Loop { var: Var::Part, extent }, [self.before, vec![images]].concat())
            }
        };
        let (doc, operands, parallel) = (self.docs.join("; "), self.names, vec![parallel]);
        (Function { doc, operands, parallel, body }, self.places)
    }
}

/// Puts a call behind the first one that multiplies, which fetches another share as often as that is called; whether there is one
/// in `body`, which these loops are around.
fn insert_fetch(
    bytes: usize,
    from: &Address,
    body: &mut Vec<Statement>,
    around: &mut Vec<Loop>,
) -> bool {
    for at in 0..body.len() {
        match &mut body[at] {
            Statement::For(each, body) => {
                around.push(*each);
                let inserted = insert_fetch(bytes, from, body, around);
                around.pop();
                if inserted {
                    return true;
                }
            }
            Statement::Call(Call::Conv(_) | Call::ConvGradient(_), _) => {
                let calls: usize = around.iter().map(|each| each.extent).product();
                let lines = bytes / LINE_BYTES / calls;
                if lines == 0 {
                    return false;
                }
                let mut address = from.clone();
                let mut share = lines * LINE_BYTES;
                for each in around.iter().rev() {
                    address.terms.push((each.var, share));
                    share *= each.extent;
                }
                let fetch = Call::Fetch(FetchParams { lines });
                body.insert(at + 1, Statement::Call(fetch, vec![address]));
                return true;
            }
            Statement::Call(..) => {}
        }
    }
    false
}

/// The parts of the batch that a function treats apart, if it does.
fn parts_of(function: &Function) -> Option<usize> {
    let first = function.parallel.first().filter(|each| each.var == Var::Part)?;
    Some(first.extent)
}

/// What a function does once for each part of the batch, and what for each image.
fn apart(function: &Function, batch: usize) -> (Vec<Statement>, Vec<Statement>) {
    let images = Loop { var: Var::Picture, extent: batch };
    match (&function.parallel[..], &function.body[..]) {
        ([first, rest @ ..], body) if *first == images => (Vec::new(), nested(rest, body.to_vec())),
        ([], [Statement::For(each, body)]) if *each == images => (Vec::new(), body.clone()),
        ([first, rest @ ..], [before @ .., Statement::For(each, body)])
            if first.var == Var::Part && each.var == Var::Picture =>
        {
            (nested(rest, before.to_vec()), nested(rest, body.clone()))
        }
        _ => unreachable!("`{}` goes over images", function.doc),
    }
}

/// A step from image to image becomes one from part to part, of so many images, and one inside it.
fn by_parts(address: &mut Address, images: usize) {
    let distance = |(var, distance): &(Var, usize)| (*var == Var::Picture).then_some(*distance);
    if let Some(distance) = address.terms.iter().find_map(distance) {
        address.terms.push((Var::Part, images * distance));
    }
}

/// Changes all addresses.
fn edit(body: &mut [Statement], change: &impl Fn(&mut Address)) {
    for statement in body {
        match statement {
            Statement::For(_, body) => edit(body, change),
            Statement::Call(_, addresses) => addresses.iter_mut().for_each(change),
        }
    }
}
