//! The upstream calls that a caller may cause on a day.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Timestamp;
use super::time::DAY;

/// What is left of a caller's calls. A day is a UTC day.
#[derive(Debug)]
pub struct Budget {
    per_day: u64,
    spent: Mutex<Spent>,
    was_asked: AtomicBool,
}

#[derive(Debug, Default)]
struct Spent {
    day: i64,
    /// In this process.
    calls: u64,
    /// At other replicas, as far as they have told.
    elsewhere: u64,
}

impl Spent {
    fn all(&self) -> u64 {
        self.calls.saturating_add(self.elsewhere)
    }
}

impl Budget {
    /// So many calls a day.
    #[must_use]
    pub fn new(per_day: u64) -> Self {
        Self { per_day, spent: Mutex::default(), was_asked: AtomicBool::new(false) }
    }

    /// The same, of which so many are spent today.
    #[must_use]
    pub fn having_spent(self, calls: u64, now: Timestamp) -> Self {
        self.on(now).calls = calls;
        self
    }

    /// The day of `now`, counted from 1970, and the calls that are spent of it in this process.
    #[must_use]
    pub fn spent_here(&self, now: Timestamp) -> (i64, u64) {
        let spent = self.on(now);
        (spent.day, spent.calls)
    }

    /// So many calls of a day are spent at other replicas.
    pub fn note_elsewhere(&self, day: i64, calls: u64) {
        let mut spent = self.spent();
        if spent.day == day {
            spent.elsewhere = calls;
        }
    }

    /// Whether calls were wanted since this was last asked.
    pub fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::Relaxed)
    }

    /// Calls a day.
    #[must_use]
    pub fn per_day(&self) -> u64 {
        self.per_day
    }

    /// The calls that are left of the day of `now`.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> u64 {
        self.per_day.saturating_sub(self.on(now).all())
    }

    /// How long it is until a new day begins.
    #[must_use]
    pub fn renewed_in(now: Timestamp) -> Duration {
        (now.floor(DAY) + DAY).since(now)
    }

    /// Takes `n` calls, or none of them; answers of which day.
    fn take(&self, n: u64, now: Timestamp) -> Option<i64> {
        self.was_asked.store(true, Ordering::Relaxed);
        let mut spent = self.on(now);
        spent.all().checked_add(n).filter(|calls| *calls <= self.per_day)?;
        spent.calls = spent.calls.saturating_add(n);
        Some(spent.day)
    }

    /// Takes `n` calls, whether they are left or not; answers of which day.
    fn take_beyond(&self, n: u64, now: Timestamp) -> i64 {
        let mut spent = self.on(now);
        spent.calls = spent.calls.saturating_add(n);
        spent.day
    }

    /// Gives calls of a day back that were not made, or charges those that were made beyond.
    fn correct(&self, day: i64, taken: u64, made: u64) {
        let mut spent = self.spent();
        if spent.day == day {
            spent.calls = spent.calls.saturating_add(made).saturating_sub(taken);
        }
    }

    /// Charges calls that are made now, whether they are left or not.
    fn spend(&self, n: u64) {
        let mut spent = self.spent();
        spent.calls = spent.calls.saturating_add(n);
    }

    fn on(&self, now: Timestamp) -> MutexGuard<'_, Spent> {
        let day = now.as_ms().div_euclid(i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX));
        let mut spent = self.spent();
        // A clock that is set back does not renew it.
        if day > spent.day {
            *spent = Spent { day, ..Spent::default() };
        }
        spent
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request is charged: calls are taken before they are sent, and what was taken and not made is given back at its
/// end.
#[derive(Debug, Default)]
pub struct Charge {
    budget: Option<Arc<Budget>>,
    /// The day of which calls were taken last.
    day: AtomicI64,
    taken: AtomicU64,
    made: AtomicU64,
}

impl Charge {
    /// Charges `budget`, if there is one.
    #[must_use]
    pub fn to(budget: Option<Arc<Budget>>) -> Self {
        Self { budget, day: AtomicI64::new(0), taken: AtomicU64::new(0), made: AtomicU64::new(0) }
    }

