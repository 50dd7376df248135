//! Totals are the sums of the rows, in every zone, and say so where they cannot be.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use weir::domain::Timestamp;

use crate::support::{TestGateway, codes};

const TOTALS: &str = "query($channels: [ID!], $granularity: Granularity!, $range: TimeRange!, $by: [TotalsKey!]!, $period: Period, $zone: String, $fill: Boolean!) {
  phoneNumberMetricTotals(custSpaceIds: $channels, granularity: $granularity, range: $range, by: $by, period: $period, timeZone: $zone, fill: $fill) {
    custSpaceId phoneNumber start end date sentCount deliveredCount deliveryRate buckets isPartial finality fetchedAt
  }
}";
const ROWS: &str = "query($channel: ID, $granularity: Granularity!, $range: TimeRange!) {
  phoneNumberMetrics(custSpaceId: $channel, granularity: $granularity, range: $range, first: 100000) {
    nodes { phoneNumber start sentCount deliveredCount finality }
  }
}";
const CHANNELS: [&str; 2] = ["cams-alpha", "cams-beta"];
const ZONES: [&str; 6] =
    ["Asia/Shanghai", "UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"];

/// The first instant of the period that holds `at`, by the calendar alone.
fn period_start(at: Timestamp, period: &str, zone: &TimeZone) -> Timestamp {
    let local = at.to_jiff().to_zoned(zone.clone());
    let midnight = local.start_of_day().unwrap();
    let start = match period {
        "HOUR" => {
            let floor = jiff::ZonedRound::new().smallest(jiff::Unit::Hour).mode(jiff::RoundMode::Floor);
            local.round(floor).unwrap()
        }
        "DAY" => midnight,
        "WEEK" => {
            let days = local.weekday().to_monday_zero_offset();
            local.date().checked_sub(jiff::Span::new().days(days)).unwrap().to_zoned(zone.clone()).unwrap()
        }
        _ => local.date().first_of_month().to_zoned(zone.clone()).unwrap(),
    };
    start.timestamp().into()
}

type Sums = BTreeMap<(Timestamp, Option<String>, Option<String>), (i64, i64, i64)>;

