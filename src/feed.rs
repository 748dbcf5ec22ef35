//! Feeds a network from many inputs on all threads, and hands out the answers in order.
//!
//! With many inputs every thread has a session of its own and decodes, preprocesses and runs one
//! input after the other, so that decoding and computing overlap and no thread waits for another
//! inside a layer. With few inputs one session divides each layer among all threads. The answers
//! are the same bits either way.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
#[cfg(feature = "image")]
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use resnet_runtime::session::{DynSession, Network};
use resnet_runtime::threads::{Pool, PoolError};

#[cfg(feature = "image")]
use resnet_runtime::picture::{self, Image, ImageError, Preprocess};

/// Where a network's inputs come from, each read when its turn comes.
pub trait Source: Sync {
    /// Why an input cannot be had.
    type Error: Send;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes an input, planar `C x H x W`, and answers with what is doubtful about it.
    ///
    /// # Errors
    ///
    /// An input that cannot be had; the others go on.
    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, Self::Error>;
}

/// What a network makes of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// Logits, probabilities or features: [`Info::answer`](crate::Info::answer) says which.
    pub answer: Vec<f32>,
    /// What is doubtful about the input.
    pub doubt: Option<String>,
}

/// Why feeding did not begin.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// No memory for the sessions.
    #[error("no memory for the network's activations: {0}")]
    Memory(io::Error),
    /// The operating system starts no thread more.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// The threads that divide the layers did not start.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// Runs every input of `source` on `threads` threads and gives each answer, or why there is none, to
/// `each`, in the order of the inputs.
///
/// # Errors
///
/// No memory, no threads, and the first error of `each`, which ends it all.
pub fn feed<S: Source + ?Sized, E: From<FeedError>>(
    network: &dyn Network,
    source: &S,
    threads: NonZeroUsize,
    mut each: impl FnMut(usize, Result<Fed, S::Error>) -> Result<(), E>,
) -> Result<(), E> {
    let sessions = sessions(network, source.len(), threads)?;
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(4 * sessions.len());
        for mut session in sessions {
            let (sender, next) = (sender.clone(), &next);
            let mut input = vec![0.0; network.info().input_len()];
            thread::Builder::new()
                .spawn_scoped(scope, move || {
                    work(&mut *session, source, next, &mut input, &sender);
                })
                .map_err(FeedError::Threads)?;
        }
        // The workers' clones alone keep the channel open.
        drop(sender);
        let mut early = BTreeMap::new();
        let mut turn = 0;
        for (index, answer) in receiver {
            early.insert(index, answer);
            while let Some(answer) = early.remove(&turn) {
                each(turn, answer)?;
                turn += 1;
            }
        }
        Ok(())
    })
}

/// One session a thread if there is enough to do for all of them, else one for all threads.
fn sessions(
    network: &dyn Network,
    inputs: usize,
    threads: NonZeroUsize,
) -> Result<Vec<Box<dyn DynSession>>, FeedError> {
    if inputs / 2 >= threads.get() {
        let sessions = (0..threads.get()).map(|_| network.session_in(None));
        return sessions.collect::<io::Result<_>>().map_err(FeedError::Memory);
    }
    let pool = if threads.get() > 1 { Some(Pool::new(threads)?) } else { None };
    Ok(vec![network.session_in(pool.as_ref()).map_err(FeedError::Memory)?])
}

fn work<S: Source + ?Sized>(
    session: &mut dyn DynSession,
    source: &S,
    next: &AtomicUsize,
    input: &mut [f32],
    sender: &SyncSender<(usize, Result<Fed, S::Error>)>,
) {
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= source.len() {
            return;
        }
        let fed = source.load(index, input).map(|doubt| {
            let answer = session.run(input).expect("the input has the network's length");
            Fed { answer: answer.to_vec(), doubt }
        });
        // The receiver is gone if `each` failed: there is nobody to work for.
        if sender.send((index, fed)).is_err() {
            return;
        }
    }
}

