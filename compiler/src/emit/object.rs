//! A network as an object file: machine code with its packed weights, which a linker joins with the kernels.
//!
//! The code is the JIT's, for any CPU of an architecture: loops and addresses are not worth what a CPU has beyond the
//! baseline, and the kernels are chosen where it runs ([`resnet_runtime::object`]). Packed weights are the same for all of
//! them.

use std::str::FromStr;

use cranelift_codegen::CodegenError;
use cranelift_codegen::ir::{AbiParam, Endianness, InstBuilder, Signature, types};
use cranelift_codegen::isa::{self, LookupError, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, SetError};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{
    DataDescription, DataId, FuncId, Linkage, Module, ModuleError, default_libcall_names,
};
use cranelift_object::object::write::Error as WriteError;
use cranelift_object::{ObjectBuilder, ObjectModule};
use resnet_runtime::kernels::LINE_BYTES;
use resnet_runtime::object::{self, FINGERPRINT, RUN};
use target_lexicon::Triple;

use crate::emit::clif::{self, Linking, Listing};
use crate::nest::{Program, VerifyError};
use crate::plan::Plan;

/// Why a network could not become an object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There are no kernels, or no code generator, for a target.
    #[error("{0}")]
    Target(String),
    /// A setting that this version of Cranelift does not know.
    #[error("Cranelift refused a setting: {0}")]
    Setting(#[from] SetError),
    /// The program would leave its memory.
    #[error(transparent)]
    Program(#[from] VerifyError),
    /// Cranelift could not compile the program.
    #[error("Cranelift could not compile the program: {0}")]
    Module(#[from] Box<ModuleError>),
    /// Cranelift has no code generator with these settings.
    #[error("Cranelift has no code generator with these settings: {0}")]
    Codegen(#[from] CodegenError),
    /// The file's format cannot hold the network.
    #[error("the object file cannot be written: {0}")]
    Write(#[from] WriteError),
}

impl From<ModuleError> for ObjectError {
    fn from(error: ModuleError) -> Self {
        Self::Module(Box::new(error))
    }
}

/// The prefix of everything that an object defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Of a name, such as a file's without its ending: what C takes in an identifier stays, anything else becomes `_`.
    pub fn of(name: &str) -> Self {
        let mut prefix: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // No digit begins an identifier, and those that begin with `_` are the language's.
        if !prefix.starts_with(|c: char| c.is_ascii_alphabetic()) {
            prefix.insert_str(0, "net_");
        }
        Self(prefix)
    }

    /// The function that runs the network.
    pub fn function(&self) -> String {
        format!("{}_run", self.0)
    }

    fn constant(&self, name: &str) -> String {
        format!("{}_{name}", self.0.to_ascii_uppercase())
    }
}

/// The machine that an object is for.
#[derive(Clone)]
pub struct Target(OwnedTargetIsa);

impl Target {
    /// Any CPU of this machine's architecture.
    ///
    /// # Errors
    ///
    /// If there is no code generator for it.
    pub fn host() -> Result<Self, ObjectError> {
        Self::of(Triple::host())
    }

    fn of(triple: Triple) -> Result<Self, ObjectError> {
        let builder = isa::lookup(triple.clone()).map_err(|error| {
            ObjectError::Target(match error {
                LookupError::SupportDisabled => format!(
                    "this build has no code generator for `{triple}`: the one that is built on such a machine has"
                ),
                LookupError::Unsupported => {
                    format!("there is no code generator for `{triple}`; there are those of x86_64 and aarch64")
                }
            })
        })?;
        let mut flags = settings::builder();
        flags.set("is_pic", "true")?;
        flags.set("opt_level", "speed")?;
        flags.set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
        let isa = builder.finish(settings::Flags::new(flags))?;
        if isa.pointer_bits() != 64 || isa.endianness() != Endianness::Little {
            return Err(ObjectError::Target(format!(
                "there are no kernels for `{triple}`, whose addresses or byte order are others"
            )));
        }
        Ok(Self(isa))
    }
}

impl FromStr for Target {
    type Err = ObjectError;

    /// A triple, such as `x86_64-unknown-linux-gnu`.
    fn from_str(triple: &str) -> Result<Self, ObjectError> {
        let known = Triple::from_str(triple);
        Self::of(known.map_err(|error| {
            ObjectError::Target(format!(
                "`{triple}` is no target, such as `x86_64-unknown-linux-gnu`: {error}"
            ))
        })?)
    }
}

/// The object of a plan's program for as many images as it was planned for, with packed weights.
///
/// # Errors
///
/// A fault in the program, or a target or file that cannot hold it.
///
/// # Panics
///
/// If the weights are not as long as the plan's.
pub fn object(
    plan: &Plan,
    packed: &[u8],
    prefix: &Prefix,
    target: &Target,
) -> Result<Vec<u8>, ObjectError> {
    assert_eq!(packed.len(), plan.weights.bytes, "packed for another network");
    let program = &plan.programs[0];
    program.verify()?;
    let isa = target.0.clone();
    let builder = ObjectBuilder::new(isa, plan.info.name.as_bytes(), default_libcall_names())?;
    let mut module = ObjectModule::new(builder);
    let weights = module.declare_anonymous_data(false, false)?;
    let mut data = DataDescription::new();
    data.define(packed.into());
    data.set_align(LINE_BYTES as u64);
    module.define_data(weights, &data)?;
    let (infer, _) = clif::emit(&mut module, program, Linking::Table, Listing::None)?;
    define_run(&mut module, &prefix.function(), program, infer, weights)?;
    Ok(module.finish().emit()?)
}

/// `int PREFIX_run(input, output, arena)`: hands what the object has to [`object::run`].
fn define_run(
    module: &mut ObjectModule,
    name: &str,
    program: &Program,
    infer: FuncId,
    weights: DataId,
) -> Result<(), ObjectError> {
    let pointer = module.target_config().pointer_type();
    let signature = |module: &ObjectModule, parameters: usize| {
        let mut signature: Signature = module.make_signature();
        signature.params = vec![AbiParam::new(pointer); parameters];
        signature.returns = vec![AbiParam::new(types::I32)];
        signature
    };
    let run = module.declare_function(RUN, Linkage::Import, &signature(module, 7))?;
    let mut code = module.make_context();
    code.func.signature = signature(module, 3);
    let id = module.declare_function(name, Linkage::Export, &code.func.signature)?;
    let run = module.declare_func_in_func(run, &mut code.func);
    let infer = module.declare_func_in_func(infer, &mut code.func);
    let weights = module.declare_data_in_func(weights, &mut code.func);
    let mut buffers = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut code.func, &mut buffers);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let scratch_offset = object::scratch_offset(program.arena_bytes);
    let mut arguments = vec![
        builder.ins().iconst(pointer, FINGERPRINT.cast_signed()),
        builder.ins().func_addr(pointer, infer),
        builder.ins().symbol_value(pointer, weights),
        builder.ins().iconst(pointer, scratch_offset as i64),
    ];
    arguments.extend_from_slice(builder.block_params(entry));
    let call = builder.ins().call(run, &arguments);
    let status = builder.inst_results(call)[0];
    builder.ins().return_(&[status]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    Ok(module.define_function(id, &mut code)?)
}

/// How the header of an object begins.
pub const HEADER: &str = "// Made by `resnet emit --as object`.";

/// The header of an object.
pub fn header(plan: &Plan, prefix: &Prefix) -> String {
    let program = &plan.programs[0];
    let (info, batch) = (&plan.info, program.batch);
    let [channels, height, width] = info.input;
    let guard = prefix.constant("H");
    let constant = |name, value: usize| format!("#define {} {value}", prefix.constant(name));
    let images = if batch == 1 { "an image".to_owned() } else { format!("{batch} images") };
    let bytes = object::arena_bytes(program.arena_bytes, program.scratch_bytes);
    // A comment's end in a name would end the comment.
    let name = info.name.replace(['\n', '\r'], " ");
    format!(
        "{HEADER}
// {name}: {images} of {channels}x{height}x{width}.
#ifndef {guard}
#define {guard}

// Images a run.
{}
// Floats of the input: images one after the other, each planar, in channel, row, column order.
{}
// Floats of the output: {} an image.
{}
// Bytes of the arena.
{}

#ifdef __cplusplus
extern \"C\" {{
#endif

// Runs the network on the thread that calls it. The arena is memory at any address, whatever is in it; it, and the
// output, are nobody else's during the run. Needs libresnet_kernels or libresnet, and neither file, nor allocation, nor
// start. Returns 0; {} if a pointer is NULL or not aligned for floats; {} if the kernels are of another version
// than the object.
int {}(const float *input, float *output, void *arena);

#ifdef __cplusplus
}}
#endif

#endif
",
        constant("BATCH", batch),
        constant("INPUT_LEN", batch * info.input_len()),
        info.outputs,
        constant("OUTPUT_LEN", batch * info.outputs),
        constant("ARENA_BYTES", bytes),
        object::INVALID_ARGUMENT,
        object::OTHER_VERSION,
        prefix.function(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        for (name, function, constant) in [
            ("NET", "NET_run", "NET_H"),
            ("resnet-20.v2", "resnet_20_v2_run", "RESNET_20_V2_H"),
            ("50d", "net_50d_run", "NET_50D_H"),
            ("é", "net___run", "NET___H"),
        ] {
            let prefix = Prefix::of(name);
            assert_eq!(
                (prefix.function(), prefix.constant("H")),
                (function.into(), constant.into())
            );
        }
    }

    #[test]
    fn a_target_without_kernels_is_refused() {
        for triple in ["riscv32imc-unknown-none-elf", "s390x-unknown-linux-gnu", "nonsense"] {
            let error = triple.parse::<Target>().err().unwrap().to_string();
            assert!(error.contains(triple), "{error}");
        }
    }
}
