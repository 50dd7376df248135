//! What a request says about how it wants to be served, whichever way it says so.

use std::fmt;
use std::time::Duration;

use crate::domain::duration::parse_iso;
use crate::domain::wording::echo;
use crate::domain::{Caller, Class, Freshness, Timestamp};
use crate::error::{Code, WeirError};

/// The longest wait that a request may ask for.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// The controls of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// How urgent it is, if it says so.
    pub priority: Option<Class>,
    /// How far past its time to live an answer may be served, if less than configured; zero forbids it.
    pub max_stale: Option<Duration>,
    /// The longest wait for permits, if not the configured one.
    pub max_wait: Option<Duration>,
    /// Which answers will do.
    pub freshness: Freshness,
    /// What may still change must have been asked for after this instant: of whoever collects, no caller says so.
    pub fetched_since: Option<Timestamp>,
    /// Whether only the plan is wanted.
    pub explain: bool,
}

/// The value of a control as it was sent.
#[derive(Debug, Clone, Copy)]
pub enum Setting<'a> {
    /// A text, or a word.
    Text(&'a str),
    /// True or false.
    Flag(bool),
    /// Anything else: no control takes it.
    Other,
}

impl Controls {
    /// The class in which the caller asks, at a door whose requests are `usual`ly of one.
    ///
    /// # Errors
    /// [`Code::Forbidden`] if the caller may not ask in it.
    pub(super) fn class(&self, caller: &Caller, usual: Class) -> Result<Class, WeirError> {
        caller.class(self.priority, usual).ok_or_else(|| {
            let classes: Vec<_> = caller.classes().map(Class::as_str).collect();
            let message = format!(
                "`{}` may not ask in class {}; as priority it may say {}",
                echo(caller.name()),
                self.priority.unwrap_or(usual).as_str(),
                classes.join(" or ")
            );
            WeirError::new(Code::Forbidden, message)
        })
    }

    /// Sets one control. `shown` is what the sender calls it, for messages.
    ///
    /// # Errors
    /// No control has this name, or this is no value of it.
    pub fn set(&mut self, name: &str, shown: fmt::Arguments<'_>, value: Setting<'_>) -> Result<(), WeirError> {
        match name {
            "priority" => {
                let names = Class::ALL.map(|class| (class.as_str(), class));
                self.priority = Some(choose(shown, value, &names)?);
            }
            "freshness" => {
                let names = [("ANY", Freshness::Any), ("FINAL_ONLY", Freshness::FinalOnly)];
                self.freshness = choose(shown, value, &names)?;
            }
            "maxStale" => self.max_stale = Some(duration(shown, value)?),
            "maxWait" => {
                let wait = duration(shown, value)?;
                if wait > MAX_WAIT {
                    return Err(WeirError::bad_input(format!("{shown} may be at most PT1H")));
                }
                self.max_wait = Some(wait);
            }
            "explain" => match value {
                Setting::Flag(explain) => self.explain = explain,
                Setting::Text(_) | Setting::Other => {
                    return Err(WeirError::bad_input(format!("{shown} must be true or false")));
                }
            },
            _ => {
                return Err(WeirError::bad_input(format!(
                    "{} is unknown; there are priority, maxStale, maxWait, freshness and explain",
                    echo(&shown.to_string())
                )));
            }
        }
        Ok(())
    }
}

fn choose<T: Copy>(shown: fmt::Arguments<'_>, value: Setting<'_>, names: &[(&str, T)]) -> Result<T, WeirError> {
    let text = if let Setting::Text(text) = value { text } else { "" };
    names.iter().find(|(known, _)| *known == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(known, _)| *known).collect();
        WeirError::bad_input(format!("{shown} must be one of {}", known.join(", ")))
    })
}

fn duration(shown: fmt::Arguments<'_>, value: Setting<'_>) -> Result<Duration, WeirError> {
    let read = if let Setting::Text(text) = value { parse_iso(text).ok() } else { None };
    read.ok_or_else(|| WeirError::bad_input(format!("{shown} must be an ISO 8601 duration, such as PT30S or PT0S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(settings: &[(&str, Setting<'_>)]) -> Result<Controls, WeirError> {
        let mut controls = Controls::default();
        settings.iter().try_for_each(|(name, value)| controls.set(name, format_args!("their.{name}"), *value))?;
        Ok(controls)
    }

    #[test]
    fn every_control_is_read() {
        let controls = parse(&[
            ("priority", Setting::Text("BULK")),
            ("maxStale", Setting::Text("PT0S")),
            ("maxWait", Setting::Text("PT2M")),
            ("freshness", Setting::Text("FINAL_ONLY")),
            ("explain", Setting::Flag(true)),
        ]);
        let expected = Controls {
            priority: Some(Class::Bulk),
            max_stale: Some(Duration::ZERO),
            max_wait: Some(Duration::from_mins(2)),
            freshness: Freshness::FinalOnly,
            fetched_since: None,
            explain: true,
        };
        assert_eq!(controls.unwrap(), expected);
        assert_eq!(parse(&[]).unwrap(), Controls::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_name_that_was_sent() {
        for (name, value, word) in [
            ("prioritty", Setting::Text("BULK"), "their.prioritty is unknown"),
            ("priority", Setting::Text("bulk"), "their.priority must be one of INTERACTIVE, BULK"),
            ("maxWait", Setting::Text("P2D"), "their.maxWait may be at most PT1H"),
            ("maxStale", Setting::Other, "their.maxStale must be an ISO 8601 duration"),
            ("explain", Setting::Text("yes"), "their.explain must be true or false"),
        ] {
            let refusal = parse(&[(name, value)]).unwrap_err().message;
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