    /// The budget, if calls are counted.
    #[must_use]
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_deref()
    }

    /// Takes `n` calls, or none of them; `false` if so many are not left.
    #[must_use]
    pub fn take(&self, n: u64, now: Timestamp) -> bool {
        let Some(budget) = &self.budget else { return true };
        let Some(day) = budget.take(n, now) else { return n == 0 };
        self.note_taken(n, day);
        true
    }

    /// Takes `n` calls, whether they are left or not.
    pub fn take_beyond(&self, n: u64, now: Timestamp) {
        if let Some(budget) = &self.budget {
            self.note_taken(n, budget.take_beyond(n, now));
        }
    }

    fn note_taken(&self, n: u64, day: i64) {
        self.day.store(day, Ordering::Relaxed);
        self.taken.fetch_add(n, Ordering::Relaxed);
    }

    /// Charges calls that nobody of the request will wait for.
    pub fn spend(&self, n: u64) {
        if let Some(budget) = &self.budget {
            budget.spend(n);
        }
    }

    /// A call was made.
    pub(super) fn note_call(&self) {
        if self.budget.is_some() {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.correct(*self.day.get_mut(), *self.taken.get_mut(), *self.made.get_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        Timestamp::from_ms(12 * 3_600_000)
    }

    #[test]
    fn what_was_taken_and_not_made_is_given_back() {
        let budget = Arc::new(Budget::new(10));
        let charge = Charge::to(Some(Arc::clone(&budget)));
        assert!(charge.take(6, noon()) && !charge.take(5, noon()), "all of them or none");
        charge.note_call();
        charge.note_call();
        assert_eq!(budget.left(noon()), 4);
        drop(charge);
        assert_eq!(budget.left(noon()), 8);
    }

    #[test]
    fn every_day_has_its_calls() {
        let budget = Arc::new(Budget::new(1));
        assert!(Charge::to(Some(Arc::clone(&budget))).take(1, noon()));
        let charge = Charge::to(Some(Arc::clone(&budget)));
        assert!(charge.take(1, noon()), "the first was not made");
        charge.note_call();
        drop(charge);
        assert!(!Charge::to(Some(Arc::clone(&budget))).take(1, noon()));
        assert_eq!(Budget::renewed_in(noon()), Duration::from_hours(12));
        assert_eq!(budget.left(noon() + DAY), 1);
    }

    #[test]
    fn what_is_taken_beyond_is_spent_and_given_back_like_any_other() {
        let budget = Arc::new(Budget::new(2));
        let charge = Charge::to(Some(Arc::clone(&budget)));
        charge.take_beyond(5, noon());
        assert_eq!((budget.spent_here(noon()).1, budget.left(noon())), (5, 0));
        charge.note_call();
        drop(charge);
        assert_eq!(budget.left(noon()), 1);
    }

    #[test]
    fn what_is_spent_elsewhere_is_not_left_here() {
        let (budget, now) = (Arc::new(Budget::new(10)), noon());
        let (charge, day) = (Charge::to(Some(Arc::clone(&budget))), budget.spent_here(now).0);
        assert!(!budget.was_asked());
        assert!(charge.take(2, now) && budget.was_asked() && !budget.was_asked());
        budget.note_elsewhere(day, 5);
        assert_eq!((budget.left(now), budget.spent_here(now)), (3, (day, 2)));
        assert!(!charge.take(4, now) && charge.take(3, now));
        budget.note_elsewhere(day - 1, 0);
        assert_eq!(budget.left(now), 0, "that was yesterday");
        budget.note_elsewhere(day, u64::MAX);
        assert!(!charge.take(1, now));
        assert_eq!(budget.left(now + DAY), 10);
    }

    #[test]
    fn nothing_is_counted_without_a_budget() {
        assert!(Charge::default().take(u64::MAX, noon()));
    }
}