fn at(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn totals_are_the_sums_of_the_rows() {
    let mut rng = StdRng::seed_from_u64(10);
    for now in ["2026-11-02T10:20:30Z", "2026-04-06T03:00:00Z", "2026-10-05T08:00:00Z"] {
        let gateway = TestGateway::builder().now(now).build();
        for ask in 0..80 {
            let zone_name = ZONES[rng.random_range(0..ZONES.len())];
            let period = ["HOUR", "DAY", "WEEK", "MONTH"][rng.random_range(0..4)];
            let zone = TimeZone::get(zone_name).unwrap();
            let end = gateway.now().as_secs() - rng.random_range(0..5 * 86_400);
            let start = end - rng.random_range(3_600..12 * 86_400);
            let range = json!({"between": {
                "start": Timestamp::from_secs(start).to_string(), "end": Timestamp::from_secs(end).to_string(),
            }});
            let (by_channel, by_phone) = (rng.random(), rng.random());
            let by: Vec<&str> = [("CHANNEL", by_channel), ("PHONE_NUMBER", by_phone)]
                .iter()
                .filter(|(_, by)| *by)
                .map(|(key, _)| *key)
                .collect();
            let variables = json!({"channels": CHANNELS, "granularity": "HALF_HOUR", "range": range, "by": by,
                "period": period, "zone": zone_name, "fill": false});
            let answer = gateway.ask(TOTALS, variables).await;
            let what = format!("{now}, ask {ask}: {period} in {zone_name}, {range}");
            assert_eq!(codes(&answer), Vec::<String>::new(), "{what}");
            let mut expected = Sums::new();
            for channel in CHANNELS {
                let rows =
                    gateway.ask(ROWS, json!({"channel": channel, "granularity": "HALF_HOUR", "range": range})).await;
                for row in rows["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap() {
                    let place = (
                        period_start(at(&row["start"]), period, &zone),
                        by_channel.then(|| channel.to_owned()),
                        by_phone.then(|| text(&row["phoneNumber"]).unwrap()),
                    );
                    let sum = expected.entry(place).or_default();
                    sum.0 += row["sentCount"].as_i64().unwrap();
                    sum.1 += row["deliveredCount"].as_i64().unwrap();
                    sum.2 += 1;
                }
            }
            let totals = answer["data"]["phoneNumberMetricTotals"].as_array().unwrap();
            let answered: Vec<_> = totals
                .iter()
                .map(|total| {
                    let place = (at(&total["start"]), text(&total["custSpaceId"]), text(&total["phoneNumber"]));
                    let count = |name: &str| total[name].as_i64().unwrap();
                    (place, (count("sentCount"), count("deliveredCount"), count("buckets")))
                })
                .collect();
            assert!(answered == expected.into_iter().collect::<Vec<_>>(), "{what}");
            for total in totals {
                let is_cut = at(&total["start"]).as_secs() < start || at(&total["end"]).as_secs() > end;
                assert_eq!(total["isPartial"], json!(is_cut), "{what}: {total}");
                let date = at(&total["start"]).to_jiff().to_zoned(zone.clone()).date().to_string();
                assert_eq!(total["date"], json!(date), "{what}");
            }
        }
    }
}

fn daily(zone: Option<&str>, period: Option<&str>, fill: bool) -> Value {
    json!({"channels": ["cams-alpha"], "granularity": "DAILY", "range": {"last": "P20D"}, "by": [],
        "period": period, "zone": zone, "fill": fill})
}

#[tokio::test(start_paused = true)]
async fn days_are_added_up_in_their_own_zone_alone() {
    let gateway = TestGateway::start();
    let unknown = gateway.data("{ channel(custSpaceId: \"cams-alpha\") { timeZone } }").await;
    assert_eq!(unknown["channel"]["timeZone"], Value::Null, "no reply has shown it yet");
    let own = gateway.ask(TOTALS, daily(None, Some("DAY"), false)).await;
    assert_eq!(codes(&own), Vec::<String>::new());
    let shown = gateway.data("{ channel(custSpaceId: \"cams-alpha\") { timeZone } }").await;
    assert_eq!(shown["channel"]["timeZone"], json!("+08:00"));
    let named = gateway.ask(TOTALS, daily(Some("Asia/Shanghai"), Some("DAY"), false)).await;
    assert_eq!(named["data"], own["data"], "it is the same zone");
    for (zone, period) in [(Some("Europe/Berlin"), Some("DAY")), (Some("UTC"), None), (None, Some("HOUR"))] {
        let answer = gateway.ask(TOTALS, daily(zone, period, false)).await;
        assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{zone:?} {period:?}");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("HALF_HOUR"), "{answer}");
    }
    let quarter = json!({"channels": ["cams-alpha"], "granularity": "HALF_HOUR", "range": {"last": "P2D"}, "by": [],
        "period": "DAY", "zone": "Asia/Kathmandu", "fill": false});
    assert_eq!(codes(&gateway.ask(TOTALS, quarter).await), ["BAD_USER_INPUT"]);
    assert_eq!(codes(&gateway.ask(TOTALS, daily(Some("Asia/Shanghia"), None, false)).await), ["BAD_USER_INPUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_total_is_final_only_if_all_under_it_is() {
    let gateway = TestGateway::start();
    let whole = gateway.ask(TOTALS, daily(None, None, false)).await;
    let whole = &whole["data"]["phoneNumberMetricTotals"];
    assert_eq!((whole.as_array().unwrap().len(), &whole[0]["finality"]), (1, &json!("PROVISIONAL")));
    assert_eq!(whole[0]["isPartial"], json!(false));
    let days = gateway.ask(TOTALS, daily(None, Some("DAY"), true)).await;
    let days = days["data"]["phoneNumberMetricTotals"].as_array().unwrap().clone();
    assert_eq!(days.len(), 21, "each day, with messages or without");
    let finals = days.iter().filter(|day| day["finality"] == json!("FINAL")).count();
    assert!((10..20).contains(&finals), "{finals} of the days are final");
    assert!(days.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]));
    assert_eq!(days.last().unwrap()["finality"], json!("PROVISIONAL"));
    let sum: i64 = days.iter().map(|day| day["sentCount"].as_i64().unwrap()).sum();
    assert_eq!(whole[0]["sentCount"], json!(sum));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_named_twice_counts_once() {
    let gateway = TestGateway::start();
    for by in [json!([]), json!(["CHANNEL"])] {
        let mut answers = Vec::new();
        for channels in [json!(["cams-alpha", "cams-beta"]), json!(["cams-alpha", "cams-beta", "cams-alpha"])] {
            let variables = json!({"channels": channels, "granularity": "DAILY", "range": {"last": "P20D"}, "by": by,
                "period": null, "zone": null, "fill": false});
            answers.push(gateway.ask(TOTALS, variables).await["data"]["phoneNumberMetricTotals"].clone());
        }
        assert!(answers[0][0]["sentCount"].as_i64().unwrap() > 0);
        assert_eq!(answers[0], answers[1], "{by}");
    }
}

/// Half hours of two channels whose days begin in different zones: there is no one date.
#[tokio::test(start_paused = true)]
async fn a_total_of_channels_in_several_zones_has_no_date_that_only_one_of_them_has() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut other = config.alibaba_cams[0].clone();
            (config.alibaba_cams[0].channels, other.channels) = (vec!["cams-alpha".into()], vec!["cams-beta".into()]);
            config.alibaba_cams[0].templates.clear();
            other.templates.clear();
            other.name = "other".to_owned();
            (config.alibaba_cams[0].time_zone, other.time_zone) = ("Asia/Shanghai".into(), "Europe/Berlin".into());
            config.alibaba_cams.push(other);
        })
        .build();
    let dates = async |start: &str, by: Value| -> Vec<Value> {
        let range = json!({"between": {"start": start, "end": "2026-11-20T10:00:00Z"}});
        let variables = json!({"channels": CHANNELS, "granularity": "HALF_HOUR", "range": range, "by": by,
            "period": null, "zone": null, "fill": false});
        let answer = gateway.ask(TOTALS, variables).await;
        let totals = answer["data"]["phoneNumberMetricTotals"].as_array().unwrap();
        totals.iter().map(|total| total["date"].clone()).collect()
    };
    assert_eq!(dates("2026-11-17T18:00:00Z", json!(["CHANNEL"])).await, [json!("2026-11-18"), json!("2026-11-17")]);
    assert_eq!(dates("2026-11-17T18:00:00Z", json!([])).await, [Value::Null]);
    assert_eq!(dates("2026-11-17T08:00:00Z", json!([])).await, [json!("2026-11-17")]);
}
