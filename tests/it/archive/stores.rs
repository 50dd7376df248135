//! What both stores promise alike: each test here runs on a file of SQLite and on a server of PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;
use weir::archive::{Archive, Dated, Want, Windows, Written, open};
use weir::domain::calendar::Date;
use weir::domain::dataset::Dataset;
use weir::domain::time::HOUR;
use weir::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Finality, Number, Timestamp, Window};

use crate::support::postgres::Postgres;

/// One archive of each kind, and what they stand on.
pub(super) struct Stores {
    dir: TempDir,
    pub(super) server: Option<Postgres>,
    pub(super) all: Vec<Arc<dyn Archive>>,
}

impl Stores {
    pub(super) async fn open() -> Self {
        let dir = TempDir::new().unwrap();
        let server = Postgres::start().await;
        let mut all = vec![open(&format!("sqlite:{}", dir.path().join("weir.db").display()), "").unwrap()];
        all.extend(server.as_ref().map(|server| open(&server.url(), "bi").unwrap()));
        for archive in &all {
            archive.prepare().await.unwrap();
        }
        Self { dir, server, all }
    }

    /// The file of the first.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("weir.db")
    }
}

pub(super) fn at(hours: u32) -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-01T00:00:00Z").unwrap() + HOUR * hours
}

pub(super) fn span(from: u32, to: u32) -> Window {
    Window::new(at(from), at(to)).unwrap()
}

/// A channel's messages by half hours.
pub(super) fn channel(account: &str) -> ArchiveKey {
    ArchiveKey {
        dataset: Dataset::PhoneNumberMetrics,
        account: account.to_owned(),
        entity: Some("cams-alpha".to_owned()),
        granularity: Some("HALF_HOUR"),
        dimension: None,
        name: None,
    }
}

/// An application's users by province.
pub(super) fn application(account: &str) -> ArchiveKey {
    ArchiveKey {
        dataset: Dataset::OperationDistributions,
        account: account.to_owned(),
        entity: Some("app-one".to_owned()),
        granularity: None,
        dimension: Some("PROVINCE"),
        name: None,
    }
}

pub(super) fn row(name: &str, start: u32, sent: i64, finality: Finality) -> ArchiveRow {
    let numbers = [Number::Integer(sent), Number::Integer(sent / 2)];
    ArchiveRow { name: name.into(), start: at(start), end: at(start) + HOUR / 2, numbers, finality }
}

/// A slice with the dates of its rows in UTC.
pub(super) fn dated(
    key: &ArchiveKey,
    window: Window,
    fetched: u32,
    finality: Finality,
    rows: Vec<ArchiveRow>,
) -> Dated {
    let date = |row: &ArchiveRow| Some(Date::of(row.start, &jiff::tz::TimeZone::UTC));
    let dates = rows.iter().map(date).collect();
    let fetched_at = at(fetched);
    let slice = ArchivedSlice { key: Arc::new(key.clone()), window, finality, fetched_at, rows };
    Dated { slice, dates, fetched: Vec::new() }
}

pub(super) async fn write(archive: &Arc<dyn Archive>, slices: &[Dated]) -> Written {
    archive.write(Arc::new(slices.to_vec())).await.unwrap()
}

pub(super) async fn read(archive: &Arc<dyn Archive>, key: &ArchiveKey, window: Window) -> Vec<ArchivedSlice> {
    let want = Want { key: Arc::new(key.clone()), windows: Windows::Within(window) };
    archive.read(vec![want]).await.unwrap().remove(0)
}

pub(super) const FINAL: Finality = Finality::Final;
pub(super) const PROVISIONAL: Finality = Finality::Provisional;

