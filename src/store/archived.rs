//! The archive as the store of one operation uses it: slices in, slices out.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use super::memory::Memory;
use crate::archive::{ArchiveError, Collected, Dated, Making, Want, Windows, Writer};
use crate::domain::calendar::Date;
use crate::domain::time::DAY;
use crate::domain::{
    ArchiveKey, ArchiveRow, Archived, ArchivedSlice, Ask, Cut, Finality, Held, Keep, Operation, Slice, Subject,
    Timestamp, Window,
};
use crate::error::WeirError;
use crate::planner::{Landed, SliceCache};

/// How long the archive is waited for: the vendor may answer sooner than one that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it is left alone after it has failed.
const AWAY: Duration = Duration::from_secs(5);
/// Bytes in memory of a row, about.
const ROW_BYTES: usize = 64;

/// How many days of a subject tell in which zone rows are dated.
const DAYS_THAT_TEACH: usize = 8;
/// The most subjects that are asked for that, for one request and at all.
const MOST_TEACHERS: usize = 20;
const MOST_ASKED: usize = 10_000;

/// In which zone the rows of a key are dated.
pub type ZoneOf = Arc<dyn Fn(&ArchiveKey) -> Option<TimeZone> + Send + Sync>;
/// Whether a slice is to be kept while the vendor may still change it.
pub type IsWatched = Arc<dyn Fn(&ArchiveKey, Window) -> bool + Send + Sync>;

/// What was found in the archive for one request, by what was asked for.
pub struct Recalled<O: Operation> {
    slices: HashMap<Slice<O::Subject>, Arc<Held<O::Data>>>,
    /// Those that are only known to be final there, where a request is only explained.
    known: HashSet<Slice<O::Subject>>,
    /// Those that memory has from another replica, just now.
    taken: HashSet<Slice<O::Subject>>,
}

/// The slices of one operation in the archive.
pub trait SliceArchive<O: Operation>: Send + Sync + 'static {
    /// What is kept of the slices. Nothing if the archive cannot be asked: then the vendor is.
    fn recall(&self, wanted: Vec<Slice<O::Subject>>, at: Timestamp) -> BoxFuture<'_, Recalled<O>>;

    /// Which of the slices are kept and final, without reading them.
    fn know(&self, wanted: Vec<Slice<O::Subject>>) -> BoxFuture<'_, Recalled<O>>;

    /// What is kept of a subject inside a span, in order of time; `None` if the archive cannot be asked.
    fn collected<'a>(&'a self, subject: &'a O::Subject, span: Window) -> BoxFuture<'a, Option<Vec<Collected>>>;

    /// Keeps what a call has brought, soon.
    fn keep(&self, subject: &O::Subject, landed: &Landed<O::Data>);

    /// Keeps what was taken over from other replicas, soon, unless it is kept already.
    fn keep_told(&self, told: Vec<Told<O>>);
}

/// The slices of one operation whose rows have a table.
pub struct ArchivedSlices<O: Archived> {
    writer: Writer,
    operation: Arc<O>,
    memory: Arc<Memory<O>>,
    zone_of: ZoneOf,
    is_watched: IsWatched,
    away_until: Mutex<Option<Instant>>,
    /// Subjects that were asked in which zone rows are dated.
    asked: Mutex<HashSet<O::Subject>>,
}

impl<O: Archived> ArchivedSlices<O> {
    /// Keeps what `writer` writes, and what is read in `memory`.
    #[must_use]
    pub fn new(
        writer: Writer,
        operation: Arc<O>,
        memory: Arc<Memory<O>>,
        zone_of: ZoneOf,
        is_watched: IsWatched,
    ) -> Self {
        let (away_until, asked) = (Mutex::new(None), Mutex::default());
        Self { writer, operation, memory, zone_of, is_watched, away_until, asked }
    }

