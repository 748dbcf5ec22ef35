//! What is known of a network without computing with it: its name, a fingerprint and what it answers.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use resnet::Model;
use xxhash_rust::xxh3::Xxh3;

/// Says which network is meant, to a machine that has one or none.
///
/// As text it is one line, which [`FromStr`] reads:
/// `cifar10-resnet20 1b2c3d4e5f607182 classes=10 features=64`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Description {
    /// The network's name.
    pub name: String,
    /// A hash of the table, the labels and the weights' file: two networks that have the same answer alike, on the
    /// same kind of processor in every bit.
    pub fingerprint: u64,
    /// Classes that it tells apart; 0 if it has features alone.
    pub classes: usize,
    /// Numbers in the features of a picture; 0 if it has classes alone.
    pub features: usize,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, fingerprint, classes, features } = self;
        write!(f, "{name} {fingerprint:016x} classes={classes} features={features}")
    }
}

/// A text that is no description.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{0}` describes no network; expected is `NAME FINGERPRINT classes=N features=N`")]
pub struct UnreadableDescription(String);

impl FromStr for Description {
    type Err = UnreadableDescription;

    fn from_str(text: &str) -> Result<Self, UnreadableDescription> {
        // From the end: a name may have spaces.
        let parts = || {
            let mut parts = text.rsplitn(4, ' ');
            let features = parts.next()?.strip_prefix("features=")?.parse().ok()?;
            let classes = parts.next()?.strip_prefix("classes=")?.parse().ok()?;
            let fingerprint = u64::from_str_radix(parts.next()?, 16).ok()?;
            Some(Self { name: parts.next()?.to_owned(), fingerprint, classes, features })
        };
        parts().ok_or_else(|| UnreadableDescription(text.to_owned()))
    }
}

/// The hash of what decides a network's answers.
pub(crate) fn fingerprint(
    model: &Model,
    labels: Option<&resnet::Labels>,
    weights: &Path,
) -> io::Result<u64> {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(model.spec.source.text().as_bytes());
    for label in labels.map_or(&[][..], |labels| labels.names()) {
        part(label.as_bytes());
    }
    let mut file = File::open(weights)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.digest()),
            read => hash.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_a_line_of_text() {
        let name = "my network 2".to_owned();
        let description = Description { name, fingerprint: 0xab, classes: 10, features: 64 };
        let text = description.to_string();
        assert_eq!(text, "my network 2 00000000000000ab classes=10 features=64");
        assert_eq!(text.parse(), Ok(description));
        for wrong in
            ["", "resnet18", "resnet18 xyz classes=1 features=2", "a ab features=2 classes=1"]
        {
            assert_eq!(wrong.parse::<Description>(), Err(UnreadableDescription(wrong.to_owned())));
        }
    }
}
