//! Machine code in memory: who owns it, how it is called, when it is freed.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use cranelift_codegen::settings::{self, Configurable, SetError};
use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use cranelift_module::{ModuleError, default_libcall_names};
use resnet_runtime::context::{self, Context};
use resnet_runtime::kernels::Table;
use resnet_runtime::session::{Code, Variant};

use super::clif::{self, Linking, Listing, PARALLEL};
use crate::nest::{Program, Statement, VerifyError};
use crate::plan::{Plan, variant};
use crate::target::Target;

/// Why a program could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    /// The JIT has no back end for this machine; the interpreter runs everywhere.
    #[error("the JIT does not serve this machine ({0}); the interpreter does")]
    Host(String),
    /// A setting that this version of Cranelift does not know.
    #[error("Cranelift refused a setting: {0}")]
    Setting(#[from] SetError),
    /// The operating system refused memory for the code.
    #[error("no memory for machine code: {0}")]
    Memory(String),
    /// The program would leave its memory.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// Cranelift could not compile the program.
    #[error("Cranelift could not compile the program: {0}")]
    Module(#[from] Box<ModuleError>),
}

/// Compiles every program of a plan.
///
/// # Errors
///
/// See [`Jit::compile`].
pub fn compile(plan: &Plan, target: &Target) -> Result<Vec<Variant>, JitError> {
    let each = |program: &Program| {
        let code = Jit::compile(program, target.kernels())?;
        Ok(variant(program, Arc::new(code)))
    };
    plan.programs.iter().map(each).collect()
}

/// A compiled program; its memory is freed when it is dropped.
///
/// Cranelift's module writes the code into pages that are writable and not executable, then makes
/// them executable and not writable.
pub struct Jit {
    entry: unsafe extern "C" fn(*const Context<'_>),
    module: ManuallyDrop<JITModule>,
}

// SAFETY: after `Jit::compile` the module is only touched by `drop`, which has it to itself; the
// entry function is immutable machine code.
unsafe impl Send for Jit {}
// SAFETY: as above.
unsafe impl Sync for Jit {}

impl Jit {
    /// Compiles a program for this machine with the kernels of `table`.
    ///
    /// # Errors
    ///
    /// If the machine has no back end, memory is refused, or the program is faulty.
    pub fn compile(program: &Program, table: &'static Table) -> Result<Self, JitError> {
        Ok(Self::compile_with(program, table, Listing::None)?.0)
    }

    /// Prints the code that [`Jit::compile`] makes.
    ///
    /// # Errors
    ///
    /// As [`Jit::compile`].
    pub fn list(
        program: &Program,
        table: &'static Table,
        listing: Listing,
    ) -> Result<String, JitError> {
        Ok(Self::compile_with(program, table, listing)?.1)
    }

    fn compile_with(
        program: &Program,
        table: &'static Table,
        listing: Listing,
    ) -> Result<(Self, String), JitError> {
        program.verify()?;
        let mut flags = settings::builder();
        flags.set("is_pic", "false")?;
        flags.set("opt_level", "speed")?;
        flags.set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
        let isa = cranelift_native::builder()
            .map_err(|reason| JitError::Host(reason.to_owned()))?
            .finish(settings::Flags::new(flags))
            .map_err(|error| JitError::Host(error.to_string()))?;
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        builder.symbol(PARALLEL, context::parallel as *const u8);
        for function in &program.functions {
            add_kernels(&mut builder, table, &function.body);
        }
        let memory = ArenaMemoryProvider::new_with_size(reserve(program))
            .map_err(|error| JitError::Memory(error.to_string()))?;
        builder.memory_provider(Box::new(memory));
        let mut module = JITModule::new(builder);
        let emitted =
            clif::emit(&mut module, program, Linking::Symbols, listing).and_then(|emitted| {
                module.finalize_definitions()?;
                Ok(emitted)
            });
        let (entry, text) = match emitted {
            Ok(emitted) => emitted,
            Err(error) => {
                // SAFETY: no function of the module has been called or handed out.
                unsafe { module.free_memory() };
                return Err(error.into());
            }
        };
        let entry = module.get_finalized_function(entry);
        // SAFETY: `clif::emit` gave the entry function this signature, in the machine's C calling
        // convention; the module that owns it lives as long as the pointer, in the same struct.
        let entry = unsafe {
            std::mem::transmute::<*const u8, unsafe extern "C" fn(*const Context<'_>)>(entry)
        };
        Ok((Self { entry, module: ManuallyDrop::new(module) }, text))
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        // SAFETY: the module is taken once, here; the only pointer into its code is `entry`,
        // which is private, goes away with `self`, and is called through `&self` alone.
        unsafe { ManuallyDrop::take(&mut self.module).free_memory() };
    }
}

// SAFETY: `Program::verify` passed, and emitted code makes exactly the program's calls: no call
// leaves the lengths that the program states, and only the arena, the scratch and the output are
// written.
unsafe impl Code for Jit {
    unsafe fn run(&self, context: &Context<'_>) {
        // SAFETY: the caller vouches for the context; the code is alive, see `Drop`.
        unsafe { (self.entry)(context) }
    }
}

fn add_kernels(builder: &mut JITBuilder, table: &Table, body: &[Statement]) {
    for statement in body {
        match statement {
            Statement::For(_, body) => add_kernels(builder, table, body),
            Statement::Call(call, _) => {
                builder.symbol(call.name(), call.address(table));
            }
        }
    }
}

/// Address space for the code, several times what it takes: pages that are not used cost nothing.
fn reserve(program: &Program) -> usize {
    (1 << 20) + program.functions.len() * (16 << 10) + program.steps.len() * (4 << 10)
}
