//! A value that may change while it is used.

use std::fmt;
use std::sync::{PoisonError, RwLock};

/// A value that whoever reads it gets as it is at that moment.
#[derive(Default)]
pub struct Live<T>(RwLock<T>);

impl<T: Clone> Live<T> {
    /// It is `value` now.
    pub const fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// What it is.
    pub fn get(&self) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on it is `value`.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<T: Clone + fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
