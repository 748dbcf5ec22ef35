//! Where the time of a run goes: each step timed by itself.

use std::time::{Duration, Instant};

use resnet_runtime::kernels::{FlushDenormals, Isa};
use resnet_runtime::load::{LoadError, all_threads, load};
use resnet_runtime::memory::Workspace;
use resnet_runtime::session::Context;
use resnet_runtime::weights::Weights;

use crate::graph::{Graph, NodeId};
use crate::interpret::Interpreter;
use crate::network::{CompileError, plan};
use crate::schedule::Wishes;

/// The time of one step of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// The step's name.
    pub name: String,
    /// What its function does: operator, shapes, algorithm.
    pub doc: String,
    /// The layer's multiply-adds, at the step that does them (as if computed by definition).
    pub macs: u64,
    /// The shortest time of all runs.
    pub time: Duration,
}

/// Why a network could not be profiled.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its weights could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No memory for the activations.
    #[error("no memory for the network's activations: {0}")]
    Memory(#[from] std::io::Error),
}

/// Runs a network `runs` times on one thread, a picture at a time, and times every step.
///
/// The interpreter runs it, which calls the same kernels on the same addresses as compiled code;
/// what it adds is below a microsecond a kernel call.
///
/// # Errors
///
/// A network that cannot be compiled or loaded.
pub fn profile(
    graph: &Graph,
    isa: Isa,
    exact: bool,
    weights: &Weights,
    runs: usize,
) -> Result<Vec<StepTime>, ProfileError> {
    let (_, schedule, program) = plan(graph, Wishes { batch: 1, exact, memory: None }, 1)?;
    let packing = graph.packing(&schedule.recipes, &schedule.vectors, schedule.weights_len);
    let packed = load(&packing, weights, all_threads())?;
    let table = isa.table().map_err(CompileError::from)?;
    let input = vec![0.5_f32; program.input_len];
    let mut output = vec![0.0_f32; program.output_len];
    let mut workspace = Workspace::new(program.arena_len, program.scratch_len, 1)?;
    let interpreter = Interpreter::new(program, table).map_err(CompileError::from)?;
    let context = Context::new(&input, &mut output, &mut workspace, packed.as_slice());
    let program = interpreter.program();
    let mut times = vec![Duration::MAX; program.steps.len()];
    let _flush = FlushDenormals::new();
    for _ in 0..=runs {
        for (step, time) in program.steps.iter().zip(&mut times) {
            let start = Instant::now();
            // SAFETY: input, output, workspace and weights have the program's lengths and are
            // not used by anyone else here; the step is the program's.
            unsafe { interpreter.run_step(step, &context) };
            *time = start.elapsed().min(*time);
        }
    }
    let macs_of = |name: &str| {
        let id = (0..).map(NodeId).zip(&graph.nodes).find(|(_, node)| node.name == name);
        id.map_or(0, |(id, _)| u64::try_from(graph.cost(id).macs).unwrap_or(u64::MAX))
    };
    let steps = program.steps.iter().zip(times).map(|(step, time)| StepTime {
        name: step.name.clone(),
        doc: program.function(step.function).doc.clone(),
        macs: macs_of(&step.name),
        time,
    });
    Ok(steps.collect())
}
