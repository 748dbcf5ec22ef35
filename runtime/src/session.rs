//! Loaded networks and the sessions that run them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::context::Context;
use crate::kernels::FlushDenormals;
use crate::memory::Workspace;
use crate::threads::Pool;
use crate::weights::{Name, Packed};

mod apart;

/// What the numbers of an answer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "output")]
pub enum Answer {
    /// A number for each class; softmax makes probabilities of them.
    Logits,
    /// A probability for each class: the network itself ends in softmax.
    Probabilities,
    /// Activations, of one layer or several.
    Features,
}

/// Facts about a compiled network.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// The network's name.
    pub name: Name,
    /// Channels, height and width of a picture.
    pub input: [usize; 3],
    /// Numbers in an answer: the classes, or for a network without a classifier the elements of
    /// its last activation in channel, row, column order.
    pub outputs: usize,
    /// What these numbers are.
    pub answer: Answer,
    /// What an answer consists of, if the table names features.
    pub features: Cow<'static, [Feature]>,
    /// Weighted layers, projections not counted.
    pub depth: usize,
    /// Parameters.
    pub params: u64,
    /// Multiply-adds for one picture.
    pub macs: u64,
    /// Bytes of memory for activations that a session on one thread has: the arena and a scratch, for as
    /// many pictures at a time as the network was compiled for. Each further thread has a scratch more or,
    /// where it is given pictures of its own, an arena and a scratch for one.
    pub arena_bytes: usize,
}

/// A part of an answer: what a row of the table makes, in channel, row, column order.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The row's name.
    pub name: Name,
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Where it begins in the answer.
    pub offset: usize,
}

impl Feature {
    /// Its numbers in an answer.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// A feature has at least one number.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// This part of an answer.
    ///
    /// # Panics
    ///
    /// If the answer is another network's, and shorter.
    pub fn of<'a>(&self, answer: &'a [f32]) -> &'a [f32] {
        &answer[self.offset..][..self.len()]
    }

    /// Features one after the other, of these names and shapes.
    pub fn in_a_row<'a>(parts: impl IntoIterator<Item = (&'a str, [usize; 3])>) -> Vec<Self> {
        let mut next = 0;
        let feature = |(name, shape): (&str, [usize; 3])| {
            let offset = next;
            next += shape.iter().product::<usize>();
            Self { name: name.to_owned().into(), shape, offset }
        };
        parts.into_iter().map(feature).collect()
    }
}

impl Info {
    /// Elements of one picture.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }
}

/// A session was given a slice of the wrong length.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The input is not a whole number of pictures (or not the one picture that was asked for).
    #[error(
        "the input has {found} numbers; `{name}` takes {expected} for a picture ({}x{}x{})",
        shape[0], shape[1], shape[2]
    )]
    Input {
        /// The network's name.
        name: String,
        /// Numbers given.
        found: usize,
        /// Numbers in a picture.
        expected: usize,
        /// The picture's channels, height and width.
        shape: [usize; 3],
    },
    /// The room for the answers has the wrong size.
    #[error("there is room for {found} numbers of output; {pictures} pictures need {expected}")]
    Output {
        /// Room given.
        found: usize,
        /// Room needed.
        expected: usize,
        /// Pictures in the input.
        pictures: usize,
    },
}

/// A network with its weights, ready to run; shared between threads.
///
/// The JIT's networks, the interpreter's, the reference's and those that `resnet!` makes all
/// implement it, so servers and benchmarks take any of them.
pub trait Network: Send + Sync {
    /// Name, shapes and counts.
    fn info(&self) -> &Info;

    /// A session: the memory that one run at a time needs. It runs on the thread that calls it,
    /// or with a pool divides each layer among the pool's threads.
    ///
    /// # Errors
    ///
    /// If the operating system does not give the memory.
    fn session_in(&self, pool: Option<&Pool>) -> std::io::Result<Box<dyn DynSession>>;

    /// A session that runs on the thread that calls it.
    ///
    /// # Panics
    ///
    /// If the operating system does not give the memory, as a `Vec` would;
    /// [`session_in`](Network::session_in) returns that as an error.
    fn session(&self) -> Box<dyn DynSession> {
        self.session_in(None).expect("out of memory for a session")
    }
}

/// What runs a network: one per thread of the caller's. The sessions of a network that `resnet!` compiled
/// are a type of their own, whose lengths are known, and this too.
pub trait DynSession: Send {
    /// The network's answer to one picture (planar: channel, row, column order).
    ///
    /// # Errors
    ///
    /// If `picture` has not the network's size.
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError>;

    /// The answers to any number of pictures, one after the other in `pictures` and `outputs`.
    ///
    /// As many as the threads can share evenly are each computed by one thread, where that is as fast as to
    /// compute several together; the threads divide the layers of the others. No bit of an answer
    /// depends on it.
    ///
    /// # Errors
    ///
    /// If `pictures` is not a whole number of pictures or `outputs` has not the room for their
    /// answers.
    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError>;
}