    /// Asks the archive, unless it has just failed.
    async fn ask<T>(&self, asked: BoxFuture<'_, Result<T, ArchiveError>>) -> Option<T> {
        let now = Instant::now();
        if self.away_until().is_some_and(|until| now < until) {
            return None;
        }
        let problem = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(found)) => {
                *self.away_until() = None;
                return Some(found);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the archive has not answered for {PATIENCE:?}"),
        };
        if self.away_until().replace(Instant::now() + AWAY).is_none() {
            tracing::error!(%problem, "the archive is not read: vendors are asked instead");
        }
        None
    }

    fn away_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be read, and of which subject each is: runs of neighbours of a grid, or the windows as they are. What lies
    /// between is held already.
    fn wants(&self, wanted: &[Slice<O::Subject>]) -> (Vec<O::Subject>, Vec<Want>) {
        let (mut subjects, mut wants): (Vec<O::Subject>, Vec<Want>) = (Vec::new(), Vec::new());
        for (subject, mut windows) in by_subject(wanted) {
            let key = Arc::new(O::archive_key(subject));
            let windows: Vec<Windows> = if self.operation.grid().is_some() {
                windows.sort_unstable();
                let runs = windows.chunk_by(|one, next| next.start() <= one.end());
                runs.filter_map(|run| run.iter().copied().reduce(Window::hull)).map(Windows::Within).collect()
            } else {
                vec![Windows::Exactly(windows)]
            };
            subjects.extend(windows.iter().map(|_| subject.clone()));
            wants.extend(windows.into_iter().map(|windows| Want { key: Arc::clone(&key), windows }));
        }
        (subjects, wants)
    }

    /// Those that are to be kept: what is final, and of what is watched the rest.
    fn kept(&self, key: &ArchiveKey, slices: impl Iterator<Item = Kept<O::Data>>) -> Vec<Kept<O::Data>> {
        slices.filter(|(window, held)| held.is_settled() || (self.is_watched)(key, *window)).collect()
    }

    /// Makes the slices of a subject as they are kept.
    fn making(&self, key: Arc<ArchiveKey>, subject: &O::Subject, kept: Vec<Kept<O::Data>>) -> Making {
        let (subject, zone_of) = (subject.clone(), Arc::clone(&self.zone_of));
        Box::new(move || {
            let zone = zone_of(&key);
            let dated = |(window, held): Kept<O::Data>| {
                let slice = ArchivedSlice::of::<O>(&key, &Slice { subject: subject.clone(), window }, &held);
                let date = |row: &ArchiveRow| zone.as_ref().map(|zone| Date::of(row.start, zone));
                let dates = slice.rows.iter().map(date).collect();
                Dated { slice, dates, fetched: Vec::new() }
            };
            // PostgreSQL has no such text, and a batch that can never be written would hold all others up.
            let is_writable = |dated: &Dated| dated.slice.rows.iter().all(|row| !row.name.contains('\0'));
            kept.into_iter().map(dated).filter(is_writable).collect()
        })
    }

    /// Learns in which zone rows of the subjects are dated, where that is not known, from rows that are kept and show it: once
    /// for each, since whatever comes later is learned from as it comes.
    async fn learn_zones(&self, subjects: &[O::Subject], at: Timestamp) {
        let undated = subjects.iter().filter(|subject| (self.zone_of)(&O::archive_key(subject)).is_none());
        let teachers = undated.filter_map(O::dated_by).filter(|teacher| self.is_first(teacher));
        let teachers: Vec<O::Subject> = teachers.take(MOST_TEACHERS).collect();
        if !teachers.is_empty() && self.learn_from(&teachers, at).await.is_none() {
            // The archive could not be asked.
            let mut asked = self.asked();
            for teacher in &teachers {
                asked.remove(teacher);
            }
        }
    }

    /// Learns from some days that are kept of the teachers; `None` if the archive cannot be asked.
    async fn learn_from(&self, teachers: &[O::Subject], at: Timestamp) -> Option<()> {
        let ever = Window::new(Timestamp::from_ms(0), at + DAY)?;
        let (mut subjects, mut wants) = (Vec::new(), Vec::new());
        for teacher in teachers {
            let lines = self.collected(teacher, ever).await?;
            let days: Vec<Window> = lines.iter().filter(|line| line.row_count > 0).map(|line| line.window).collect();
            let key = Arc::new(O::archive_key(teacher));
            // The newest and some of the time before: where clocks change, no single offset fits.
            for window in days.iter().rev().step_by(days.len().div_ceil(DAYS_THAT_TEACH).max(1)) {
                wants.push(Want { key: Arc::clone(&key), windows: Windows::Within(*window) });
                subjects.push(teacher);
            }
        }
        if wants.is_empty() {
            return Some(());
        }
        let found = self.ask(self.writer.archive().read(wants)).await?;
        for (subject, slices) in subjects.into_iter().zip(found) {
            for ArchivedSlice { window, finality, fetched_at, rows, .. } in slices {
                let slice = Slice { subject: subject.clone(), window };
                if let Some((data, _)) = O::from_rows(subject, rows, finality) {
                    self.operation.learn_from(&slice, &data, fetched_at.min(at));
                }
            }
        }
        Some(())
    }

    /// Whether a teacher was not asked yet; it is from now on.
    fn is_first(&self, teacher: &O::Subject) -> bool {
        let mut asked = self.asked();
        asked.len() < MOST_ASKED && asked.insert(teacher.clone())
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashSet<O::Subject>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slice over into memory, as what was fetched then.
    fn adopt(&self, subject: &O::Subject, kept: ArchivedSlice, at: Timestamp) -> Option<Told<O>> {
        let ArchivedSlice { window, finality, fetched_at, rows, .. } = kept;
        let is_empty = rows.is_empty();
        let (data, bytes) = O::from_rows(subject, rows, finality)?;
        let slice = Slice { subject: subject.clone(), window };
        let keep = if finality == Finality::Final { Keep::Settled } else { Keep::Provisional };
        self.operation.learn_from(&slice, &data, fetched_at.min(at));
        let held = self.memory.adopt(&slice, keep, at.since(fetched_at), |fresh_until, stale_until| Held {
            data: Arc::new(data),
            sent_at: fetched_at,
            fresh_until,
            stale_until,
            is_empty,
            bytes,
        });
        Some((slice, held))
    }
}

