//! Steps that are run image by image, one after the other for each, as one function.

use std::collections::HashMap;

use super::super::{Lowering, nested};
use crate::nest::{Base, Function, FunctionId, Loop, Statement, Step, Var};

impl Lowering {
    /// Makes one step of those from `first` on, each of which has images for its outermost loop.
    pub(super) fn image_by_image(&mut self, first: usize) {
        let steps = self.steps.split_off(first);
        let [head, ..] = &steps[..] else { return };
        let (layer, part) = (head.layer, head.part);
        let mut places = Vec::new();
        let mut operands = Vec::new();
        let mut docs: Vec<String> = Vec::new();
        let mut body = Vec::new();
        for step in &steps {
            let function = self.functions[step.function.index()].clone();
            let Some(own) = of_image(&function, self.batch) else {
                unreachable!("`{}` goes over images", function.doc)
            };
            body.extend(shifted(own, places.len()));
            places.extend(step.operands.iter().copied());
            operands.extend(function.operands);
            if docs.last() != Some(&function.doc) {
                docs.push(function.doc);
            }
        }
        let parallel = vec![self.picture()];
        let doc = docs.join("; ");
        self.step((layer, part), Function { doc, operands, parallel, body }, places);
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

/// What a function does of one image, if images are its outermost loop.
fn of_image(function: &Function, batch: usize) -> Option<Vec<Statement>> {
    let images = Loop { var: Var::Picture, extent: batch };
    match (&function.parallel[..], &function.body[..]) {
        ([first, rest @ ..], _) if *first == images => Some(nested(rest, function.body.clone())),
        ([], [Statement::For(each, body)]) if *each == images => Some(body.clone()),
        _ => None,
    }
}

/// The same statements, of operands that are so many further on.
fn shifted(body: Vec<Statement>, by: usize) -> Vec<Statement> {
    let shift = |statement| match statement {
        Statement::For(each, body) => Statement::For(each, shifted(body, by)),
        Statement::Call(call, mut addresses) => {
            for address in &mut addresses {
                if let Base::Operand(operand) = &mut address.base {
                    *operand += by;
                }
            }
            Statement::Call(call, addresses)
        }
    };
    body.into_iter().map(shift).collect()
}
