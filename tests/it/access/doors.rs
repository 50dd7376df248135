//! No door can forget to ask who is there.

use axum::body::Body;
use axum::http::{Method, Request};

use super::{api_key, door, send};
use crate::support::TestGateway;
use crate::support::sources::{code_of, sources};

/// Callers are made where keys and tokens are looked at, and nowhere else: neither of these words is said at a door.
#[test]
fn nobody_is_anonymous_but_where_no_keys_are() {
    let may = [
        "src/access/mod.rs",
        "src/domain/caller.rs",
        "src/cli/query.rs",
        "src/cli/rows.rs",
        "src/cli/check/online.rs",
        // Whose waits the metrics tell.
        "src/query/service.rs",
    ];
    let mut found = Vec::new();
    for source in sources("src") {
        let path = source.path.display().to_string();
        let code = code_of(&source.text);
        for word in ["Caller::Anonymous", "Caller::known", "Caller::Known", "Caller::default"] {
            if code.contains(word)
                && !may.iter().any(|may| path.ends_with(may))
                && !path.ends_with("src/access/tokens.rs")
            {
                found.push(format!("{path} says {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Numbers leave the query layer by one way, which asks for rights and masks; and whole numbers are read in few places.
#[test]
fn whole_phone_numbers_are_read_in_few_places() {
    let may = [
        "src/domain/ids.rs",
        "src/domain/mask.rs",
        "src/domain/series.rs",
        "src/vendor/alibaba_cams/phone_number_metrics.rs",
        // Of what the query layer has masked where it must be.
        "src/schema/phone_number_metric.rs",
        "src/schema/total.rs",
        "src/schema/channel.rs",
        "src/query/pull/batch.rs",
        "src/query/phone_number_metrics.rs",
        "src/cli/archive.rs",
    ];
    let found: Vec<_> = sources("src")
        .into_iter()
        .filter(|source| {
            let code = code_of(&source.text);
            code.contains("phone.expose()") || code.contains("PhoneNumber::expose")
        })
        .map(|source| source.path.display().to_string())
        .filter(|path| {
            !path.contains("/sim/") && !path.ends_with("tests.rs") && !may.iter().any(|may| path.ends_with(may))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn every_method_asks() {
    let gateway = TestGateway::builder().config(|config| config.api_keys = vec![api_key("own", "weir_own")]).build();
    let site = door(&gateway);
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/graphql", "/rows/phone_number_metrics.csv", "/graphql/ws", "/"] {
            let request = Request::builder().method(&method).uri(path).header("host", "localhost");
            let got =
                send(&site, request.header("content-type", "application/json").body(Body::from("{}")).unwrap()).await;
            assert_eq!(got.status, 401, "{method} {path}");
        }
    }
    // What a browser asks before it asks tells nothing.
    let request = Request::builder().method(Method::OPTIONS).uri("/graphql").header("host", "localhost");
    let got = send(&site, request.body(Body::empty()).unwrap()).await;
    assert!(!got.text().contains("data"), "{}", got.text());
}
