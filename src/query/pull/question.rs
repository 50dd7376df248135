//! A question for flat rows, read from named texts: the parameters of a URL, or the flags of a command.

use std::time::Duration;

use super::walk::{Pairs, RowPosition, Walk};
use crate::domain::dataset::{Column, Dataset};
use crate::domain::duration::parse_iso;
use crate::domain::time::DAY;
use crate::domain::wording::{echo, hint};
use crate::domain::{LimitName, Timestamp};
use crate::error::WeirError;
use crate::query::controls::{Controls, Setting};
use crate::query::range::TimeRange;
use crate::query::totals::{By, Period, Terms};
use crate::vendor::alibaba_cams::Granularity;
use crate::vendor::volcengine_rtc::Dimension;

/// The most rows of a page.
pub const MAX_LIMIT: usize = 100_000;

/// All parameters, each with what it means: of the range, of what some datasets are asked with, and of how all are answered.
const RANGE: &[(&str, &str)] = &[
    ("last", "The range up to now, such as P30D or PT12H; P7D unless said."),
    ("start", "With `end` instead of `last`: the first instant of the range, such as 2026-11-01T00:00:00Z."),
    ("end", "The first instant after it."),
];
const MESSAGES: &[(&str, &str)] = &[
    ("cust_space_id", "A channel, by its id; may be repeated. All of them unless said."),
    ("phone_number", "A phone number, by its digits; may be repeated. All of them unless said."),
    ("granularity", "DAILY, or HALF_HOUR."),
];
const TOTALS: &[(&str, &str)] = &[
    ("by", "A row for each CHANNEL, each PHONE_NUMBER, or CHANNEL,PHONE_NUMBER. All together unless said."),
    ("period", "A row for each HOUR, DAY, WEEK or MONTH. The whole range unless said."),
    ("time_zone", "In which periods begin, such as Asia/Shanghai. The channel's own unless said."),
    ("fill", "true for periods without messages, too, as zeros."),
];
const USERS: &[(&str, &str)] = &[
    ("app_id", "An application, by its id; may be repeated. All of them unless said."),
    ("dimension", "PROVINCE, or COUNTRY."),
    ("window", "How long each window is, such as PT6H; P1D unless said. Users of two windows do not add up."),
    ("align", "exact for windows that begin at `start`; else a range is widened to whole hours."),
];
const ANSWER: &[(&str, &str)] = &[
    ("columns", "These columns alone, in this order, with commas between."),
    ("limit", "A page of so many rows, at most 100000. Without it all rows come."),
    ("cursor", "The `next` of the page before, and nothing beside it."),
    ("updated_since", "Only rows that were fetched at or after this instant."),
    ("freshness", "FINAL_ONLY leaves out what the vendor may still change; ANY unless said."),
    ("max_stale", "How far past its time an answer may be, such as PT1H; PT0S for not at all."),
    ("max_wait", "How long calls may wait for the quota, such as PT10M."),
    ("priority", "INTERACTIVE goes before BULK; BULK unless said."),
    ("bom", "true marks CSV as UTF-8 for Excel."),
];

/// Which rows are wanted, and how.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) dataset: Dataset,
    pub(super) columns: Vec<Column>,
    pub(super) limit: Option<usize>,
    pub(super) updated_since: Option<Timestamp>,
    pub(super) controls: Controls,
    pub(super) range: TimeRange,
    /// `None` for all that are configured.
    pub(super) channels: Option<Vec<String>>,
    pub(super) phones: Option<Vec<String>>,
    pub(super) granularity: Granularity,
    pub(super) apps: Option<Vec<String>>,
    pub(super) dimension: Dimension,
    pub(super) window: Duration,
    /// Whether the ends of a range of windows are widened to whole hours.
    pub(super) is_aligned: bool,
    pub(super) terms: Terms,
    /// Whether CSV is marked for Excel.
    pub(super) bom: bool,
    /// The walk that it begins or goes on with.
    pub(super) walk: Walk,
}

