//! Where the time of a run goes, layer by layer, beside the work that is done in it.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resnet_runtime::context::Context;
use resnet_runtime::kernels::{Element, Isa};
use resnet_runtime::session::{Code, Loaded, Network};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::{LoadError, Packed, Weights, all_threads, load};

use crate::emit::interpret::Interpreter;
use crate::fuse::FusedId;
use crate::graph::{Graph, NodeId};
use crate::nest::Part;
use crate::network::CompileError;
use crate::plan::{Levels, Plan, variant};
use crate::schedule::{Algorithm, Wishes};
use crate::target::Target;

use self::work::Worked;

/// What a layer has to do for the whole batch, whatever computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What computes a convolution's sums.
    pub algorithm: Option<Algorithm>,
    /// What its weights are packed as, and so what they are sums of products of; `F32` of what has none.
    pub element: Element,
    /// Multiply-adds, as they are defined.
    pub macs: u64,
    /// Bytes of its weights as they are packed.
    pub weights: u64,
    /// Bytes of activations: what it reads of its inputs, and its output, each once.
    pub activations: u64,
}

/// One layer: an operator that writes an activation, with all that was fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Which one it is; none is the copy of the answer to where the caller wants it.
    pub id: Option<FusedId>,
    /// The node of the graph whose operator it computes.
    pub node: Option<NodeId>,
    /// Its name.
    pub name: String,
    /// What computes a convolution's sums.
    pub algorithm: Option<Algorithm>,
    /// What its weights are packed as, and so what they are sums of products of; `F32` of what has none.
    pub element: Element,
    /// Its multiply-adds for the whole batch, as they are defined.
    pub macs: u64,
    /// The bytes that have to be moved at least, each once: weights and activations of its [`Work`].
    pub bytes: u64,
    /// What it does, one after the other.
    pub steps: Vec<Step>,
}

/// One step of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does of the layer.
    pub part: Part,
    /// Its name: the layer's, or that with a part.
    pub name: String,
    /// What its function does: operator, shapes, algorithm.
    pub doc: String,
    /// The multiply-adds that the convolution kernels really do in it for the whole batch: those of
    /// channels that fill up a block counted, and of Winograd's the products alone, not the
    /// transforms.
    pub macs_done: u64,
    /// The shortest time of all runs.
    pub time: Duration,
}

impl Layer {
    /// The time of all its steps.
    pub fn time(&self) -> Duration {
        self.steps.iter().map(|step| step.time).sum()
    }

    /// The time of those steps that do its multiply-adds. A Winograd convolution's transforms are in
    /// it, except that of the input where it is a step of its own.
    pub fn multiplying_time(&self) -> Duration {
        self.multiplying().map(|step| step.time).sum()
    }

    /// The multiply-adds that are really done; see [`Step::macs_done`].
    pub fn macs_done(&self) -> u64 {
        self.steps.iter().map(|step| step.macs_done).sum()
    }

    /// What its main step does, the first one if there are several.
    pub fn doc(&self) -> &str {
        let main = self.steps.iter().find(|step| step.part == Part::Main);
        main.or(self.steps.first()).map_or("", |step| &step.doc)
    }

    fn multiplying(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.macs_done > 0)
    }
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

/// Runs a network at least `fewest` times and for about `duration`, one picture at a time or as many
/// together as are wished, on the threads of a pool or on the one that calls, and times every step. Where
/// each thread computes pictures of its own, a step's time is a thread's for its share of the batch.
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
    fewest: usize,
    duration: Duration,
) -> Result<Vec<Layer>, ProfileError> {
    let (plan, Levels { fused, schedules }) =
        Plan::with_levels(graph, wishes).map_err(CompileError::from)?;
    let packed = load(&plan.weights, weights, all_threads())?;
    let target = Target::host(Some(isa)).map_err(CompileError::from)?;
    let runs = Runs::of(&plan, wishes.batch, pool.map_or(1, Pool::threads));
    let timed = time_steps(&plan, &target, packed, pool, &runs, fewest, duration)?;
    let program = timed.interpreter.program();
    let worked = Worked { fused: &fused, schedule: &schedules[0], program };
    Ok(worked.layers(timed.least().map(|time| time.mul_f64(runs.share))))
}

/// What is run to be timed.
struct Runs {
    /// Which of the plan's programs.
    program: usize,
    /// Pictures at a time.
    pictures: usize,
    /// The time of a batch in the place of a step's.
    share: f64,
}

impl Runs {
    /// What a session does with a batch.
    fn of(plan: &Plan, batch: usize, threads: usize) -> Self {
        if plan.apart && batch >= threads {
            // None are left over, for all threads together, whose steps would be the shortest.
            let share = batch as f64 / threads as f64;
            Self { program: plan.programs.len() - 1, pictures: threads, share }
        } else {
            Self { program: 0, pictures: batch, share: 1.0 }
        }
    }
}

