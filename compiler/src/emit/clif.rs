//! The Cranelift back end: a program becomes machine code in memory, in milliseconds.
//!
//! Cranelift emits what is specific to the network (loops, addresses, the order of everything) and
//! calls kernels that LLVM compiled: its x86-64 back end has 128-bit vectors only, half of what
//! AVX2 and a quarter of what AVX-512 can do.
//!
//! Emitted code:
//! - for each [`Function`] of the program `fnN(operands, scratch, first, last)`, which runs
//!   iterations `first..last` of its collapsed parallel loops and has the type
//!   [`Task`](resnet_runtime::threads::Task);
//! - `infer(context)`, the straight line: for each step it puts the operands' addresses on the
//!   stack and calls `parallel(context, fnN, operands, count)`.
//!
//! Code in an object file runs on one thread, with kernels that are found when it runs (`Linking::Table`): its
//! `infer(context, kernels)` calls `fnN` itself, and puts the table's address behind the operands'.

use std::collections::HashMap;
use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData, StackSlotKind, Value,
    types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, ModuleError};
use resnet_runtime::context::Context;
use resnet_runtime::kernels::Call;

use crate::nest::{Address, Base, Function, Loop, Program, Statement, Var};
use crate::schedule::Region;

/// The name under which compiled code finds [`parallel`](resnet_runtime::context::parallel).
pub(super) const PARALLEL: &str = "parallel";

/// Addresses are 64-bit on every machine that the JIT serves.
const POINTER: types::Type = types::I64;

/// How emitted code finds what it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linking {
    /// Kernels under their catalogue names, and the session's threads under [`PARALLEL`].
    Symbols,
    /// Kernels in the table that `infer` is given; no threads.
    Table,
}

/// What to print of the code as it is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Nothing.
    None,
    /// Cranelift's IR.
    Clif,
    /// The machine's assembly.
    Assembly,
}

/// Emits `program` into `module` and returns the entry function, with the listing asked for.
///
/// Under [`Linking::Symbols`] it is exported.
pub(super) fn emit<M: Module>(
    module: &mut M,
    program: &Program,
    linking: Linking,
    listing: Listing,
) -> Result<(FuncId, String), Box<ModuleError>> {
    let mut emitter = Emitter {
        module,
        linking,
        listing,
        text: String::new(),
        kernels: HashMap::new(),
        params: HashMap::new(),
        functions: Vec::new(),
    };
    // Data first: the module's memory then has one segment of each kind.
    for function in &program.functions {
        emitter.define_params(&function.body)?;
    }
    let mut buffers = FunctionBuilderContext::new();
    for (index, function) in program.functions.iter().enumerate() {
        let id = emitter.define_function(index, function, &mut buffers)?;
        emitter.functions.push(id);
    }
    let entry = emitter.define_entry(program, &mut buffers)?;
    Ok((entry, emitter.text))
}

struct Emitter<'a, M> {
    module: &'a mut M,
    linking: Linking,
    listing: Listing,
    text: String,
    kernels: HashMap<&'static str, FuncId>,
    params: HashMap<Call, DataId>,
    functions: Vec<FuncId>,
}

