//! The archive as a whole, on both stores: who collects, what is held, whether it adds up, what was told otherwise, and what
//! is to be forgotten.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use weir::archive::{Archive, ArchiveErrorKind, open};
use weir::domain::{ArchiveKey, ArchiveRow, Number};

use super::stores::{FINAL, PROVISIONAL, Stores, application, at, channel, dated, read, row, span, write};
use crate::support::postgres::Postgres;

fn province(place: &str, users: f64) -> ArchiveRow {
    let numbers = [Number::Float(users), Number::Float(12.5)];
    ArchiveRow { name: place.into(), start: at(0), end: at(24), numbers, finality: FINAL }
}

/// Whether `archive` leads within a few seconds.
async fn comes_to_lead(archive: &Arc<dyn Archive>) -> bool {
    for _ in 0..100 {
        if archive.lead().await.is_ok_and(|leads| leads) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn one_process_collects_and_another_takes_over_when_it_ends() {
    let dir = TempDir::new().unwrap();
    let server = Postgres::start().await;
    let file = format!("sqlite:{}", dir.path().join("weir.db").display());
    for url in std::iter::once(file).chain(server.as_ref().map(Postgres::url)) {
        let [first, second, third] = [(); 3].map(|()| open(&url, "").unwrap());
        for _ in 0..3 {
            let leads = [first.lead().await.unwrap(), second.lead().await.unwrap(), third.lead().await.unwrap()];
            assert_eq!(leads, [true, false, false], "{first:?}");
        }
        drop(first);
        assert!(comes_to_lead(&second).await, "{second:?} takes over");
        assert!(!third.lead().await.unwrap() && second.lead().await.unwrap(), "{second:?}");
    }
}

#[tokio::test]
async fn who_has_lost_its_connection_leads_no_more() {
    let Some(mut server) = Postgres::start().await else { return };
    let [first, second] = [(); 2].map(|()| open(&server.url(), "").unwrap());
    assert!(first.lead().await.unwrap() && !second.lead().await.unwrap());
    let holder = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'";
    server.run(holder).await;
    assert!(comes_to_lead(&second).await);
    assert!(!first.lead().await.unwrap(), "it notices, and another has the lock");
    // A server that stands still is no proof of anything.
    server.pause(true);
    let asked = tokio::time::timeout(Duration::from_secs(20), second.lead()).await.expect("it does not wait for ever");
    assert_eq!(asked.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    server.pause(false);
    assert!(comes_to_lead(&second).await || comes_to_lead(&first).await);
    server.kill();
    for archive in [&first, &second] {
        assert_eq!(archive.lead().await.unwrap_err().kind, ArchiveErrorKind::Unavailable);
    }
    server.restart().await;
    assert!(comes_to_lead(&first).await);
    assert!(!second.lead().await.unwrap());
}

#[tokio::test]
async fn what_is_held_is_told_key_by_key() {
    let stores = Stores::open().await;
    for archive in &stores.all {
        assert_eq!(archive.holdings().await.unwrap(), [], "{archive:?}");
        let empty = archive.size().await.unwrap();
        let nameless = ArchiveKey { entity: None, ..channel("b") };
        let phone = ArchiveKey { name: Some("8613".to_owned()), ..channel("b") };
        let many = (0..2_000).map(|phone| row(&format!("86{phone}"), 3, 7, FINAL)).collect();
        let slices = [
            dated(&channel("a"), span(0, 24), 90, FINAL, many),
            dated(&channel("a"), span(24, 48), 92, FINAL, vec![]),
            dated(&channel("a"), span(72, 96), 91, PROVISIONAL, vec![row("861", 73, 1, PROVISIONAL)]),
            dated(&nameless, span(0, 24), 92, FINAL, vec![row("863", 3, 4, FINAL)]),
            dated(&phone, span(0, 24), 93, FINAL, vec![row("8613", 4, 2, FINAL)]),
            dated(&application("a"), span(0, 24), 94, FINAL, vec![province("上海", 3.0), province("北京", 4.25)]),
            dated(&application("a"), span(0, 48), 95, PROVISIONAL, vec![]),
        ];
        write(archive, &slices).await;
        let holdings = archive.holdings().await.unwrap();
        let told: Vec<_> = holdings
            .iter()
            .map(|own| {
                (own.window_length.as_deref(), own.final_slices, own.provisional_slices, own.rows, own.fetched_at)
            })
            .collect();
        let expected = [
            (None, 2, 1, 2_001, at(92)),
            (None, 1, 0, 1, at(92)),
            (Some("P1D"), 1, 0, 2, at(94)),
            (Some("P2D"), 0, 1, 0, at(95)),
        ];
        assert_eq!(told, expected, "{archive:?}");
        let keys: Vec<&ArchiveKey> = holdings.iter().map(|own| &own.key).collect();
        assert_eq!(keys, [&channel("a"), &nameless, &application("a"), &application("a")], "{archive:?}");
        assert_eq!((holdings[0].first, holdings[0].last), (at(0), at(96)), "{archive:?}");
        assert!(archive.size().await.unwrap() >= empty + 100_000, "{archive:?}: 2000 rows take room");
    }
}

#[tokio::test]
async fn numbers_that_were_told_otherwise_are_listed_newest_first() {
    let stores = Stores::open().await;
    for archive in &stores.all {
        write(archive, &[dated(&channel("a"), span(0, 24), 90, FINAL, vec![row("8610000001", 3, 8, FINAL)])]).await;
        for (fetched, sent) in [(91, 10), (92, 12), (93, 12)] {
            let rows = vec![row("8610000001", 3, sent, FINAL)];
            write(archive, &[dated(&channel("a"), span(0, 24), fetched, FINAL, rows)]).await;
        }
        write(archive, &[dated(&channel("a"), span(0, 24), 94, FINAL, vec![])]).await;
        let (all, newest) = archive.restated(3).await.unwrap();
        assert_eq!(all, 6, "{archive:?}: two numbers, told in three other ways");
        let told: Vec<_> =
            newest.iter().map(|one| (&*one.metric, one.held_value, one.told_value, one.told_fetched_at)).collect();
        let expected = [
            ("delivered_count", Some(4.0), None, at(94)),
            ("sent_count", Some(8.0), None, at(94)),
            ("delivered_count", Some(4.0), Some(6.0), at(92)),
        ];
        assert_eq!(told, expected, "{archive:?}");
        let one = &newest[0];
        assert_eq!((&one.key, &*one.name, one.held_fetched_at), (&channel("a"), "8610000001", Some(at(90))));
        assert!(!format!("{newest:?}").contains("8610000001"), "{newest:?}");
        assert_eq!(read(archive, &channel("a"), span(0, 24)).await[0].rows[0].numbers[0], Number::Integer(8));
    }
}

#[tokio::test]
async fn rows_that_are_lost_or_doubled_are_found() {
    let stores = Stores::open().await;
    for (archive, store) in stores.all.iter().zip(0..) {
        let rows = |hours: std::ops::Range<u32>| hours.map(|hour| row("861", hour, 7, FINAL)).collect();
        let slices = [
            dated(&channel("a"), span(0, 24), 90, FINAL, rows(0..9)),
            dated(&channel("a"), span(24, 48), 90, PROVISIONAL, rows(24..26)),
            dated(&channel("a"), span(48, 72), 90, FINAL, vec![]),
            dated(&application("a"), span(0, 24), 94, FINAL, vec![province("上海", 3.0), province("北京", 4.25)]),
        ];
        write(archive, &slices).await;
        assert_eq!(archive.miscounts().await.unwrap(), [], "{archive:?}");
        let damage = [
            "DELETE FROM phone_number_metrics WHERE start_time < '2026-11-01 03:00:00'",
            "UPDATE collected SET row_count = 5 WHERE finality = 'PROVISIONAL'",
            "DELETE FROM operation_distributions WHERE distribution_name = '上海'",
        ];
        if store == 0 {
            let file = Connection::open(stores.file()).unwrap();
            file.execute_batch(&damage.join(";")).unwrap();
        } else if let Some(server) = &stores.server {
            server.run(&format!("SET search_path = weir; SET TIME ZONE 'UTC'; {}", damage.join(";"))).await;
        }
        let found = archive.miscounts().await.unwrap();
        let told: Vec<_> =
            found.iter().map(|one| (&one.key, one.window, one.finality, one.row_count, one.counted)).collect();
        let (channel, application) = (channel("a"), application("a"));
        let expected = [
            (&channel, span(0, 24), FINAL, 9, 6),
            (&channel, span(24, 48), PROVISIONAL, 5, 2),
            (&application, span(0, 24), FINAL, 2, 1),
        ];
        assert_eq!(told, expected, "{archive:?}");
    }
}

#[tokio::test]
async fn rows_of_a_phone_number_that_was_asked_for_alone_are_recounted() {
    let stores = Stores::open().await;
    for (archive, store) in stores.all.iter().zip(0..) {
        let phone = |name: &str| ArchiveKey { name: Some(name.to_owned()), ..channel("a") };
        let rows = |name: &str| (0..4).map(|hour| row(name, hour, 7, FINAL)).collect();
        let slices = [
            dated(&phone("861"), span(0, 24), 90, FINAL, rows("861")),
            dated(&phone("862"), span(0, 24), 91, FINAL, rows("862")),
            dated(&phone("863"), span(24, 48), 92, FINAL, vec![]),
        ];
        write(archive, &slices).await;
        assert_eq!(archive.miscounts().await.unwrap(), [], "{archive:?}");
        let damage =
            "DELETE FROM phone_number_metrics WHERE phone_number = '861' AND start_time < '2026-11-01 03:00:00'";
        if store == 0 {
            Connection::open(stores.file()).unwrap().execute(damage, []).unwrap();
        } else if let Some(server) = &stores.server {
            server.run(&format!("SET search_path = weir; SET TIME ZONE 'UTC'; {damage}")).await;
        }
        let found = archive.miscounts().await.unwrap();
        let told: Vec<_> = found.iter().map(|one| (&one.key, one.window, one.row_count, one.counted)).collect();
        assert_eq!(told, [(&phone("861"), span(0, 24), 4, 1)], "{archive:?}");
    }
}

#[tokio::test]
async fn a_phone_number_is_forgotten_down_to_its_digits() {
    const FORGOTTEN: &str = "861399900077";
    let stores = Stores::open().await;
    for (archive, store) in stores.all.iter().zip(0..) {
        let key = channel("a");
        let phone = ArchiveKey { name: Some(FORGOTTEN.to_owned()), ..channel("a") };
        let names: Vec<String> = (0..60).map(|n| format!("8613{n:08}")).chain([FORGOTTEN.to_owned()]).collect();
        let rows = |day: u32, finality| -> Vec<ArchiveRow> {
            let hours = (0..24).flat_map(|hour| names.iter().map(move |name| (name, hour)));
            hours.map(|(name, hour)| row(name, day * 24 + hour, 7, finality)).collect()
        };
        for day in 0..8 {
            let window = span(day * 24, day * 24 + 24);
            write(archive, &[dated(&key, window, 500, PROVISIONAL, rows(day, PROVISIONAL))]).await;
            if day < 6 {
                write(archive, &[dated(&key, window, 501, FINAL, rows(day, FINAL))]).await;
            }
        }
        let alone = vec![row(FORGOTTEN, 200, 1, FINAL)];
        write(archive, &[dated(&phone, span(192, 216), 502, FINAL, alone)]).await;
        let otherwise = vec![row(FORGOTTEN, 3, 9, FINAL)];
        write(archive, &[dated(&phone, span(0, 24), 503, FINAL, otherwise)]).await;
        let (restated, _) = archive.restated(0).await.unwrap();
        assert!(restated > 0, "{archive:?}");
        let gone = archive.forget(FORGOTTEN.to_owned()).await.unwrap();
        assert_eq!(gone, 8 * 24 + 1 + 1 + restated, "{archive:?}: rows, a line of its own, and numbers told otherwise");
        assert_eq!(archive.miscounts().await.unwrap(), [], "{archive:?}");
        assert_eq!(archive.restated(0).await.unwrap().0, 0, "{archive:?}");
        let left = read(archive, &key, span(0, 240)).await;
        assert_eq!(
            left.iter().map(|slice| slice.rows.len()).sum::<usize>(),
            8 * 24 * 60,
            "{archive:?}: all of the others"
        );
        assert!(left.iter().all(|slice| slice.rows.iter().all(|row| &*row.name != FORGOTTEN)), "{archive:?}");
        assert_eq!(archive.forget(FORGOTTEN.to_owned()).await.unwrap(), 0, "{archive:?}");
        if store == 0 {
            let file = stores.file();
            for path in [file.clone(), file.with_extension("db-wal")] {
                let bytes = std::fs::read(&path).unwrap();
                let there = bytes.windows(FORGOTTEN.len()).filter(|part| *part == FORGOTTEN.as_bytes()).count();
                assert_eq!(there, 0, "{}", path.display());
            }
        }
    }
}