/// About how many rows the slices hold.
fn rows_of<D>(kept: &[Kept<D>]) -> usize {
    kept.iter().map(|(_, held)| held.bytes as usize / ROW_BYTES).sum()
}

/// The windows that are wanted of each subject.
fn by_subject<S: Subject>(wanted: &[Slice<S>]) -> HashMap<&S, Vec<Window>> {
    let mut windows: HashMap<&S, Vec<Window>> = HashMap::new();
    for slice in wanted {
        windows.entry(&slice.subject).or_default().push(slice.window);
    }
    windows
}

/// A slice of a subject that is to be kept.
type Kept<D> = (Window, Arc<Held<D>>);
/// A slice that was taken over.
pub type Told<O> = (Slice<<O as Operation>::Subject>, Arc<Held<<O as Operation>::Data>>);

impl<O: Archived> SliceArchive<O> for ArchivedSlices<O> {
    fn recall(&self, wanted: Vec<Slice<O::Subject>>, at: Timestamp) -> BoxFuture<'_, Recalled<O>> {
        Box::pin(async move {
            let (subjects, wants) = self.wants(&wanted);
            if wants.is_empty() {
                return Recalled::default();
            }
            let found = self.ask(self.writer.archive().read(wants)).await.unwrap_or_default();
            self.learn_zones(&subjects, at).await;
            let kept = subjects.iter().zip(found).flat_map(|(subject, slices)| {
                slices.into_iter().filter_map(move |slice| self.adopt(subject, slice, at))
            });
            Recalled { slices: kept.collect(), ..Recalled::default() }
        })
    }

    fn know(&self, wanted: Vec<Slice<O::Subject>>) -> BoxFuture<'_, Recalled<O>> {
        Box::pin(async move {
            let mut known = HashSet::new();
            for (subject, windows) in by_subject(&wanted) {
                let Some(span) = windows.into_iter().reduce(Window::hull) else { continue };
                let lines = self.collected(subject, span).await.unwrap_or_default();
                let finals = lines.into_iter().filter(|line| line.finality == Finality::Final);
                known.extend(finals.map(|line| Slice { subject: subject.clone(), window: line.window }));
            }
            Recalled { known, ..Recalled::default() }
        })
    }

    fn collected<'a>(&'a self, subject: &'a O::Subject, span: Window) -> BoxFuture<'a, Option<Vec<Collected>>> {
        Box::pin(self.ask(self.writer.archive().collected(O::archive_key(subject), span)))
    }

    fn keep(&self, subject: &O::Subject, landed: &Landed<O::Data>) {
        let key = Arc::new(O::archive_key(subject));
        let kept = self.kept(&key, landed.all().iter().cloned());
        if !kept.is_empty() {
            let (slices, rows) = (kept.len(), rows_of(&kept));
            self.writer.take(slices, rows, self.making(key, subject, kept));
        }
    }

    fn keep_told(&self, told: Vec<Told<O>>) {
        let mut by_subject: HashMap<O::Subject, Vec<Kept<O::Data>>> = HashMap::new();
        for (slice, held) in told {
            by_subject.entry(slice.subject).or_default().push((slice.window, held));
        }
        for (subject, slices) in by_subject {
            let key = Arc::new(O::archive_key(&subject));
            let kept = self.kept(&key, slices.into_iter());
            let span = kept.iter().map(|(window, _)| *window).reduce(Window::hull);
            if let Some(span) = span {
                let (own, slices, rows) = ((*key).clone(), kept.len(), rows_of(&kept));
                self.writer.take_told(own, span, slices, rows, self.making(key, &subject, kept));
            }
        }
    }
}