impl Dataset {
    /// The parameters that its rows can be asked with.
    #[must_use]
    pub fn parameters(self) -> Vec<&'static str> {
        self.parameter_meanings().into_iter().map(|(name, _)| name).collect()
    }

    /// The same, each with what it means.
    #[must_use]
    pub fn parameter_meanings(self) -> Vec<(&'static str, &'static str)> {
        let parts = [
            (RANGE, true),
            (MESSAGES, self.has_messages()),
            (TOTALS, self == Self::PhoneNumberTotals),
            (USERS, self.has_users()),
            (ANSWER, true),
        ];
        parts.into_iter().filter(|(_, has)| *has).flat_map(|(parameters, _)| parameters).copied().collect()
    }
}

impl Question {
    /// Reads the parameters of a question for `path`, which came at `now`. A cursor goes on with the walk that made it.
    ///
    /// # Errors
    /// An unknown parameter, one that is there twice or makes no sense, or a cursor of another question.
    pub(super) fn read(dataset: Dataset, path: &str, pairs: Pairs, now: Timestamp) -> Result<Self, WeirError> {
        let cursors: Vec<_> = pairs.iter().filter(|(name, _)| name == "cursor").collect();
        let walk = match cursors.as_slice() {
            [] => Walk { path: path.to_owned(), pairs, now, ..Walk::default() },
            [(_, cursor)] => {
                let walk = Walk::open(path, cursor, now)?;
                let is_other = |(name, value): &&(String, String)| {
                    name != "cursor" && !walk.pairs.iter().any(|(known, own)| known == name && own == value)
                };
                if let Some((name, _)) = pairs.iter().find(is_other) {
                    return Err(WeirError::bad_input(format!(
                        "`{}` is not what the cursor's walk began with: a cursor alone keeps all that was asked",
                        echo(name)
                    )));
                }
                walk
            }
            _ => return Err(twice("cursor")),
        };
        let read = Self::parts(dataset, &walk.pairs)?;
        Ok(Self { walk, ..read })
    }

    fn parts(dataset: Dataset, pairs: &[(String, String)]) -> Result<Self, WeirError> {
        let known = dataset.parameters();
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let name = name.as_str();
            let (is_other, hint) =
                (Dataset::ALL.iter().any(|other| other.parameters().contains(&name)), hint(name, &known));
            let why = if is_other { format!(" for {}", dataset.as_str()) } else { String::new() };
            return Err(WeirError::bad_input(format!("there is no parameter `{}`{why}{hint}", echo(name))));
        }
        let texts = Texts(pairs);
        let mut controls = Controls::default();
        for (name, control) in
            [("freshness", "freshness"), ("max_stale", "maxStale"), ("max_wait", "maxWait"), ("priority", "priority")]
        {
            if let Some(value) = texts.one(name)? {
                controls.set(control, format_args!("{name}"), Setting::Text(value))?;
            }
        }
        Ok(Self {
            dataset,
            columns: columns(dataset, texts.one("columns")?)?,
            limit: texts.one("limit")?.map(limit).transpose()?,
            updated_since: texts.one("updated_since")?.map(|text| instant("updated_since", text)).transpose()?,
            controls,
            range: range(&texts)?,
            channels: texts.all("cust_space_id"),
            phones: texts.all("phone_number"),
            granularity: texts
                .choice("granularity", &[("DAILY", Granularity::Daily), ("HALF_HOUR", Granularity::HalfHour)])?,
            apps: texts.all("app_id"),
            dimension: texts.choice("dimension", &Dimension::ALL.map(|dimension| (dimension.name(), dimension)))?,
            window: texts.one("window")?.map_or(Ok(DAY), |text| duration("window", text))?,
            is_aligned: texts.choice("align", &[("hour", true), ("exact", false)])?,
            terms: terms(&texts)?,
            bom: texts.choice("bom", &[("false", false), ("true", true)])?,
            walk: Walk::default(),
        })
    }

    /// Where the walk goes on.
    pub(super) fn after(&self) -> Option<&RowPosition> {
        self.walk.after.as_ref()
    }
}

/// Parameters, looked up by their names.
struct Texts<'a>(&'a [(String, String)]);

impl<'a> Texts<'a> {
    fn each(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one(&self, name: &str) -> Result<Option<&'a str>, WeirError> {
        let mut values = self.each(name);
        let first = values.next();
        if values.next().is_some() { Err(twice(name)) } else { Ok(first) }
    }

