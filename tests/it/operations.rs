//! What the operator sees: metrics under fixed names that are all explained.

mod counted;
mod documents;
mod names;
mod slow;
pub(crate) mod traces;

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;
use weir::http::Site;

use crate::rows::door;
use crate::support::TestGateway;

/// One line of `/metrics` that is no comment.
#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What Prometheus would read.
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    /// Of a gateway behind one site: what the site alone keeps is read as well.
    pub(crate) async fn of(site: &Site) -> Self {
        let request = Request::get("/metrics").header("host", "localhost").body(Body::empty()).unwrap();
        let response = site.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Self::read(std::str::from_utf8(&body).unwrap())
    }

    fn read(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap().split("\",").filter(|label| !label.is_empty());
            let label = |label: &str| {
                let (name, value) = label.split_once("=\"").unwrap();
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            };
            Sample { name: name.to_owned(), labels: labels.map(label).collect(), value: value.parse().unwrap() }
        };
        Self(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect())
    }

    /// All series of a name that have these labels, added up.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    fn find<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|own| own == value))
        };
        self.0.iter().filter(move |sample| sample.name == name && has(sample))
    }

    /// The same, as a whole number.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        format!("{}", self.sum(name, labels)).parse().unwrap()
    }
}

async fn samples(gateway: &TestGateway) -> Samples {
    Samples::of(&door(gateway)).await
}
