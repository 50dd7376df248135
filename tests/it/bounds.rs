//! What is certain of distinct users over a long range lies around the truth.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::Duration;
use weir::domain::time::HOUR;
use weir::domain::{Timestamp, Window};
use weir::sim::{self, Fault, Scope, Times};

use crate::support::{DISTRIBUTION, TestGateway, codes};

#[tokio::test(start_paused = true)]
async fn the_truth_lies_between_the_bounds() {
    let gateway = TestGateway::builder().max_wait(86_400).build();
    let mut rng = StdRng::seed_from_u64(11);
    // Old enough that all data has arrived.
    let newest = gateway.now().floor(HOUR) - 10 * HOUR;
    let (mut checked, mut strict) = (0, 0);
    for n in 0..1_000 {
        let end = newest - HOUR * rng.random_range(0..200_u32);
        let start = end - HOUR * rng.random_range(1..480_u32);
        let (app, dimension, place) =
            [("app-one", "PROVINCE", sim::Dimension::Province), ("app-two", "COUNTRY", sim::Dimension::Country)][n % 2];
        let query = format!(
            "{{ operationDistributionBounds(appId: \"{app}\", dimension: {dimension}, range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) {{ windows finality data {{ distributionName atLeast atMost }} }} }}"
        );
        let answer = gateway.query(&query).await;
        assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
        let bounds = &answer["data"]["operationDistributionBounds"];
        let hours = end.since(start).as_secs() / 3_600;
        assert_eq!(bounds["windows"], json!(hours.div_ceil(168)));
        let rows = bounds["data"].as_array().unwrap();
        for (name, users) in gateway.sim().world().users(app, place, Window::new(start, end).unwrap()) {
            let truth = users.len() as f64;
            if truth == 0.0 {
                continue;
            }
            let row = rows
                .iter()
                .find(|row| row["distributionName"] == json!(name))
                .unwrap_or_else(|| panic!("{name} is missing"));
            let (least, most) = (row["atLeast"].as_f64().unwrap(), row["atMost"].as_f64().unwrap());
            assert!(least <= truth && truth <= most, "{name}: {least} <= {truth} <= {most}");
            checked += 1;
            strict += usize::from(least < truth && truth < most);
        }
    }
    assert!(checked > 10_000 && strict > 1_000, "{checked} bounds, {strict} of them strict");
}

#[tokio::test(start_paused = true)]
async fn weeks_are_shared_and_a_missing_window_is_no_bound() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let query = r#"{ operationDistributionBounds(appId: "app-one", range: {last: "P29D"}) { start end windows finality data { atLeast atMost } } }"#;
    let answer = gateway.query(query).await;
    let bounds = &answer["data"]["operationDistributionBounds"];
    assert_eq!((&bounds["windows"], &bounds["finality"]), (&json!(5), &json!("PROVISIONAL")), "{answer}");
    assert_eq!(gateway.calls(DISTRIBUTION), 5);
    // An hour later only the first and the last window are others.
    gateway.clock().set(gateway.now() + Duration::from_hours(1));
    gateway.query(query).await;
    assert!(gateway.calls(DISTRIBUTION) <= 5 + 2 + 1, "{}", gateway.calls(DISTRIBUTION));
    let gateway = TestGateway::builder().max_wait(600).build();
    gateway.sim().faults().push(Fault::PermissionDenied, Scope::operation(DISTRIBUTION), Times::Next(1));
    let answer = gateway.query(query).await;
    assert_eq!(
        (codes(&answer), &answer["data"]["operationDistributionBounds"]),
        (vec!["VENDOR_DENIED".to_owned()], &json!(null))
    );
    assert!(Timestamp::parse_rfc3339(crate::support::NOW).is_ok());
}
