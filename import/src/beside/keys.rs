//! JSON objects whose keys are taken one by one, so that those that nobody knows are left.

use serde_json::{Map, Value};

use crate::error::{Fault, unknown};

/// An object of a configuration.
#[derive(Debug)]
pub(super) struct Keys {
    /// Where it stands, for messages: "`config.json`".
    origin: String,
    map: Map<String, Value>,
}

impl Keys {
    pub(super) fn new(origin: String, map: Map<String, Value>) -> Self {
        Self { origin, map }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// An object inside.
    pub(super) fn object(&mut self, key: &str) -> Result<Option<Self>, Fault> {
        let map = self.take(key, "an object", |value| value.as_object().cloned())?;
        Ok(map.map(|map| Self::new(format!("{} under `{key}`", self.origin), map)))
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        self.take(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Fault> {
        self.take(key, "true or false", Value::as_bool)
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<usize>, Fault> {
        self.take(key, "a count", count)
    }

    pub(super) fn counts(&mut self, key: &str) -> Result<Option<Vec<usize>>, Fault> {
        self.take(key, "a list of counts", |value| value.as_array()?.iter().map(count).collect())
    }

    /// A number above zero.
    pub(super) fn positive(&mut self, key: &str) -> Result<Option<f64>, Fault> {
        self.take(key, "a number above zero", |value| value.as_f64().filter(|number| *number > 0.0))
    }

    /// A list of numbers; one alone is a list of it.
    pub(super) fn numbers(&mut self, key: &str) -> Result<Option<Vec<f64>>, Fault> {
        self.take(key, "a list of numbers", |value| match value {
            Value::Array(list) => list.iter().map(Value::as_f64).collect(),
            other => other.as_f64().map(|number| vec![number]),
        })
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        self.take(key, "a list of texts", texts)
    }

    /// A list of texts, or a text for each of some classes.
    pub(super) fn classes(&mut self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        self.take(key, "a list of texts, or an object of class numbers and texts", |value| {
            let Some(map) = value.as_object() else { return texts(value) };
            let mut found = Vec::new();
            for (class, name) in map {
                found.push((class.parse::<usize>().ok()?, name.as_str()?));
            }
            let length = found.iter().map(|&(class, _)| class).max().map_or(0, |last| last + 1);
            // A class number has a few digits more than there are names at most.
            let mut names: Vec<String> =
                (0..length.min(MOST_CLASSES)).map(|n| n.to_string()).collect();
            for (class, name) in found {
                name.clone_into(names.get_mut(class)?);
            }
            Some(names)
        })
    }

    /// Texts by their names.
    pub(super) fn dictionary(&mut self, key: &str) -> Result<Map<String, Value>, Fault> {
        let map = self.take(key, "an object of texts", |value| {
            value.as_object().filter(|map| map.values().all(Value::is_string)).cloned()
        })?;
        Ok(map.unwrap_or_default())
    }

    /// Any value.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Leaves out what has no influence on answers.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.remove(*key);
        }
    }

    /// What is left, as an object of its own.
    pub(super) fn split_off(&mut self) -> Self {
        Self::new(self.origin.clone(), std::mem::take(&mut self.map))
    }

    /// A note about the keys that were not taken.
    pub(super) fn rest(self) -> Option<String> {
        let left = self.map.iter().filter(|(_, value)| !value.is_null());
        let names: Vec<String> = left.map(|(key, _)| format!("`{key}`")).collect();
        let origin = self.origin;
        (!names.is_empty())
            .then(|| format!("not known in {origin}, and not read: {}", names.join(", ")))
    }

    /// A value that is not what is expected.
    pub(super) fn wrong<T>(
        &self,
        key: &str,
        found: &dyn std::fmt::Display,
        expected: &str,
    ) -> Result<T, Fault> {
        let found: String = found.to_string().chars().take(60).collect();
        unknown(format!("{}: `{key}` is {found}; {expected} is expected", self.origin))
    }

    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => self.wrong(key, &value, expected),
        }
    }
}

/// More than any classifier has.
const MOST_CLASSES: usize = 1 << 20;

fn count(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