impl<M: Module> Emitter<'_, M> {
    /// A signature of pointer-sized arguments that returns nothing.
    fn signature(&self, arguments: usize) -> Signature {
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(POINTER); arguments];
        signature
    }

    /// Defines the constants of every kernel call as read-only data, and declares the kernels.
    fn define_params(&mut self, body: &[Statement]) -> Result<(), Box<ModuleError>> {
        for statement in body {
            match statement {
                Statement::For(_, body) => self.define_params(body)?,
                Statement::Call(call, _) => {
                    if self.linking == Linking::Symbols && !self.kernels.contains_key(call.name()) {
                        let signature = self.signature(1 + call.names().len());
                        let id = self.module.declare_function(
                            call.name(),
                            Linkage::Import,
                            &signature,
                        )?;
                        self.kernels.insert(call.name(), id);
                    }
                    if !self.params.contains_key(call) {
                        let id = self.module.declare_anonymous_data(false, false)?;
                        let mut data = DataDescription::new();
                        data.define(call.bytes().into());
                        data.set_align(align_of::<usize>() as u64);
                        self.module.define_data(id, &data)?;
                        self.params.insert(*call, id);
                    }
                }
            }
        }
        Ok(())
    }

    fn define_function(
        &mut self,
        index: usize,
        function: &Function,
        buffers: &mut FunctionBuilderContext,
    ) -> Result<FuncId, Box<ModuleError>> {
        let name = format!("fn{index}");
        let mut context = self.module.make_context();
        context.func.signature = self.signature(4);
        let id = self.module.declare_function(&name, Linkage::Local, &context.func.signature)?;
        let mut builder = FunctionBuilder::new(&mut context.func, buffers);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let &[operands, scratch, first, last] = builder.block_params(entry) else {
            unreachable!("the signature has four parameters")
        };
        let mut pointer = |i| builder.ins().load(POINTER, plain(), operands, pointer_offset(i));
        let bases = (0..function.operands.len()).map(&mut pointer).collect();
        let table = (self.linking == Linking::Table).then(|| pointer(function.operands.len()));
        let mut printer = Printer {
            module: &mut *self.module,
            kernels: &self.kernels,
            params: &self.params,
            builder,
            bases,
            table,
            scratch,
            values: HashMap::new(),
        };
        printer.counted_loop(first, last, |printer, iteration| {
            printer.divide(iteration, &function.parallel);
            printer.body(&function.body);
        });
        let Printer { module, builder, .. } = printer;
        finish(builder, module);
        self.define(id, &format!("{name}: {}", function.doc), context)?;
        Ok(id)
    }

    fn define_entry(
        &mut self,
        program: &Program,
        buffers: &mut FunctionBuilderContext,
    ) -> Result<FuncId, Box<ModuleError>> {
        let mut code = self.module.make_context();
        let linkage = match self.linking {
            Linking::Symbols => Linkage::Export,
            Linking::Table => Linkage::Local,
        };
        code.func.signature = self.signature(if self.linking == Linking::Table { 2 } else { 1 });
        let id = self.module.declare_function("infer", linkage, &code.func.signature)?;
        let parallel = match self.linking {
            Linking::Symbols => {
                let signature = self.signature(4);
                let id = self.module.declare_function(PARALLEL, Linkage::Import, &signature)?;
                Some(self.module.declare_func_in_func(id, &mut code.func))
            }
            Linking::Table => None,
        };
        let tasks: Vec<_> = self
            .functions
            .iter()
            .map(|&id| self.module.declare_func_in_func(id, &mut code.func))
            .collect();
        let mut builder = FunctionBuilder::new(&mut code.func, buffers);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let context = builder.block_params(entry)[0];
        let bases = Region::SHARED
            .map(|region| builder.ins().load(POINTER, plain(), context, context_offset(region)));
        let slot = operand_slot(&mut builder, program);
        for step in &program.steps {
            for (i, place) in step.operands.iter().enumerate() {
                let offset = builder.ins().iconst(POINTER, place.offset as i64);
                let address = builder.ins().iadd(bases[place.region as usize], offset);
                builder.ins().stack_store(POINTER, address, slot, pointer_offset(i));
            }
            let task = tasks[step.function.index()];
            let operands = builder.ins().stack_addr(POINTER, slot, 0);
            let count = program.function(step.function).count();
            let count = builder.ins().iconst(POINTER, count as i64);
            if let Some(parallel) = parallel {
                let task = builder.ins().func_addr(POINTER, task);
                builder.ins().call(parallel, &[context, task, operands, count]);
            } else {
                let kernels = builder.block_params(entry)[1];
                let behind = pointer_offset(step.operands.len());
                builder.ins().stack_store(POINTER, kernels, slot, behind);
                let scratch = offset_of!(Context, scratch) as i32;
                let scratch = builder.ins().load(POINTER, plain(), context, scratch);
                let first = builder.ins().iconst(POINTER, 0);
                builder.ins().call(task, &[operands, scratch, first, count]);
            }
        }
        finish(builder, &*self.module);
        self.define(id, &format!("infer: {}", program.name), code)?;
        Ok(id)
    }

    fn define(
        &mut self,
        id: FuncId,
        title: &str,
        mut context: cranelift_codegen::Context,
    ) -> Result<(), Box<ModuleError>> {
        context.set_disasm(self.listing == Listing::Assembly);
        if self.listing == Listing::Clif {
            self.text += &format!("; {title}\n{}\n", context.func.display());
        }
        self.module.define_function(id, &mut context)?;
        if let (Listing::Assembly, Some(code)) = (self.listing, context.compiled_code()) {
            let assembly = code.vcode.as_deref().unwrap_or_default();
            self.text += &format!("; {title}\n{assembly}\n");
        }
        Ok(())
    }
}

fn finish<M: Module>(mut builder: FunctionBuilder<'_>, module: &M) {
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
}

/// Memory that is there and aligned, in the machine's byte order.
fn plain() -> MemFlagsData {
    MemFlagsData::trusted()
}

fn pointer_offset(index: usize) -> i32 {
    (index * size_of::<usize>()) as i32
}

