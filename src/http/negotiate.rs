//! Media types: which one a caller wants back, and whether what they sent is JSON. Pure.

use axum::http::{HeaderMap, HeaderValue, header};

/// How an answer is written. The status codes differ, see [`MediaType::status_of_refusal`](super::answer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/graphql-response+json`: the status tells how the request fared.
    GraphqlResponse,
    /// `application/json`: what older clients know; a well-formed request is answered 200.
    Json,
}

impl MediaType {
    /// The value of `Content-Type`.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// What the `Accept` headers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The better of our two media types, if either will do.
    pub(super) media: Option<MediaType>,
    /// Whether a page is wanted more than data: a browser is asking.
    pub(super) page: bool,
}

/// How much a type is wanted: by its weight, then by how exactly it was named.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Preference {
    weight: f32,
    exactness: u8,
}

/// Reads all `Accept` headers. Without one, or with `*/*`, JSON is wanted; where both types are named alike, the one
/// made for GraphQL wins.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let ranges: Vec<(&str, f32)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(parse_range)
        .collect();
    if ranges.is_empty() {
        return Wanted { media: Some(MediaType::Json), page: false };
    }
    let graphql = preference(&ranges, "application", "graphql-response+json");
    let json = preference(&ranges, "application", "json");
    let page = preference(&ranges, "text", "html").filter(|page| page.exactness == EXACT);
    let media = match (graphql, json) {
        (Some(graphql), Some(json)) if graphql > json || (graphql == json && graphql.exactness == EXACT) => {
            Some(MediaType::GraphqlResponse)
        }
        (Some(_), None) => Some(MediaType::GraphqlResponse),
        (_, Some(_)) => Some(MediaType::Json),
        (None, None) => None,
    };
    Wanted { media, page: page.is_some() && page > graphql && page > json }
}

/// Whether the answer may be compressed with gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut named, mut any) = (None, None);
    for (coding, weight) in all.flat_map(|value| value.split(',')).map(parse_range) {
        match coding {
            _ if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => named = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    named.or(any).is_some_and(|weight| weight > 0.0)
}

/// Whether the body is declared to be JSON in UTF-8. Anything else is refused, above all what a foreign page can make
/// a browser send without asking first.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';');
    parts.next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

const EXACT: u8 = 2;

/// Splits `type/subtype;q=0.5` into the type and its weight.
fn parse_range(range: &str) -> (&str, f32) {
    let mut parts = range.split(';');
    let name = parts.next().unwrap_or_default().trim();
    let weight = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
        .map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
    (name, weight)
}

/// What the most exact range that covers the type says of it; `None` if nothing covers it or its weight is zero.
fn preference(ranges: &[(&str, f32)], kind: &str, subtype: &str) -> Option<Preference> {
    ranges
        .iter()
        .filter_map(|(name, weight)| {
            let exactness = match name.split_once('/')? {
                (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => EXACT,
                (k, "*") if k.eq_ignore_ascii_case(kind) => 1,
                ("*", "*") => 0,
                _ => return None,
            };
            Some(Preference { weight: *weight, exactness })
        })
        .max_by_key(|preference| preference.exactness)
        .filter(|preference| preference.weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_better_of_both_types_is_chosen() {
        use MediaType::{GraphqlResponse, Json};
        for (value, media) in [
            ("application/json", Some(Json)),
            ("application/graphql-response+json", Some(GraphqlResponse)),
            (
                "application/graphql-response+json; charset=utf-8, application/json; charset=utf-8",
                Some(GraphqlResponse),
            ),
            ("application/json, application/graphql-response+json", Some(GraphqlResponse)),
            ("application/graphql-response+json;q=0.5, application/json", Some(Json)),
            ("application/json;q=0.5, */*", Some(GraphqlResponse)),
            ("*/*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/json;q=0, */*;q=0.1", Some(GraphqlResponse)),
            ("APPLICATION/JSON", Some(Json)),
            ("application/json, multipart/mixed", Some(Json)),
            ("text/html", None),
            ("text/csv", None),
            ("application/json;q=0", None),
            ("nonsense", None),
            ("", Some(Json)),
        ] {
            assert_eq!(wanted(&accept(value)).media, media, "{value}");
        }
        assert_eq!(wanted(&HeaderMap::new()).media, Some(Json));
    }

    #[test]
    fn a_browser_wants_a_page_and_a_program_does_not() {
        for (value, page) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true),
            ("text/html", true),
            ("text/html, application/json", false),
            ("text/html;q=0.5, application/json", false),
            ("text/*", false),
            ("*/*", false),
        ] {
            assert_eq!(wanted(&accept(value)).page, page, "{value}");
        }
    }

    #[test]
    fn gzip_is_taken_by_those_who_say_so() {
        for (value, gzip) in [
            ("gzip, deflate, br", true),
            ("GZIP;q=0.1", true),
            ("*", true),
            ("*, gzip;q=0", false),
            ("gzip;q=0.0", false),
            ("br", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(accepts_gzip(&headers), gzip, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn only_json_in_utf_8_is_json() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonp", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_json(&headers), json, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
