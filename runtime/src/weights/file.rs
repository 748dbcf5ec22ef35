//! Files of packed weights: folded, transformed and laid out as a run reads them, so that loading
//! one is mapping it into memory.
//!
//! A file is for one table and one way to pack it; the same on every machine and instruction set.
//! All numbers are little-endian.
//!
//! | at | bytes | what |
//! | ---: | ---: | --- |
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`VERSION`] of the format |
//! | 12 | 4 | length of the text |
//! | 16 | 8 | where the elements start: a multiple of 4096 |
//! | 24 | 8 | length of the elements in bytes; they end the file |
//! | 32 | 8 | checksum of the elements: XXH3-64 of the XXH3-64 of each MiB |
//! | 40 | 8 | checksum of the 40 bytes before and the text |
//! | 48 | | the text |
//!
//! The text has one line of JSON about the file, [`About`], and then one for each [`Recipe`]. The file
//! keeps the compiler's choices, which decide how weights are packed, so that
//! it can be given them back. A reader compares the recipes as text with those that it needs, so that
//! whatever decided is compared, and a difference can be told in words.

mod error;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::thread;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub use error::{Difference, PackedError};

use super::recipe::{Recipe, WeightsPlan};

/// How a file of packed weights begins. The bytes that are no text, and the two kinds of line end,
/// show what a transfer as text has done to it.
pub const MAGIC: [u8; 8] = *b"\x89RNW\r\n\x1a\n";

/// The version of the format; another one is not read.
pub const VERSION: u32 = 5;

/// The elements start at a multiple of this, which is the size of a page or divides it by a power
/// of two.
const PAGE: usize = 4096;

/// Bytes before the text.
const FIXED: usize = 48;

/// Bytes that have a checksum of their own, so that threads can share the work.
const CHUNK: usize = 1 << 20;

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The program that wrote it.
    pub made_by: String,
    /// The network's name.
    pub network: String,
    /// The fingerprint of its table, in hexadecimal digits.
    pub table: String,
    /// The options that it was packed with, in the command's words.
    pub options: String,
    /// The algorithms that it was packed for, as the compiler writes and reads them.
    pub schedule: String,
    /// The weights that are quantised.
    pub quantised: Vec<String>,
}

