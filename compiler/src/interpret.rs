//! Runs a program by walking it: for debugging, and where no JIT can be had.
//!
//! It calls the same kernels in the same order on the same addresses as the other back ends, so
//! its results have the same bits.

use resnet_runtime::kernels::Table;
use resnet_runtime::session::{Code, Context};
use resnet_runtime::threads::parallel;

use crate::nest::{
    Address, Base, Function, Loop, Place, Program, Statement, Step, Var, VerifyError,
};
use crate::schedule::Region;

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
    unsafe fn run(&self, context: &Context) {
        for step in &self.program.steps {
            // SAFETY: the caller vouches for the context.
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
    pub unsafe fn run_step(&self, step: &Step, context: &Context) {
        let walk = Walk { function: self.program.function(step.function), table: self.table };
        // The task finds its function in front of the operands.
        let mut operands = vec![std::ptr::from_ref(&walk).cast_mut().cast()];
        operands.extend(step.operands.iter().map(|place| locate(context, place)));
        // SAFETY: `task` reads the walk and the function's operands, which outlive the call; its
        // accesses were verified, and iterations of a function's parallel loops are independent.
        unsafe { parallel(context, task, operands.as_ptr(), walk.function.count()) };
    }
}

/// Where a place is in this run's memory.
fn locate(context: &Context, place: &Place) -> *mut f32 {
    let base = match place.region {
        Region::Input => context.input.cast_mut(),
        Region::Output => context.output,
        Region::Arena => context.arena,
        Region::Weights => context.weights.cast_mut(),
        Region::Scratch => unreachable!("verified: no step hands out a place in the scratch"),
    };
    base.wrapping_add(place.offset)
}

unsafe extern "C" fn task(operands: *const *mut f32, scratch: *mut f32, first: usize, last: usize) {
    // SAFETY: `Interpreter::run` put a pointer to a `Walk` in front of as many operands as its
    // function has; both outlive the region.
    let (walk, operands) = unsafe {
        let walk = &*(*operands).cast::<Walk<'_>>();
        (walk, std::slice::from_raw_parts(operands.add(1), walk.function.operands.len()))
    };
    for iteration in first..last {
        let mut values = Values::default();
        let mut rest = iteration;
        for Loop { var, extent } in walk.function.parallel.iter().rev() {
            values.set(*var, rest % extent);
            rest /= extent;
        }
        walk.body(&walk.function.body, &Bases { operands, scratch }, &mut values);
    }
}

/// What a task walks over.
struct Walk<'a> {
    function: &'a Function,
    table: &'static Table,
}

/// What addresses count from.
struct Bases<'a> {
    operands: &'a [*mut f32],
    scratch: *mut f32,
}

impl Walk<'_> {
    fn body(&self, body: &[Statement], bases: &Bases<'_>, values: &mut Values) {
        for statement in body {
            match statement {
                Statement::For(Loop { var, extent }, body) => {
                    for value in 0..*extent {
                        values.set(*var, value);
                        self.body(body, bases, values);
                    }
                }
                Statement::Call(call, addresses) => {
                    let mut places = [std::ptr::null_mut(); MAX_OPERANDS];
                    for (place, address) in places.iter_mut().zip(addresses) {
                        *place = values.locate(address, bases);
                    }
                    // SAFETY: the program was verified with these loops' bounds, so each place
                    // has all the elements that the kernel touches; the table was handed out
                    // by an instruction set that the CPU has.
                    unsafe { call.invoke(self.table, &places[..addresses.len()]) };
                }
            }
        }
    }
}

/// The most operands that a kernel takes.
const MAX_OPERANDS: usize = 6;

/// What the loop variables are worth.
#[derive(Default)]
struct Values([usize; Var::COUNT]);

impl Values {
    fn set(&mut self, var: Var, value: usize) {
        self.0[var as usize] = value;
    }

    fn locate(&self, address: &Address, bases: &Bases<'_>) -> *mut f32 {
        let base = match address.base {
            Base::Operand(operand) => bases.operands[operand],
            Base::Scratch => bases.scratch,
        };
        let moved = address.terms.iter().map(|&(var, distance)| self.0[var as usize] * distance);
        base.wrapping_add(address.offset + moved.sum::<usize>())
    }
}