fn context_offset(region: Region) -> i32 {
    let offset = match region {
        Region::Input => offset_of!(Context, input),
        Region::Output => offset_of!(Context, output),
        Region::Arena => offset_of!(Context, arena),
        Region::Weights => offset_of!(Context, weights),
        Region::Scratch => unreachable!("verified: no step hands out a place in the scratch"),
    };
    offset as i32
}

/// Room for the operands of the step that has the most, and for an address behind them.
fn operand_slot(builder: &mut FunctionBuilder<'_>, program: &Program) -> StackSlot {
    let most = program.steps.iter().map(|step| step.operands.len()).max().unwrap_or(0);
    let size = pointer_offset(most + 1) as u32;
    builder.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3))
}

/// Prints the body of one function.
struct Printer<'a, M> {
    module: &'a mut M,
    kernels: &'a HashMap<&'static str, FuncId>,
    params: &'a HashMap<Call, DataId>,
    builder: FunctionBuilder<'a>,
    bases: Vec<Value>,
    /// The address of the kernels' table, if they are found there.
    table: Option<Value>,
    scratch: Value,
    values: HashMap<Var, Value>,
}

impl<M: Module> Printer<'_, M> {
    /// `for i in first..last { body(i) }`
    fn counted_loop(&mut self, first: Value, last: Value, body: impl FnOnce(&mut Self, Value)) {
        let header = self.builder.create_block();
        let iteration = self.builder.append_block_param(header, POINTER);
        let inside = self.builder.create_block();
        let after = self.builder.create_block();
        self.builder.ins().jump(header, &[first.into()]);
        self.builder.switch_to_block(header);
        let goes_on = self.builder.ins().icmp(IntCC::UnsignedLessThan, iteration, last);
        self.builder.ins().brif(goes_on, inside, &[], after, &[]);
        self.builder.switch_to_block(inside);
        body(self, iteration);
        let one = self.builder.ins().iconst(POINTER, 1);
        let next = self.builder.ins().iadd(iteration, one);
        self.builder.ins().jump(header, &[next.into()]);
        self.builder.switch_to_block(after);
    }

    /// Takes the collapsed iteration apart into the loops' variables, the innermost fastest.
    fn divide(&mut self, iteration: Value, loops: &[Loop]) {
        let mut rest = iteration;
        for (depth, each) in loops.iter().enumerate().rev() {
            let value = if depth == 0 {
                rest
            } else {
                let extent = self.builder.ins().iconst(POINTER, each.extent as i64);
                let quotient = self.builder.ins().udiv(rest, extent);
                let multiple = self.builder.ins().imul(quotient, extent);
                let value = self.builder.ins().isub(rest, multiple);
                rest = quotient;
                value
            };
            self.values.insert(each.var, value);
        }
    }

    fn body(&mut self, body: &[Statement]) {
        for statement in body {
            match statement {
                Statement::For(each, body) => {
                    let first = self.builder.ins().iconst(POINTER, 0);
                    let last = self.builder.ins().iconst(POINTER, each.extent as i64);
                    self.counted_loop(first, last, |printer, value| {
                        printer.values.insert(each.var, value);
                        printer.body(body);
                    });
                }
                Statement::Call(call, addresses) => {
                    let params =
                        self.module.declare_data_in_func(self.params[call], self.builder.func);
                    let mut arguments = vec![self.builder.ins().symbol_value(POINTER, params)];
                    for address in addresses {
                        arguments.push(self.address(address));
                    }
                    self.call(call, &arguments);
                }
            }
        }
    }

    fn call(&mut self, call: &Call, arguments: &[Value]) {
        let Some(table) = self.table else {
            let kernel = self.kernels[call.name()];
            let kernel = self.module.declare_func_in_func(kernel, self.builder.func);
            self.builder.ins().call(kernel, arguments);
            return;
        };
        let mut signature = self.module.make_signature();
        signature.params = vec![AbiParam::new(POINTER); arguments.len()];
        let signature = self.builder.import_signature(signature);
        let kernel = self.builder.ins().load(POINTER, plain(), table, call.offset() as i32);
        self.builder.ins().call_indirect(signature, kernel, arguments);
    }

    fn address(&mut self, address: &Address) -> Value {
        let mut place = match address.base {
            Base::Operand(operand) => self.bases[operand],
            Base::Scratch(_) => self.scratch,
        };
        for (var, distance) in &address.terms {
            let distance = self.builder.ins().iconst(POINTER, *distance as i64);
            let moved = self.builder.ins().imul(self.values[var], distance);
            place = self.builder.ins().iadd(place, moved);
        }
        if address.offset != 0 {
            let offset = self.builder.ins().iconst(POINTER, address.offset as i64);
            place = self.builder.ins().iadd(place, offset);
        }
        place
    }
}