    /// The values of a parameter that may be repeated.
    fn all(&self, name: &str) -> Option<Vec<String>> {
        let mut values: Vec<String> = Vec::new();
        for value in self.each(name) {
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
        (!values.is_empty()).then_some(values)
    }

    /// One of some words; the first where none is said.
    fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, WeirError> {
        let chosen = match self.one(name)? {
            None => words.first(),
            Some(text) => words.iter().find(|(word, _)| *word == text),
        };
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            WeirError::bad_input(format!("{name} must be one of {}", words.join(", ")))
        })
    }
}

fn twice(name: &str) -> WeirError {
    WeirError::bad_input(format!("the parameter {} is there twice", echo(name)))
}

fn columns(dataset: Dataset, text: Option<&str>) -> Result<Vec<Column>, WeirError> {
    let Some(text) = text else { return Ok(dataset.columns().to_vec()) };
    let mut columns: Vec<Column> = Vec::new();
    for name in text.split(',').map(str::trim) {
        let known = dataset.columns();
        let Some(column) = known.iter().find(|column| column.name == name) else {
            let names: Vec<&str> = known.iter().map(|column| column.name).collect();
            return Err(WeirError::bad_input(format!(
                "{} has no column `{}`{}",
                dataset.as_str(),
                echo(name),
                hint(name, &names)
            )));
        };
        if columns.contains(column) {
            return Err(WeirError::bad_input(format!("the column {name} is there twice")));
        }
        columns.push(*column);
    }
    Ok(columns)
}

fn limit(text: &str) -> Result<usize, WeirError> {
    let asked: Option<usize> = text.parse().ok();
    asked.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        WeirError::bad_input(format!(
            "limit must be a whole number between 1 and {MAX_LIMIT}; without it all rows come, to the end"
        ))
        .limited_by(LimitName::PageRows, MAX_LIMIT, asked)
    })
}

/// An instant. In a URL the `+` of an offset that was not encoded arrives as a blank.
fn instant(name: &str, text: &str) -> Result<Timestamp, WeirError> {
    let mended = text.len().checked_sub(6).filter(|at| text.as_bytes().get(*at) == Some(&b' ')).map(|at| {
        let (head, tail) = text.split_at(at);
        format!("{head}+{}", tail.trim_start())
    });
    Timestamp::parse_rfc3339(mended.as_deref().unwrap_or(text)).map_err(|_| {
        WeirError::bad_input(format!(
            "{name} `{}` is not RFC 3339 with an offset, such as 2026-09-01T08:00:00Z",
            echo(text)
        ))
    })
}

fn duration(name: &str, text: &str) -> Result<Duration, WeirError> {
    parse_iso(text).map_err(|why| WeirError::bad_input(format!("{name}: {why}")))
}

fn range(texts: &Texts<'_>) -> Result<TimeRange, WeirError> {
    match (texts.one("last")?, texts.one("start")?, texts.one("end")?) {
        (None, None, None) => Ok(TimeRange::Last(7 * DAY)),
        (Some(last), None, None) => duration("last", last).map(TimeRange::Last),
        (None, Some(start), Some(end)) => {
            Ok(TimeRange::Between { start: instant("start", start)?, end: instant("end", end)? })
        }
        (None, ..) => Err(WeirError::bad_input("start and end go together; `last` counts back from now")),
        (Some(_), ..) => Err(WeirError::bad_input("a range is `last`, or `start` and `end`, not both")),
    }
}

fn terms(texts: &Texts<'_>) -> Result<Terms, WeirError> {
    let mut by = By::default();
    for word in texts.each("by").flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "CHANNEL" => by.channel = true,
            "PHONE_NUMBER" => by.phone_number = true,
            _ => return Err(WeirError::bad_input("by must be CHANNEL, PHONE_NUMBER or both, with a comma between")),
        }
    }
    let periods = [
        ("", None),
        ("HOUR", Some(Period::Hour)),
        ("DAY", Some(Period::Day)),
        ("WEEK", Some(Period::Week)),
        ("MONTH", Some(Period::Month)),
    ];
    let period = match texts.one("period")? {
        None => None,
        Some(_) => texts.choice("period", periods.get(1..).unwrap_or_default())?,
    };
    let zone = texts.one("time_zone")?.map(Terms::zone).transpose()?;
    Ok(Terms { by, period, zone, fill: texts.choice("fill", &[("false", false), ("true", true)])? })
}