/// Runs a program in a session like any other, but for the clock.
fn time_steps(
    plan: &Plan,
    target: &Target,
    packed: Packed,
    pool: Option<&Pool>,
    runs: &Runs,
    fewest: usize,
    duration: Duration,
) -> Result<Arc<Timed>, ProfileError> {
    let mut timed = Vec::new();
    let mut variants = Vec::new();
    for program in &plan.programs {
        let interpreter = Interpreter::new(program.clone(), target.kernels());
        let interpreter = interpreter.map_err(CompileError::from)?;
        let times = program.steps.iter().map(|_| AtomicU64::new(u64::MAX)).collect();
        let code = Arc::new(Timed { interpreter, times });
        variants.push(variant(program, Arc::clone(&code) as _));
        timed.push(code);
    }
    let timed = timed.swap_remove(runs.program);
    let [input_len, output_len] =
        [plan.info.input_len(), plan.info.outputs].map(|len| len * runs.pictures);
    // SAFETY: the lengths are those of the programs, which the interpreters have verified, and the
    // weights were packed as their plan says.
    let network = unsafe { Loaded::new(plan.info.clone(), variants, plan.apart, packed) };
    let mut session = network.session_in(pool)?;
    let (input, mut output) = (vec![0.5_f32; input_len], vec![0.0_f32; output_len]);
    let (start, mut count) = (Instant::now(), 0);
    while count < fewest || start.elapsed() < duration {
        session.run_batch(&input, &mut output).expect("whole batches have the right lengths");
        count += 1;
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
            // SAFETY: the context's places have the lengths that the program states, as `Code::run` asks for;
            // the step is the program's.
            unsafe { self.interpreter.run_step(step, context) };
            let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            time.fetch_min(elapsed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::spec::Spec;

    const TABLE: &str = "
name: small
input: 3x16x16
table:
  - {layer: stem, op: conv, kernel: 3, channels: 32}
  - {layer: body, op: conv, kernel: 3, channels: 48}
  - {layer: down, op: conv, kernel: 1, stride: 2, channels: 16}
  - {layer: mean, op: global_average_pool}
  - {layer: fc, op: linear, channels: 10}
";

    fn layers(batch: usize, exact: bool, threads: usize) -> Vec<Layer> {
        let graph = Graph::build(&Spec::from_yaml(TABLE).unwrap()).unwrap();
        let weights = Weights::random(&graph.tensors, 0);
        let wishes = Wishes { batch, exact, ..Wishes::default() };
        let pool = Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        let pool = (threads > 1).then_some(&pool);
        profile(&graph, Isa::detect(), &wishes, &weights, pool, 1, Duration::ZERO).unwrap()
    }

    #[test]
    fn steps_stand_under_their_layers() {
        for (threads, exact) in [(1, false), (1, true), (2, false)] {
            let layers = layers(1, exact, threads);
            let names: Vec<&str> = layers.iter().map(|layer| &*layer.name).collect();
            assert_eq!(names, ["input", "stem", "body", "down", "mean", "fc", "output"]);
            for layer in &layers {
                assert!(!layer.steps.is_empty() && layer.time() < Duration::from_secs(60));
                assert!(layer.steps.iter().all(|step| step.name.starts_with(&layer.name)));
                assert_eq!(layer.macs > 0, layer.algorithm.is_some(), "{}", layer.name);
                assert_eq!(layer.macs_done() > 0, layer.macs > 0, "{}", layer.name);
                assert!(layer.multiplying_time() <= layer.time());
            }
        }
    }

    /// Whatever a layer's steps are called.
    #[test]
    fn a_layer_has_all_its_steps_under_its_id() {
        let table = "
name: gated
input: 16x8x8
table:
  - {layer: stage, op: basic, channels: 24, stride: 2, shortcut: zero_pad, eca: 3}
  - {layer: stage.0, op: conv, kernel: 3, channels: 16}
";
        let graph = Graph::build(&Spec::from_yaml(table).unwrap()).unwrap();
        let weights = Weights::random(&graph.tensors, 0);
        let wishes = Wishes::default();
        let layers =
            profile(&graph, Isa::detect(), &wishes, &weights, None, 1, Duration::ZERO).unwrap();
        let mut ids: Vec<_> = layers.iter().map(|layer| layer.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), layers.len(), "{layers:?}");
        let steps = |part| {
            let of = layers.iter().filter(|layer| layer.steps.iter().any(|s| s.part == part));
            of.map(|layer| &*layer.name).collect::<Vec<_>>()
        };
        assert_eq!(steps(Part::ZeroPad).len(), 1);
        assert_eq!(steps(Part::Answer), ["output"]);
        assert!(steps(Part::Ring).iter().all(|ring| steps(Part::Main).contains(ring)));
    }

    #[test]
    fn work_is_counted() {
        let direct = layers(2, true, 1);
        let [_, stem, body, down, mean, fc, _] = &direct[..] else { panic!("{direct:?}") };
        assert_eq!(stem.macs, 2 * 256 * 27 * 32);
        assert_eq!((body.macs, body.macs_done()), (2 * 256 * 288 * 48, 2 * 256 * 288 * 48));
        assert_eq!(body.bytes, 4 * (9 * 32 * 48 + 48 + 2 * 256 * (32 + 48)));
        // Of every second pixel of every second row it needs no other.
        assert_eq!(down.bytes, 4 * (48 * 16 + 16 + 2 * 64 * (48 + 16)));
        assert_eq!((mean.macs, mean.bytes), (0, 4 * 2 * (64 * 16 + 16)));
        // Sixteen channels are computed for ten.
        assert_eq!((fc.macs, fc.macs_done()), (2 * 16 * 10, 2 * 16 * 16));
        let winograd = layers(2, false, 1);
        for (direct, layer) in direct.iter().zip(&winograd) {
            match layer.algorithm {
                // 36 multiplications instead of 144 for sixteen pixels, 16 instead of 36 for four.
                Some(Algorithm::Winograd4) => assert_eq!(layer.macs_done() * 4, direct.macs),
                Some(Algorithm::Winograd2) => assert_eq!(layer.macs_done() * 9, direct.macs * 4),
                _ => assert_eq!(layer.macs_done(), direct.macs_done()),
            }
        }
        assert!(winograd.iter().any(|layer| matches!(
            layer.algorithm,
            Some(Algorithm::Winograd2 | Algorithm::Winograd4)
        )));
    }
}