/// Compiled code for a fixed number of pictures at a time.
///
/// # Safety
///
/// `run` reads `input` and `weights`, reads and writes `arena` and each thread's scratch, and writes
/// `output` (that of a training step the weights too), all within the sizes that the [`Variant`] made for this code states.
pub unsafe trait Code: Send + Sync {
    /// Runs the network once.
    ///
    /// # Safety
    ///
    /// The context's pointers point at memory of the sizes stated in the code's [`Variant`], with a
    /// scratch for each of its threads; no one else uses arena, scratch or output during the run.
    unsafe fn run(&self, context: &Context<'_>);
}

/// Code for one batch size.
#[derive(Clone)]
pub struct Variant {
    /// Pictures a run.
    pub batch: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of one thread's scratch.
    pub scratch_bytes: usize,
    /// The code.
    pub code: Arc<dyn Code>,
}

/// Compiled code joined with packed weights.
#[derive(Clone)]
pub struct Loaded(Arc<Shared>);

struct Shared {
    info: Info,
    /// Largest batch first; the last one is for single pictures.
    variants: Vec<Variant>,
    /// Whether single pictures take a thread no longer than they do in a batch.
    apart: bool,
    weights: Packed,
}

impl Shared {
    /// The code for single pictures.
    fn single(&self) -> &Variant {
        self.variants.last().expect("checked in Loaded::new")
    }
}

impl Loaded {
    /// Joins code and weights. `variants` are for falling batch sizes and end with 1. `apart` says that
    /// pictures which are computed one by one take a thread no longer than several together.
    ///
    /// # Panics
    ///
    /// If there is no variant for single pictures.
    ///
    /// # Safety
    ///
    /// `weights` was packed for this code, and each variant's lengths are what its code needs.
    pub unsafe fn new(info: Info, variants: Vec<Variant>, apart: bool, weights: Packed) -> Self {
        assert_eq!(variants.last().map(|v| v.batch), Some(1), "single pictures must be possible");
        Self(Arc::new(Shared { info, variants, apart, weights }))
    }

    /// A session, as [`Network::session_in`] gives it, by its own type.
    pub(crate) fn code_session(&self, pool: Option<&Pool>) -> std::io::Result<CodeSession> {
        let most = |of: fn(&Variant) -> usize| self.0.variants.iter().map(of).max().unwrap_or(0);
        let together = [most(|v| v.arena_bytes), most(|v| v.scratch_bytes)];
        let single = self.0.single();
        let apart = [single.arena_bytes, single.scratch_bytes]
            .map(|bytes| if self.0.apart { bytes } else { 0 });
        let threads = pool.map_or(1, Pool::threads);
        Ok(CodeSession {
            network: Arc::clone(&self.0),
            pool: pool.cloned(),
            workspace: Workspace::with_apart(together, apart, threads)?,
            output: vec![0.0; self.0.info.outputs],
        })
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.0.info).finish()
    }
}

impl Network for Loaded {
    fn info(&self) -> &Info {
        &self.0.info
    }

    fn session_in(&self, pool: Option<&Pool>) -> std::io::Result<Box<dyn DynSession>> {
        Ok(Box::new(self.code_session(pool)?))
    }
}

/// A session of a [`Loaded`] network.
pub(crate) struct CodeSession {
    network: Arc<Shared>,
    pool: Option<Pool>,
    workspace: Workspace,
    output: Vec<f32>,
}

impl DynSession for CodeSession {
    fn run(&mut self, picture: &[f32]) -> Result<&[f32], RunError> {
        let info = &self.network.info;
        check_lengths(info, picture, 1, info.outputs)?;
        run(
            self.network.single(),
            &self.network.weights,
            &mut self.workspace,
            &self.pool,
            picture,
            &mut self.output,
        );
        Ok(&self.output)
    }

    fn run_batch(&mut self, pictures: &[f32], outputs: &mut [f32]) -> Result<(), RunError> {
        let info = &self.network.info;
        let mut left = pictures.len() / info.input_len();
        check_lengths(info, pictures, left, outputs.len())?;
        let threads = self.pool.as_ref().map_or(1, Pool::threads);
        let even = if self.network.apart { left - left % threads } else { 0 };
        let (own, mut pictures) = pictures.split_at(even * info.input_len());
        let (answers, mut outputs) = outputs.split_at_mut(even * info.outputs);
        if even > 0 {
            apart::run(&self.network, &mut self.workspace, &self.pool, own, answers);
        }
        left -= even;
        for variant in &self.network.variants {
            while left >= variant.batch {
                let (input, rest) = pictures.split_at(variant.batch * info.input_len());
                let (output, room) = outputs.split_at_mut(variant.batch * info.outputs);
                run(variant, &self.network.weights, &mut self.workspace, &self.pool, input, output);
                (pictures, outputs) = (rest, room);
                left -= variant.batch;
            }
        }
        Ok(())
    }
}

/// Refuses an input that is not `pictures` whole pictures, or an output that does not fit it.
pub fn check_lengths(
    info: &Info,
    input: &[f32],
    pictures: usize,
    outputs: usize,
) -> Result<(), RunError> {
    if input.len() != pictures * info.input_len() {
        return Err(RunError::Input {
            name: info.name.to_string(),
            found: input.len(),
            expected: info.input_len(),
            shape: info.input,
        });
    }
    if outputs != pictures * info.outputs {
        return Err(RunError::Output {
            found: outputs,
            expected: pictures * info.outputs,
            pictures,
        });
    }
    Ok(())
}

fn run(
    variant: &Variant,
    weights: &Packed,
    workspace: &mut Workspace,
    pool: &Option<Pool>,
    input: &[f32],
    output: &mut [f32],
) {
    let lease = pool.as_ref().and_then(Pool::lease);
    let context = Context::new(input, output, workspace, weights.as_bytes(), lease.as_ref());
    let _flush = FlushDenormals::new();
    // SAFETY: `CodeSession` allocated the arena for the largest variant, and as many scratches as
    // the pool has threads; `check_lengths` and the splits in `run_batch` made input and output as
    // long as the variant's batch, and `Loaded::new` demands weights that fit the code.
    unsafe { variant.code.run(&context) }
}
