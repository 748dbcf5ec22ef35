//! Functions and the straight line.

use std::collections::BTreeSet;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use resnet_runtime::kernels::Call;

use super::{identifier, number};
use crate::nest::{Address, Base, Function, FunctionId, Loop, Program, Statement, Step, Var};
use crate::schedule::Region;

/// The module of a program.
pub(super) fn module_name(program: &Program) -> Ident {
    format_ident!("batch{}", program.batch)
}

/// A module with the program's functions and its entry, `infer`.
pub(super) fn module(krate: &TokenStream, program: &Program) -> TokenStream {
    let name = module_name(program);
    let functions = program.functions.iter().enumerate().map(|(i, f)| function(i, f));
    let infer = infer(program);
    quote! {
        mod #name {
            use ::core::ffi::c_void;
            use ::core::ops::Range;
            use #krate::__private::*;
            #(#functions)*
            #infer
        }
    }
}

fn function_name(id: FunctionId) -> Ident {
    format_ident!("{}", id.to_string())
}

fn variable(var: Var) -> Ident {
    identifier(&var.to_string())
}

fn function(index: usize, function: &Function) -> TokenStream {
    let name = function_name(FunctionId::at(index));
    let doc = format!(" {}", function.doc);
    let operands: Vec<Ident> = function.operands.iter().map(|name| identifier(name)).collect();
    let count = number(operands.len());
    let mut constants = Constants::default();
    let body = body(function, &function.body, &mut constants);
    let Constants { definitions, .. } = constants;
    let mut used = Used::default();
    used.collect(&function.body);
    let (variable, divisions) = iteration(&function.parallel, &used.vars);
    let scratch = if used.scratch { quote!(scratch) } else { quote!(_scratch) };
    quote! {
        #[doc = #doc]
        unsafe fn #name(
            kernels: &Kernels,
            operands: [*mut c_void; #count],
            #scratch: *mut c_void,
            iterations: Range<usize>,
        ) {
            #(#definitions)*
            let [#(#operands),*] = operands;
            for #variable in iterations {
                #divisions
                // SAFETY: the compiler verified these addresses over all values of the loops'
                // variables; the caller vouches for the operands and the kernels.
                unsafe { #body }
            }
        }
    }
}

/// The variable of the collapsed parallel loops, and how it is taken apart into theirs, the
/// innermost fastest.
fn iteration(loops: &[Loop], used: &BTreeSet<Var>) -> (TokenStream, TokenStream) {
    match loops {
        [] => (quote!(_), TokenStream::new()),
        [Loop { var, .. }] if !used.contains(var) => (quote!(_), TokenStream::new()),
        [Loop { var, .. }] => {
            let var = variable(*var);
            (quote!(#var), TokenStream::new())
        }
        _ => {
            let mut divisions = TokenStream::new();
            let mut inner = 1;
            for (depth, Loop { var, extent }) in loops.iter().enumerate().rev() {
                if used.contains(var) {
                    let (var, period) = (variable(*var), number(inner));
                    let quotient = if inner == 1 { quote!() } else { quote!(/ #period) };
                    let extent = number(*extent);
                    let rest = if depth == 0 { quote!() } else { quote!(% #extent) };
                    divisions.extend(quote!(let #var = iteration #quotient #rest;));
                }
                inner *= extent;
            }
            (quote!(iteration), divisions)
        }
    }
}

/// What addresses depend on.
#[derive(Default)]
struct Used {
    vars: BTreeSet<Var>,
    scratch: bool,
}

impl Used {
    fn collect(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::For(_, body) => self.collect(body),
                Statement::Call(_, addresses) => {
                    self.vars.extend(addresses.iter().flat_map(|a| &a.terms).map(|&(var, _)| var));
                    self.scratch |= addresses.iter().any(|a| matches!(a.base, Base::Scratch(_)));
                }
            }
        }
    }
}

/// The kernels' parameters of one function, each once.
#[derive(Default)]
struct Constants {
    known: Vec<(Call, Ident)>,
    definitions: Vec<TokenStream>,
}

impl Constants {
    fn name(&mut self, call: &Call) -> Ident {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| known == call) {
            return name.clone();
        }
        let kernel = call.name().to_uppercase();
        let same = self.known.iter().filter(|(known, _)| known.name() == call.name()).count();
        let name = match same {
            0 => identifier(&kernel),
            _ => format_ident!("{kernel}_{}", same + 1),
        };
        let value: TokenStream = call.expression().parse().expect("it is an expression");
        let ty = identifier(call.params());
        self.definitions.push(quote!(const #name: #ty = #value;));
        self.known.push((*call, name.clone()));
        name
    }
}

/// The expression for a value whose `Debug` form is one: structs of numbers, booleans, strings.
pub(super) fn literal(value: &dyn std::fmt::Debug) -> TokenStream {
    let text = format!("{value:?}");
    text.parse().expect("the Debug form of plain data is a Rust expression")
}

fn body(function: &Function, body: &[Statement], constants: &mut Constants) -> TokenStream {
    body.iter().map(|statement| self::statement(function, statement, constants)).collect()
}

fn statement(function: &Function, statement: &Statement, constants: &mut Constants) -> TokenStream {
    match statement {
        Statement::For(Loop { var, extent }, body) => {
            let body = self::body(function, body, constants);
            let (var, extent) = (variable(*var), number(*extent));
            quote!(for #var in 0..#extent { #body })
        }
        Statement::Call(call, addresses) => {
            let params = constants.name(call);
            let kernel = identifier(call.name());
            let addresses = addresses.iter().map(|address| self::address(function, address));
            quote!(kernels.#kernel(&#params, #(#addresses),*);)
        }
    }
}

fn address(function: &Function, address: &Address) -> TokenStream {
    let base = match address.base {
        Base::Operand(operand) => identifier(function.operands[operand]),
        Base::Scratch(_) => identifier("scratch"),
    };
    let constant = (address.offset != 0).then(|| {
        let offset = number(address.offset);
        quote!(#offset)
    });
    let terms = address.terms.iter().map(|(var, distance)| {
        let (var, distance) = (variable(*var), number(*distance));
        quote!(#distance * #var)
    });
    let summands: Vec<TokenStream> = constant.into_iter().chain(terms).collect();
    if summands.is_empty() { quote!(#base) } else { quote!(#base.byte_add(#(#summands)+*)) }
}

fn infer(program: &Program) -> TokenStream {
    let steps = program.steps.iter().map(|step| self::step(program, step));
    quote! {
        /// The whole network, layer by layer.
        pub(super) unsafe fn infer(run: &Run<'_>) {
            let (input, output) = (run.input(), run.output());
            let (arena, weights) = (run.arena(), run.weights());
            // SAFETY: the compiler verified that all operands and all that is reached from them
            // lie in the memory of the run, whose lengths the caller vouches for.
            unsafe { #(#steps)* }
        }
    }
}

fn step(program: &Program, step: &Step) -> TokenStream {
    let doc = format!(" {}", program.name_of(step));
    let name = function_name(step.function);
    let count = number(program.function(step.function).count());
    let operands = step.operands.iter().map(|place| {
        let region = match place.region {
            Region::Input => quote!(input),
            Region::Output => quote!(output),
            Region::Arena => quote!(arena),
            Region::Weights => quote!(weights),
            Region::Scratch => unreachable!("verified: no step hands out a place in the scratch"),
        };
        let offset = number(place.offset);
        if place.offset == 0 { region } else { quote!(#region.byte_add(#offset)) }
    });
    quote! {
        #[doc = #doc]
        run.parallel(#count, #name, [#(#operands),*]);
    }
}

#[cfg(test)]
mod tests {
    use resnet_runtime::kernels::{Element, SoftmaxParams};

    use super::*;

    #[test]
    fn addresses_in_the_scratch_count_from_the_threads_own() {
        let softmax = Call::Softmax(SoftmaxParams { channels: 3 });
        let terms = vec![(Var::Row, 12)];
        let x = Address { base: Base::Operand(0), offset: 0, terms: terms.clone() };
        let y = Address { base: Base::Scratch(Element::F32), offset: 128, terms };
        let function = Function {
            doc: "rows".to_owned(),
            operands: vec!["x"],
            parallel: vec![Loop { var: Var::Row, extent: 2 }],
            body: vec![Statement::Call(softmax, vec![x, y])],
        };
        let expected = quote! {
            #[doc = " rows"]
            unsafe fn fn7(
                kernels: &Kernels,
                operands: [*mut c_void; 1],
                scratch: *mut c_void,
                iterations: Range<usize>,
            ) {
                const SOFTMAX: SoftmaxParams = SoftmaxParams { channels: 3 };
                let [x] = operands;
                for row in iterations {
                    unsafe { kernels.softmax(&SOFTMAX, x.byte_add(12 * row), scratch.byte_add(128 + 12 * row)); }
                }
            }
        };
        assert_eq!(super::function(7, &function).to_string(), expected.to_string());
    }
}
