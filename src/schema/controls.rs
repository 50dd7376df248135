//! What a request says in its own `extensions.weir` about how it wants to be served.

use std::collections::HashMap;
use std::time::Duration;

use async_graphql::Value;

use super::scalars::IsoDuration;
use crate::domain::wording::echo;
use crate::domain::{Class, Freshness};
use crate::error::WeirError;

/// The longest wait that a request may ask for.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// The controls of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) priority: Class,
    pub(super) max_stale: Option<Duration>,
    pub(super) max_wait: Option<Duration>,
    pub(super) freshness: Freshness,
    pub(super) explain: bool,
}

impl Controls {
    /// Reads `extensions.weir`; other extensions are not ours.
    pub(super) fn parse(extensions: &HashMap<String, Value>) -> Result<Self, WeirError> {
        let mut controls = Self::default();
        let fields = match extensions.get("weir") {
            None | Some(Value::Null) => return Ok(controls),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(WeirError::bad_input("extensions.weir must be an object")),
        };
        for (name, value) in fields {
            match name.as_str() {
                "priority" => {
                    let names =
                        [("INTERACTIVE", Class::Interactive), ("BULK", Class::Bulk), ("BACKGROUND", Class::Background)];
                    controls.priority = choose("priority", value, &names)?;
                }
                "freshness" => {
                    let names = [("ANY", Freshness::Any), ("FINAL_ONLY", Freshness::FinalOnly)];
                    controls.freshness = choose("freshness", value, &names)?;
                }
                "maxStale" => controls.max_stale = Some(duration("maxStale", value)?),
                "maxWait" => {
                    let wait = duration("maxWait", value)?;
                    if wait > MAX_WAIT {
                        return Err(WeirError::bad_input("extensions.weir.maxWait may be at most PT1H"));
                    }
                    controls.max_wait = Some(wait);
                }
                "explain" => match value {
                    Value::Boolean(explain) => controls.explain = *explain,
                    _ => return Err(WeirError::bad_input("extensions.weir.explain must be true or false")),
                },
                unknown => {
                    return Err(WeirError::bad_input(format!(
                        "extensions.weir.{} is unknown; there are priority, maxStale, maxWait, freshness and explain",
                        echo(unknown)
                    )));
                }
            }
        }
        Ok(controls)
    }
}

fn choose<T: Copy>(name: &str, value: &Value, names: &[(&str, T)]) -> Result<T, WeirError> {
    let text = match value {
        Value::String(text) => text.as_str(),
        Value::Enum(text) => text.as_str(),
        _ => "",
    };
    names.iter().find(|(known, _)| *known == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(known, _)| *known).collect();
        WeirError::bad_input(format!("extensions.weir.{name} must be one of {}", known.join(", ")))
    })
}

fn duration(name: &str, value: &Value) -> Result<Duration, WeirError> {
    let read = match value {
        Value::String(text) => IsoDuration::read(text).ok(),
        _ => None,
    };
    read.map(|duration| duration.0).ok_or_else(|| {
        WeirError::bad_input(format!("extensions.weir.{name} must be an ISO 8601 duration, such as PT30S or PT0S"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::value;

    fn parse(weir: Value) -> Result<Controls, WeirError> {
        Controls::parse(&HashMap::from([("weir".to_owned(), weir), ("other".to_owned(), value!(1))]))
    }

    #[test]
    fn every_control_is_read() {
        let controls = parse(value!({
            "priority": "BULK", "maxStale": "PT0S", "maxWait": "PT2M", "freshness": "FINAL_ONLY", "explain": true
        }));
        let expected = Controls {
            priority: Class::Bulk,
            max_stale: Some(Duration::ZERO),
            max_wait: Some(Duration::from_mins(2)),
            freshness: Freshness::FinalOnly,
            explain: true,
        };
        assert_eq!(controls.unwrap(), expected);
        assert_eq!(parse(value!({})).unwrap(), Controls::default());
        assert_eq!(Controls::parse(&HashMap::new()).unwrap(), Controls::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (weir, word) in [
            (value!({"prioritty": "BULK"}), "prioritty"),
            (value!({"priority": "bulk"}), "INTERACTIVE, BULK"),
            (value!({"maxWait": "P2D"}), "PT1H"),
            (value!({"maxStale": 5}), "maxStale"),
            (value!({"explain": "yes"}), "explain"),
            (value!([]), "object"),
        ] {
            let refusal = parse(weir).unwrap_err().message;
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
