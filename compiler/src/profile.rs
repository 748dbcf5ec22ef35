//! Where the time of a run goes: each step timed by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resnet_runtime::kernels::Isa;
use resnet_runtime::load::{LoadError, all_threads, load};
use resnet_runtime::session::{Code, Context, Loaded, Network, Packed, Variant};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Weights;

use crate::graph::{Graph, NodeId};
use crate::interpret::Interpreter;
use crate::nest::Program;
use crate::network::{CompileError, info, plan};
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

/// Runs a network `runs` times, one picture at a time or as many together as are wished, and times
/// every step.
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
    wishes: &Wishes,
    weights: &Weights,
    pool: Option<&Pool>,
    runs: usize,
) -> Result<Vec<StepTime>, ProfileError> {
    let (_, schedule, single) = plan(graph, wishes, 1)?;
    let mut programs = vec![single];
    if wishes.batch != 1 {
        programs.insert(0, plan(graph, wishes, wishes.batch)?.2);
    }
    let packing = graph.packing(&schedule.recipes, &schedule.vectors, schedule.weights_len);
    let packed = load(&packing, weights, all_threads())?;
    let times = time_steps(graph, programs, isa, packed, pool, runs)?;
    let macs_of = |name: &str| {
        let id = (0..).map(NodeId).zip(&graph.nodes).find(|(_, node)| node.name == name);
        id.map_or(0, |(id, _)| u64::try_from(graph.cost(id).macs).unwrap_or(u64::MAX))
    };
    let program = times.interpreter.program();
    let steps = program.steps.iter().zip(times.least()).map(|(step, time)| StepTime {
        name: step.name.clone(),
        doc: program.function(step.function).doc.clone(),
        macs: macs_of(&step.name),
        time,
    });
    Ok(steps.collect())
}

/// Runs the first program in a session like any other, but for the clock.
fn time_steps(
    graph: &Graph,
    programs: Vec<Program>,
    isa: Isa,
    packed: Packed,
    pool: Option<&Pool>,
    runs: usize,
) -> Result<Arc<Timed>, ProfileError> {
    let table = isa.table().map_err(CompileError::from)?;
    let mut timed = Vec::new();
    let mut variants = Vec::new();
    for program in programs {
        let Program { batch, arena_len, scratch_len, .. } = program;
        let interpreter = Interpreter::new(program, table).map_err(CompileError::from)?;
        let times = interpreter.program().steps.iter().map(|_| AtomicU64::new(u64::MAX)).collect();
        let code = Arc::new(Timed { interpreter, times });
        variants.push(Variant { batch, arena_len, scratch_len, code: Arc::clone(&code) as _ });
        timed.push(code);
    }
    let timed = timed.swap_remove(0);
    let program = timed.interpreter.program();
    let (input_len, output_len) = (program.input_len, program.output_len);
    // SAFETY: the lengths are those of the programs, which the interpreters have verified, and the
    // weights were packed as their schedule says.
    let network = unsafe { Loaded::new(info(graph, 0), variants, packed) };
    let mut session = network.session_in(pool)?;
    let (input, mut output) = (vec![0.5_f32; input_len], vec![0.0_f32; output_len]);
    for _ in 0..=runs {
        session.run_batch(&input, &mut output).expect("whole batches have the right lengths");
    }
    Ok(timed)
}

/// The interpreter, with a clock.
struct Timed {
    interpreter: Interpreter,
    /// The least nanoseconds of each step.
    times: Vec<AtomicU64>,
}

impl Timed {
    fn least(&self) -> impl Iterator<Item = Duration> {
        self.times.iter().map(|time| Duration::from_nanos(time.load(Ordering::Relaxed)))
    }
}

// SAFETY: what runs is the interpreter, step by step.
unsafe impl Code for Timed {
    unsafe fn run(&self, context: &Context<'_>) {
        for (step, time) in self.interpreter.program().steps.iter().zip(&self.times) {
            let start = Instant::now();
            // SAFETY: the caller vouches for the context; the step is the program's.
            unsafe { self.interpreter.run_step(step, context) };
            let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            time.fetch_min(elapsed, Ordering::Relaxed);
        }
    }
}
