//! Slices that came to be held, handed on as a whole.

use std::sync::Arc;

use crate::domain::{Held, Window};

/// Slices of one subject in order of time, each with its window. Cheap to clone.
#[derive(Debug)]
pub struct Landed<D>(Arc<[(Window, Arc<Held<D>>)]>);

impl<D> Landed<D> {
    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[(Window, Arc<Held<D>>)] {
        &self.0
    }

    /// Those that lie in a span.
    #[must_use]
    pub fn within(&self, span: Window) -> &[(Window, Arc<Held<D>>)] {
        let first = self.0.partition_point(|(window, _)| window.start() < span.start());
        let own = self.0.get(first..).unwrap_or_default();
        own.get(..own.partition_point(|(window, _)| window.end() <= span.end())).unwrap_or_default()
    }

    /// Whether they leave nothing of the span out.
    #[must_use]
    pub fn fills(&self, span: Window) -> bool {
        let filled = self
            .within(span)
            .iter()
            .try_fold(span.start(), |at, (window, _)| (window.start() == at).then_some(window.end()));
        filled == Some(span.end())
    }

    /// The whole span in order: each slice of it, and what lies between.
    #[must_use]
    pub fn laid_out(&self, span: Window) -> Vec<(Window, Option<&Arc<Held<D>>>)> {
        span.laid_out(self.within(span).iter().map(|(window, held)| (*window, held)))
    }
}

impl<D> Clone for Landed<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D> Default for Landed<D> {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl<D> From<Vec<(Window, Arc<Held<D>>)>> for Landed<D> {
    fn from(mut slices: Vec<(Window, Arc<Held<D>>)>) -> Self {
        slices.sort_by_key(|(window, _)| *window);
        Self(slices.into())
    }
}

impl<D> FromIterator<(Window, Arc<Held<D>>)> for Landed<D> {
    fn from_iter<I: IntoIterator<Item = (Window, Arc<Held<D>>)>>(slices: I) -> Self {
        slices.into_iter().collect::<Vec<_>>().into()
    }
}