#[tokio::test]
async fn what_is_written_is_read_as_it_was() {
    let stores = Stores::open().await;
    for archive in &stores.all {
        let nameless = ArchiveKey { entity: None, ..channel("a") };
        let phone = ArchiveKey { name: Some("861000000001".to_owned()), ..channel("b") };
        let province = |place: &str, users: f64| ArchiveRow {
            name: place.into(),
            start: at(0),
            end: at(24),
            numbers: [Number::Float(users), Number::Float(12.5)],
            finality: FINAL,
        };
        let slices = [
            dated(&channel("a"), span(0, 24), 90, FINAL, vec![row("861", 3, 7, FINAL), row("862", 3, 9, FINAL)]),
            dated(&channel("a"), span(24, 48), 90, FINAL, vec![]),
            dated(
                &channel("a"),
                span(48, 72),
                91,
                PROVISIONAL,
                vec![row("861", 50, 1, FINAL), row("861", 60, 1, PROVISIONAL)],
            ),
            dated(&nameless, span(0, 24), 92, FINAL, vec![row("863", 3, 4, FINAL)]),
            dated(&phone, span(0, 24), 93, FINAL, vec![row("861000000001", 4, 2, FINAL)]),
            dated(&application("a"), span(0, 24), 94, FINAL, vec![province("上海", 3.0), province("北京", 4.25)]),
            dated(&application("a"), span(0, 48), 94, FINAL, vec![]),
        ];
        let written = write(archive, &slices).await;
        assert_eq!((written.slices, written.rows, written.restated), (7, 8, 0), "{archive:?}");
        let within = |key: &ArchiveKey| Want { key: Arc::new(key.clone()), windows: Windows::Within(span(0, 72)) };
        let exactly = Windows::Exactly(vec![span(0, 48), span(0, 24), span(24, 48)]);
        let exactly = Want { key: Arc::new(application("a")), windows: exactly };
        let wants = vec![within(&channel("a")), within(&nameless), within(&phone), exactly, within(&channel("c"))];
        let found = archive.read(wants).await.unwrap();
        let kept = |of: &[usize]| -> Vec<ArchivedSlice> { of.iter().map(|at| slices[*at].slice.clone()).collect() };
        let expected = [kept(&[0, 1, 2]), kept(&[3]), kept(&[4]), kept(&[6, 5]), vec![]];
        for (mut found, expected) in found.into_iter().zip(expected) {
            for slice in &mut found {
                slice.rows.sort_by(|one, other| (one.start, &one.name).cmp(&(other.start, &other.name)));
            }
            assert_eq!(found, expected, "{archive:?}");
        }
        let lines = archive.collected(channel("a"), span(0, 48)).await.unwrap();
        let told: Vec<_> = lines.iter().map(|line| (line.window, line.finality, line.row_count)).collect();
        assert_eq!(told, [(span(0, 24), FINAL, 2), (span(24, 48), FINAL, 0)], "{archive:?}");
        // The same again is nothing new, whoever writes it.
        let again = write(archive, &slices).await;
        assert_eq!((again.slices, again.restated), (0, 0), "{archive:?}");
    }
}

/// What is known of one day of a channel, phone number by phone number: the model that both stores are held against.
#[derive(Debug, Default, Clone)]
struct Model {
    whole: Option<(Finality, Timestamp)>,
    alone: BTreeMap<String, (Finality, Timestamp)>,
    rows: BTreeMap<(String, Timestamp), ArchiveRow>,
    /// Numbers that were told otherwise: whose, which, and how.
    restated: BTreeSet<(String, Timestamp, usize, Option<i64>)>,
}

const PHONES: [&str; 3] = ["8610", "8611", "8612"];

fn sent(row: &ArchiveRow, number: usize) -> i64 {
    if let Number::Integer(count) = row.numbers[number] { count } else { panic!("messages are whole") }
}

impl Model {
    /// The answer that stands for a phone number: the first FINAL one, or else the newest.
    fn line(&self, phone: &str) -> Option<(Finality, Timestamp)> {
        let lines = self.whole.iter().chain(self.alone.get(phone)).copied();
        lines.max_by_key(|(finality, fetched)| if *finality == FINAL { (1, at(0)) } else { (0, *fetched) })
    }