/// The fingerprint of a text.
pub fn fingerprint(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Writes `packed`, the weights of `plan`, as a file. `options` says how they were packed, in
/// words that a user can repeat; `schedule` says it to the compiler. Returns the bytes of the file.
///
/// # Errors
///
/// What `out` says.
pub fn write(
    out: &mut dyn Write,
    plan: &WeightsPlan,
    packed: &[u8],
    options: &str,
    schedule: &str,
) -> io::Result<u64> {
    let about = About {
        made_by: concat!("resnet ", env!("CARGO_PKG_VERSION")).to_owned(),
        network: plan.network.to_string(),
        table: table(plan),
        options: options.to_owned(),
        schedule: schedule.to_owned(),
        quantised: plan.quantised().map(str::to_owned).collect(),
    };
    let mut text = serde_json::to_string(&about)?;
    for recipe in &*plan.recipes {
        text += "\n";
        text += &recipe_text(recipe);
    }
    let mut elements = Cow::Borrowed(packed);
    if cfg!(target_endian = "big") {
        to_little_endian(plan, elements.to_mut());
    }
    let start = (FIXED + text.len()).next_multiple_of(PAGE);
    let text_len = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(start);
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend(text_len.to_le_bytes());
    head.extend((start as u64).to_le_bytes());
    head.extend((elements.len() as u64).to_le_bytes());
    head.extend(checksum(&elements, NonZeroUsize::MIN).to_le_bytes());
    head.extend(head_checksum(&head, text.as_bytes()).to_le_bytes());
    head.extend(text.as_bytes());
    head.resize(start, 0);
    out.write_all(&head)?;
    out.write_all(&elements)?;
    Ok((head.len() + elements.len()) as u64)
}

/// Turns packed weights from this machine's order of bytes into a file's, or back.
pub(super) fn to_little_endian(plan: &WeightsPlan, packed: &mut [u8]) {
    if cfg!(target_endian = "little") {
        return;
    }
    for recipe in &*plan.recipes {
        let mut start = recipe.offset;
        for (element, len) in recipe.content.runs() {
            let end = start + len * element.bytes();
            packed[start..end].chunks_exact_mut(element.bytes()).for_each(<[u8]>::reverse);
            start = end;
        }
    }
}

/// The bytes of a file of packed weights.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// In memory, anywhere.
    Memory(Cow<'static, [u8]>),
    /// A whole file, mapped.
    Mapped(Mmap),
}

/// A file of packed weights whose head is right. Whether it fits a network, and whether the
/// elements are what was written, is found out when a network asks for them.
#[derive(Debug)]
pub struct PackedFile {
    bytes: Bytes,
    about: About,
    /// One line a recipe.
    recipes: String,
    start: usize,
    checksum: u64,
}

impl PackedFile {
    /// Whether a file is, or was meant to be, one of packed weights.
    pub(crate) fn recognises(bytes: &[u8]) -> bool {
        // Even where the line ends were changed on the way.
        bytes.starts_with(&MAGIC[..4])
    }

    /// Reads the head.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, PackedError> {
        let all = bytes.as_slice();
        let short = |expected: usize| PackedError::Length {
            found: all.len() as u64,
            expected: expected as u64,
        };
        let fixed: &[u8; FIXED] = all.first_chunk().ok_or_else(|| short(FIXED))?;
        if !fixed.starts_with(&MAGIC) {
            return Err(PackedError::Text);
        }
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
        let u64_at =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| fixed[at + i]));
        match u32_at(8) {
            VERSION => {}
            other if other.swap_bytes() == VERSION => return Err(PackedError::ByteOrder),
            found => return Err(PackedError::Version { found, read: VERSION }),
        }
        let text_len = u32_at(12) as usize;
        let text_end = FIXED.saturating_add(text_len);
        let text = all.get(FIXED..text_end).ok_or_else(|| short(text_end))?;
        if u64_at(40) != head_checksum(&fixed[..40], text) {
            return Err(PackedError::Head);
        }
        // From here on the head is as somebody wrote it, but that need not have been `write`.
        let (start, len) = (u64_at(16), u64_at(24));
        let end = start.checked_add(len).ok_or(PackedError::Head)?;
        if end != all.len() as u64 {
            return Err(PackedError::Length { found: all.len() as u64, expected: end });
        }
        // Both fit, since their sum is the length of something in memory.
        let start = start as usize;
        if start < text_end || !start.is_multiple_of(PAGE) || len % 4 != 0 {
            return Err(PackedError::Head);
        }
        let text = str::from_utf8(text).map_err(|_| PackedError::Head)?;
        let (about, recipes) = text.split_once('\n').unwrap_or((text, ""));
        let about: About =
            serde_json::from_str(about).map_err(|error| PackedError::About(error.to_string()))?;
        let (recipes, checksum) = (recipes.to_owned(), u64_at(32));
        Ok(Self { bytes, about, recipes, start, checksum })
    }

    /// What the file says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The elements as they stand in the file: little-endian.
    pub(crate) fn elements(&self) -> &[u8] {
        &self.bytes.as_slice()[self.start..]
    }

    /// Whether the elements start at a multiple of a page.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(_))
    }

    /// Checks that the file was packed for this network, in the way that it reads weights, and that
    /// the elements are those that were written.
    pub(crate) fn check(
        &self,
        plan: &WeightsPlan,
        threads: NonZeroUsize,
    ) -> Result<(), PackedError> {
        let same_table = self.about.table == table(plan);
        let difference = self.difference(plan);
        if !same_table || difference.is_some() {
            let About { network, options, .. } = self.about.clone();
            return Err(match same_table {
                true => PackedError::Options { options, difference },
                false => PackedError::Table { network, difference },
            });
        }
        if checksum(self.elements(), threads) != self.checksum {
            return Err(PackedError::Checksum);
        }
        Ok(())
    }

    /// The first difference between how the weights are packed and how they should be.
    fn difference(&self, plan: &WeightsPlan) -> Option<Difference> {
        let mut lines = self.recipes.lines();
        for recipe in &*plan.recipes {
            let Some(line) = lines.next() else {
                return Some(Difference::Missing(recipe.content.weight().to_owned()));
            };
            let expected = recipe_text(recipe);
            if line != expected {
                return Some(Difference::between(line, &expected));
            }
        }
        if let Some(line) = lines.next() {
            return Some(Difference::surplus(line));
        }
        let (found, expected) = (self.elements().len(), plan.bytes);
        (found != expected).then_some(Difference::Length { found, expected })
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

fn table(plan: &WeightsPlan) -> String {
    format!("{:016x}", plan.table)
}

fn recipe_text(recipe: &Recipe) -> String {
    serde_json::to_string(recipe).expect("a recipe has nothing that JSON has not")
}

fn head_checksum(fixed: &[u8], text: &[u8]) -> u64 {
    xxh3_64(&[fixed, text].concat())
}

/// The checksum of the elements, on up to `threads` threads.
fn checksum(elements: &[u8], threads: NonZeroUsize) -> u64 {
    let chunks = elements.len().div_ceil(CHUNK);
    let part = chunks.div_ceil(threads.get()).max(1);
    let sum = |part: &[u8]| -> Vec<u8> {
        part.chunks(CHUNK).flat_map(|chunk| xxh3_64(chunk).to_le_bytes()).collect()
    };
    let sums = thread::scope(|scope| {
        let mut parts = elements.chunks(part * CHUNK);
        let own = parts.next().unwrap_or(&[]);
        let others: Vec<_> = parts
            .map(|part| (part, thread::Builder::new().spawn_scoped(scope, move || sum(part)).ok()))
            .collect();
        let mut sums = sum(own);
        for (part, thread) in others {
            // Where the operating system refuses a thread, this one does its work.
            let joined = thread.map(|thread| thread.join());
            sums.extend(match joined {
                Some(Ok(sum)) => sum,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => sum(part),
            });
        }
        sums
    });
    xxh3_64(&sums)
}
