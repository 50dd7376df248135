//! Calls a second of each operation of a vendor, as configured under the vendor's names.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};

use crate::domain::Facts;

/// Calls a second of each operation of a vendor; what is not configured has its published limit.
#[derive(Debug, Clone)]
pub struct Quotas {
    operations: &'static [&'static Facts],
    configured: Vec<u32>,
}

impl Quotas {
    /// The published limits.
    #[must_use]
    pub fn published(operations: &'static [&'static Facts]) -> Self {
        Self { operations, configured: operations.iter().map(|facts| facts.calls_per_second).collect() }
    }

    /// The quota of an operation, by the vendor's name; 0 if it has none of this name.
    #[must_use]
    pub fn of(&self, operation: &str) -> u32 {
        self.iter().find(|(facts, _)| facts.operation == operation).map_or(0, |(_, configured)| configured)
    }

    /// Sets the quota of an operation, if there is one of this name.
    pub fn set(&mut self, operation: &str, calls_per_second: u32) {
        let mut all = self.operations.iter().zip(&mut self.configured);
        if let Some((_, configured)) = all.find(|(facts, _)| facts.operation == operation) {
            *configured = calls_per_second;
        }
    }

    /// Every operation and its quota.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Facts, u32)> + use<'_> {
        self.operations.iter().copied().zip(self.configured.iter().copied())
    }

    /// Reads a section of the config: `names` are those of the operations.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        operations: &'static [&'static Facts],
        names: &'static [&'static str],
        deserializer: D,
    ) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Section { quotas: Self::published(operations), names })
    }
}

/// The names of operations.
pub(super) const fn names<const N: usize>(operations: &[&'static Facts; N]) -> [&'static str; N] {
    let (mut names, mut at) = ([""; N], 0);
    while at < N {
        names[at] = operations[at].operation;
        at += 1;
    }
    names
}

struct Section {
    quotas: Quotas,
    names: &'static [&'static str],
}

impl<'de> Visitor<'de> for Section {
    type Value = Quotas;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section of keys")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Quotas, A::Error> {
        while let Some(operation) = map.next_key_seed(Name(self.names))? {
            self.quotas.set(operation, map.next_value()?);
        }
        Ok(self.quotas)
    }
}

/// One of these names.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an operation")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'static str, E> {
        self.0.iter().find(|known| **known == name).copied().ok_or_else(|| E::unknown_field(name, self.0))
    }
}