impl<O: Operation> Recalled<O> {
    /// What was found for a slice.
    pub(super) fn get(&self, slice: &Slice<O::Subject>) -> Option<&Arc<Held<O::Data>>> {
        // Without an archive no slice is hashed.
        if self.slices.is_empty() { None } else { self.slices.get(slice) }
    }

    /// The same, with what was taken over from other replicas.
    pub(super) fn and_taken(self, taken: HashSet<Slice<O::Subject>>) -> Self {
        Self { taken, ..self }
    }

    /// Whether memory has a slice, or the whole that it is part of, from another replica.
    pub(super) fn has_taken(&self, slice: &Slice<O::Subject>) -> bool {
        let whole = || Some(Slice { subject: slice.subject.whole()?, window: slice.window });
        !self.taken.is_empty()
            && (self.taken.contains(slice) || whole().is_some_and(|whole| self.taken.contains(&whole)))
    }

    /// Whether a slice need not be asked for.
    pub(super) fn knows(&self, slice: &Slice<O::Subject>) -> bool {
        !self.known.is_empty() && self.known.contains(slice)
    }
}

impl<O: Operation> Default for Recalled<O> {
    fn default() -> Self {
        Self { slices: HashMap::new(), known: HashSet::new(), taken: HashSet::new() }
    }
}

/// Memory in front of the archive: what calls bring is kept in both.
pub struct Keeping<O: Operation> {
    memory: Arc<Memory<O>>,
    archive: Arc<dyn SliceArchive<O>>,
}

impl<O: Operation> Keeping<O> {
    /// Keeps in both.
    #[must_use]
    pub fn new(memory: Arc<Memory<O>>, archive: Arc<dyn SliceArchive<O>>) -> Self {
        Self { memory, archive }
    }
}

impl<O: Operation> SliceCache<O> for Keeping<O> {
    fn fresh(&self, run: &Slice<O::Subject>, ask: &Ask) -> Landed<O::Data> {
        self.memory.fresh(run, ask)
    }

    fn has_fresh(&self, slice: &Slice<O::Subject>) -> bool {
        self.memory.has_fresh(slice)
    }

    fn epoch(&self) -> u64 {
        SliceCache::epoch(&*self.memory)
    }

    fn put(&self, subject: &O::Subject, cuts: Vec<Cut<O::Data>>, sent_at: Timestamp) -> Landed<O::Data> {
        let landed = self.memory.put(subject, cuts, sent_at);
        self.archive.keep(subject, &landed);
        landed
    }

    fn refuse(&self, subject: &O::Subject, error: &Arc<WeirError>) {
        self.memory.refuse(subject, error);
    }
}

impl<O: Operation> fmt::Debug for Recalled<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recalled").field(&(self.slices.len() + self.known.len())).finish()
    }
}

impl<O: Operation> fmt::Debug for Keeping<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keeping").field(&self.memory).finish()
    }
}

impl<O: Archived> fmt::Debug for ArchivedSlices<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchivedSlices").field("writer", &self.writer).finish_non_exhaustive()
    }
}