/// A picture that is not decoded yet.
#[cfg(feature = "image")]
#[derive(Clone, Debug)]
pub enum ImageFile {
    /// A file.
    Path(PathBuf),
    /// The content of one, and what messages call it.
    Bytes {
        /// The name.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
}

/// Pictures that are decoded and preprocessed as they are fed.
#[cfg(feature = "image")]
#[derive(Clone, Debug)]
pub struct Images {
    files: Vec<ImageFile>,
    preprocess: Preprocess,
    shape: [usize; 3],
    allow_damaged: bool,
}

#[cfg(feature = "image")]
impl Images {
    /// Pictures for a network whose input is `shape`: channels, height and width.
    ///
    /// # Errors
    ///
    /// If no picture can ever be what the network takes.
    pub fn new(
        files: Vec<ImageFile>,
        preprocess: Preprocess,
        shape: [usize; 3],
    ) -> Result<Self, ImageError> {
        preprocess.check(shape)?;
        Ok(Self { files, preprocess, shape, allow_damaged: false })
    }

    /// Takes what is left of damaged JPEG files, and says so beside the answer; else they are errors.
    #[must_use]
    pub fn allow_damaged(mut self, allow: bool) -> Self {
        self.allow_damaged = allow;
        self
    }

    /// What messages call a picture.
    pub fn name(&self, index: usize) -> String {
        match &self.files[index] {
            ImageFile::Path(path) => path.display().to_string(),
            ImageFile::Bytes { name, .. } => name.clone(),
        }
    }
}

#[cfg(feature = "image")]
impl Source for Images {
    type Error = ImageError;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, ImageError> {
        let read;
        let bytes = match &self.files[index] {
            ImageFile::Bytes { bytes, .. } => bytes,
            ImageFile::Path(path) => {
                read = picture::read(path)?;
                &read
            }
        };
        let decoded = match self.allow_damaged {
            true => Image::salvage(bytes),
            false => Image::decode(bytes).map(|picture| (picture, None)),
        };
        let path = || self.name(index);
        let (picture, damage) =
            decoded.map_err(|reason| ImageError::Decode { path: path(), reason })?;
        self.preprocess
            .apply_into(&picture, self.shape, input)
            .map_err(|error| ImageError::Unusable { path: path(), reason: error.to_string() })?;
        Ok(damage.map(|damage| format!("`{}`: {damage}", path())))
    }
}

#[cfg(all(test, feature = "interpret"))]
mod tests {
    use super::*;
    use crate::{Backend, Compiler, Spec, Weights};

    /// Inputs that are their own index, but every fifth of which cannot be had.
    struct Numbers(usize);

    impl Source for Numbers {
        type Error = usize;

        fn len(&self) -> usize {
            self.0
        }

        fn load(&self, index: usize, input: &mut [f32]) -> Result<Option<String>, usize> {
            input.fill(index as f32);
            if index % 5 == 4 { Err(index) } else { Ok((index == 1).then(|| "odd".to_owned())) }
        }
    }

    fn network() -> Box<dyn Network> {
        let table = "{name: n, input: 3x4x4, table: [{layer: s, op: global_average_pool}]}";
        let spec = Spec::from_yaml(table).unwrap();
        let compiled = Compiler::new(&spec).backend(Backend::Interpret).compile().unwrap();
        compiled.load(&Weights::random(compiled.tensors(), 0)).unwrap()
    }

    #[test]
    fn answers_come_in_order_on_any_number_of_threads() {
        let network = network();
        for (threads, inputs) in [(1, 0), (1, 7), (3, 2), (3, 23)] {
            let mut turn = 0;
            let threads = NonZeroUsize::new(threads).unwrap();
            feed(&*network, &Numbers(inputs), threads, |index, fed| {
                assert_eq!(index, turn);
                turn += 1;
                match fed {
                    Err(error) => assert_eq!((error, index % 5), (index, 4)),
                    Ok(Fed { answer, doubt }) => {
                        assert_eq!(answer, [index as f32; 3]);
                        assert_eq!(doubt.is_some(), index == 1);
                    }
                }
                Ok::<_, FeedError>(())
            })
            .unwrap();
            assert_eq!(turn, inputs);
        }
    }

    #[test]
    fn an_error_of_the_caller_ends_it() {
        let threads = NonZeroUsize::new(2).unwrap();
        let end = feed(&*network(), &Numbers(1000), threads, |index, _| match index {
            3 => Err(Box::<dyn std::error::Error>::from("enough")),
            _ => Ok(()),
        });
        assert_eq!(end.unwrap_err().to_string(), "enough");
    }
}