    fn take(&mut self, slice: &ArchivedSlice) {
        let told_at = (slice.finality, slice.fetched_at);
        let name = slice.key.name.as_deref();
        let line = name.map_or(self.whole, |phone| self.line(phone));
        let is_final = slice.finality == FINAL;
        if line.is_some_and(|(finality, at)| !is_final && (finality == FINAL || at >= slice.fetched_at)) {
            return;
        }
        let is_settled = line.is_some_and(|(finality, _)| finality == FINAL);
        let before = self.clone();
        for phone in PHONES.into_iter().filter(|phone| name.is_none_or(|name| name == *phone)) {
            let own = |row: &&ArchiveRow| &*row.name == phone;
            let told: BTreeMap<_, _> = slice.rows.iter().filter(own).map(|row| (row.start, row)).collect();
            let held: BTreeMap<_, _> = before.rows.values().filter(own).map(|row| (row.start, row)).collect();
            let stands = before.line(phone).is_some_and(|(finality, _)| finality == FINAL);
            for (start, held) in held.iter().filter(|(_, row)| row.finality == FINAL) {
                let told = told.get(start);
                if told.map_or(is_final, |row| row.finality == FINAL) {
                    self.compare(phone, *start, Some(held), told.copied());
                }
            }
            for (start, told) in told.iter().filter(|(start, row)| row.finality == FINAL && !held.contains_key(start)) {
                if stands {
                    self.compare(phone, *start, None, Some(told));
                }
            }
            let newer = before.alone.get(phone).is_some_and(|(_, at)| *at > slice.fetched_at);
            if is_settled || stands || (!is_final && newer) {
                continue;
            }
            self.rows.retain(|(name, _), row| name != phone || row.finality == FINAL);
            for (start, row) in told {
                self.rows.entry((phone.to_owned(), start)).or_insert_with(|| row.clone());
            }
        }
        if !is_settled {
            if let Some(phone) = name {
                self.alone.insert(phone.to_owned(), told_at);
            } else {
                self.whole = Some(told_at);
                self.alone.retain(|_, (finality, at)| *finality == FINAL || (!is_final && *at > slice.fetched_at));
            }
        }
    }

    fn compare(&mut self, phone: &str, start: Timestamp, held: Option<&ArchiveRow>, told: Option<&ArchiveRow>) {
        for number in 0..2 {
            let told = told.map(|row| sent(row, number));
            if held.map(|row| sent(row, number)) != told {
                self.restated.insert((phone.to_owned(), start, number, told));
            }
        }
    }

    fn slice(&self, key: &ArchiveKey, window: Window) -> Option<ArchivedSlice> {
        let (finality, fetched_at) = key.name.as_deref().map_or(self.whole, |phone| self.line(phone))?;
        let own = |row: &&ArchiveRow| key.name.as_deref().is_none_or(|phone| phone == &*row.name);
        let rows = self.rows.values().filter(own).cloned().collect();
        Some(ArchivedSlice { key: Arc::new(key.clone()), window, finality, fetched_at, rows })
    }
}

/// An answer of a vendor: for the whole channel or one number, of one of two days, with what it tells of each.
#[derive(Debug, Clone)]
struct Told {
    phone: Option<usize>,
    day: u32,
    finality: Finality,
    minutes: u32,
    rows: Vec<(usize, u32, i64, bool)>,
    ends_batch: bool,
}

fn told() -> impl Strategy<Value = Told> {
    let rows = proptest::collection::vec((0..PHONES.len(), 0..3_u32, 0..4_i64, any::<bool>()), 0..7);
    let phone = proptest::option::of(0..PHONES.len());
    (phone, 0..2_u32, any::<bool>(), 0..600_u32, rows, any::<bool>()).prop_map(
        |(phone, day, is_final, minutes, rows, ends_batch)| {
            let finality = if is_final { FINAL } else { PROVISIONAL };
            Told { phone, day, finality, minutes, rows, ends_batch }
        },
    )
}

impl Told {
    fn slice(&self, nth: u32, account: &str) -> Dated {
        let name = self.phone.map(|phone| PHONES[phone].to_owned());
        let of_it = |(phone, ..): &&(usize, u32, i64, bool)| self.phone.is_none_or(|own| own == *phone);
        let mut rows: BTreeMap<(u32, usize), ArchiveRow> = BTreeMap::new();
        for (phone, hour, sent, is_final) in self.rows.iter().filter(of_it) {
            let finality = if self.finality == FINAL || *is_final { FINAL } else { PROVISIONAL };
            rows.insert((*hour, *phone), row(PHONES[*phone], self.day * 24 + hour, *sent, finality));
        }
        let key = ArchiveKey { name, ..channel(account) };
        let window = span(self.day * 24, self.day * 24 + 24);
        let mut dated = dated(&key, window, 0, self.finality, rows.into_values().collect());
        // No two answers are of one instant.
        dated.slice.fetched_at = at(1_000) + Duration::from_secs(60) * self.minutes + Duration::from_millis(1) * nth;
        dated
    }
}

