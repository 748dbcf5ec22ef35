//! Runs a program by walking it: for debugging, and where no JIT can be had.
//!
//! It calls the same kernels in the same order on the same addresses as the other back ends, so
//! its results have the same bits.

use std::ffi::c_void;
use std::sync::Arc;

use resnet_runtime::context::{Context, parallel};
use resnet_runtime::kernels::{MAX_OPERANDS, Table};
use resnet_runtime::session::{Code, Variant};

use crate::nest::{
    Address, Base, Function, Loop, Place, Program, Statement, Step, Var, VerifyError,
};
use crate::plan::{Plan, variant};
use crate::schedule::Region;
use crate::target::Target;

/// Makes every program of a plan runnable.
///
/// # Errors
///
/// If one would leave its memory, which is a bug in the compiler.
pub fn compile(plan: &Plan, target: &Target) -> Result<Vec<Variant>, VerifyError> {
    let each = |program: &Program| {
        let code = Interpreter::new(program.clone(), target.kernels())?;
        Ok(variant(program, Arc::new(code)))
    };
    plan.programs.iter().map(each).collect()
}

/// A verified program with the kernels of one instruction set.
pub struct Interpreter {
    program: Program,
    table: &'static Table,
}

impl Interpreter {
    /// Makes a program runnable.
    ///
    /// # Errors
    ///
    /// If the program fails verification, which is a bug in this compiler.
    pub fn new(program: Program, table: &'static Table) -> Result<Self, VerifyError> {
        program.verify()?;
        Ok(Self { program, table })
    }
}

// SAFETY: `Program::verify` passed: no call leaves the lengths that the program states, and only
// the arena, the scratch and the output are written.
unsafe impl Code for Interpreter {
    unsafe fn run(&self, context: &Context<'_>) {
        for step in &self.program.steps {
            // SAFETY: the context's places have the lengths that the program states, as `Code::run` asks for;
            // the step is the program's.
            unsafe { self.run_step(step, context) };
        }
    }
}

impl Interpreter {
    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs one step of the program.
    ///
    /// # Safety
    ///
    /// As for [`Code::run`], and `step` is one of the program's.
    pub(crate) unsafe fn run_step(&self, step: &Step, context: &Context<'_>) {
        let function = self.program.function(step.function);
        let regions = Region::SHARED.map(|region| match region {
            Region::Input => context.input.cast_mut().cast(),
            Region::Output => context.output.cast(),
            Region::Arena => context.arena,
            Region::Weights => context.weights.cast_mut(),
            Region::Scratch => unreachable!("the threads do not share it"),
        });
        let walk = Walk { function, step, table: self.table, regions };
        // SAFETY: `task` takes its operands for the walk that they are, which outlives the call; its
        // accesses were verified, and iterations of a function's parallel loops are independent.
        unsafe { parallel(context, task, std::ptr::from_ref(&walk).cast(), function.count()) };
    }
}

/// What a task walks over.
struct Walk<'a> {
    function: &'a Function,
    step: &'a Step,
    table: &'static Table,
    /// Where the shared regions start in this run's memory.
    regions: [*mut c_void; Region::SHARED.len()],
}

/// Runs some iterations of a step.
///
/// # Safety
///
/// `walk` points at a [`Walk`] whose program was verified and whose regions and scratch are as large as
/// the program says.
unsafe extern "C" fn task(
    walk: *const *mut c_void,
    scratch: *mut c_void,
    first: usize,
    last: usize,
) {
    // SAFETY: `Interpreter::run_step` gave a pointer to a `Walk` to `parallel`.
    let walk = unsafe { &*walk.cast::<Walk<'_>>() };
    for iteration in first..last {
        let mut values = Values::default();
        let mut rest = iteration;
        for Loop { var, extent } in walk.function.parallel.iter().rev() {
            values.set(*var, rest % extent);
            rest /= extent;
        }
        walk.body(&walk.function.body, scratch, &mut values);
    }
}

impl Walk<'_> {
    fn body(&self, body: &[Statement], scratch: *mut c_void, values: &mut Values) {
        for statement in body {
            match statement {
                Statement::For(Loop { var, extent }, body) => {
                    for value in 0..*extent {
                        values.set(*var, value);
                        self.body(body, scratch, values);
                    }
                }
                Statement::Call(call, addresses) => {
                    let mut places = [std::ptr::null_mut(); MAX_OPERANDS];
                    for (place, address) in places.iter_mut().zip(addresses) {
                        *place = self.locate(address, scratch, values);
                    }
                    // SAFETY: the program was verified with these loops' bounds, so each place
                    // has all the bytes that the kernel touches, of its kind; the table was handed out
                    // by an instruction set that the CPU has.
                    unsafe { call.invoke(self.table, &places[..addresses.len()]) };
                }
            }
        }
    }

    fn locate(&self, address: &Address, scratch: *mut c_void, values: &Values) -> *mut c_void {
        let (base, offset) = match address.base {
            Base::Operand(operand) => {
                let Place { region, offset, .. } = self.step.operands[operand];
                (self.regions[region as usize], offset)
            }
            Base::Scratch(_) => (scratch, 0),
        };
        base.wrapping_byte_add(offset + address.offset + values.distance(&address.terms))
    }
}

/// What the loop variables are worth.
#[derive(Default)]
struct Values([usize; Var::COUNT]);

impl Values {
    fn set(&mut self, var: Var, value: usize) {
        self.0[var as usize] = value;
    }

    fn distance(&self, terms: &[(Var, usize)]) -> usize {
        terms.iter().map(|&(var, distance)| self.0[var as usize] * distance).sum()
    }
}