fn sorted(mut slices: Vec<ArchivedSlice>) -> Vec<ArchivedSlice> {
    for slice in &mut slices {
        slice.rows.sort_by(|one, other| (&one.name, one.start).cmp(&(&other.name, other.start)));
    }
    slices
}

/// Writes what was told, twice, and compares what is kept after each batch with the model.
async fn check(archive: &Arc<dyn Archive>, account: &str, all: &[Told]) -> Result<(), TestCaseError> {
    let mut days = [Model::default(), Model::default()];
    let mut restated = 0;
    for pass in 0..2 {
        let mut batch: Vec<Dated> = Vec::new();
        for (nth, told) in all.iter().enumerate() {
            batch.push(told.slice(u32::try_from(nth).unwrap(), account));
            if !told.ends_batch && nth + 1 < all.len() {
                continue;
            }
            for dated in &batch {
                let day = usize::from(dated.slice.window.start() > at(0));
                days[day].take(&dated.slice);
            }
            restated += write(archive, &batch).await.restated;
            batch.clear();
            let noted: usize = days.iter().map(|day| day.restated.len()).sum();
            prop_assert_eq!(restated, noted as u64, "pass {} after {}", pass, nth);
            for name in std::iter::once(None).chain(PHONES.map(Some)) {
                let key = ArchiveKey { name: name.map(str::to_owned), ..channel(account) };
                let windows = [span(0, 24), span(24, 48)];
                let expected: Vec<_> = days.iter().zip(windows).filter_map(|(day, own)| day.slice(&key, own)).collect();
                let found = sorted(read(archive, &key, span(0, 48)).await);
                prop_assert_eq!(&found, &expected, "pass {} after {}: {:?}", pass, nth, name);
                let lines = archive.collected(key.clone(), span(0, 48)).await.unwrap();
                let count = |slice: &ArchivedSlice| (slice.window, slice.finality, slice.rows.len() as u64);
                let lines: Vec<_> = lines.iter().map(|line| (line.window, line.finality, line.row_count)).collect();
                if name.is_none() {
                    prop_assert_eq!(lines, expected.iter().map(count).collect::<Vec<_>>(), "after {}", nth);
                }
            }
        }
    }
    Ok(())
}

/// A run of a property by a fixed seed.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_told_in_whatever_order_is_kept_as_the_model_says() {
    let stores = Stores::open().await;
    for archive in &stores.all {
        let case = std::cell::Cell::new(0);
        let all = proptest::collection::vec(told(), 1..14);
        let ran = runner(60).run(&all, |all| {
            case.set(case.get() + 1);
            let account = format!("case-{}", case.get());
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(check(archive, &account, &all)))
        });
        if let Err(error) = ran {
            panic!("{archive:?}: {error}");
        }
        assert_eq!(archive.miscounts().await.unwrap(), [], "{archive:?}");
    }
}

/// Whoever reads while a slice is replaced sees the one before or the one after, never rows of one with the line of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_is_read_as_a_whole_while_it_is_replaced() {
    let stores = Stores::open().await;
    for archive in &stores.all {
        let key = channel("a");
        let told = |n: u32| {
            let rows = (0..24).map(|hour| row("861", hour, i64::from(n), PROVISIONAL)).collect();
            dated(&key, span(0, 24), 1_000 + n, PROVISIONAL, rows)
        };
        write(archive, &[told(0)]).await;
        let reads = async {
            let mut seen = BTreeSet::new();
            while seen.last() != Some(&60) {
                let slice = read(archive, &key, span(0, 24)).await.remove(0);
                let n = slice.rows[0].numbers[0];
                assert!(
                    slice.rows.len() == 24 && slice.rows.iter().all(|row| row.numbers[0] == n),
                    "{archive:?}: {slice:?}"
                );
                let fetched = u32::try_from(slice.fetched_at.since(at(1_000)).as_secs() / 3_600).unwrap();
                assert_eq!(n, Number::Integer(i64::from(fetched)), "{archive:?}: the rows are the line's");
                seen.insert(fetched);
            }
            seen.len()
        };
        let writes = async {
            for n in 1..=60 {
                write(archive, &[told(n)]).await;
            }
        };
        let (seen, ()) = tokio::join!(reads, writes);
        assert!(seen > 3, "{archive:?}: reads came in between: {seen}");
    }
}
