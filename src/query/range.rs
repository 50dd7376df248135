//! Time ranges, and the windows they mean: pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::domain::calendar::{CalendarStep, calendar_windows, ceil_hour, floor_hour};
use crate::domain::time::{DAY, HOUR};
use crate::domain::{LimitName, Timestamp, Window};
use crate::error::{Code, WeirError};
use crate::vendor::alibaba_cams::Granularity;
use crate::vendor::volcengine_rtc;

/// The longest range of message counts that one field may ask for: ten years and a little.
const MAX_METRIC_DAYS: u32 = 3_660;
/// The most windows that one field may list; how many of them may be fetched is another matter.
const MAX_WINDOWS: u64 = 20_000;
/// The most windows that bounds are made of: a year's worth, for an archive that goes on past the vendor's retention.
const MAX_COVER: usize = 60;

/// A span of time, half-open `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRange {
    /// From an instant up to, not including, another.
    Between {
        /// The first instant inside.
        start: Timestamp,
        /// The first instant after.
        end: Timestamp,
    },
    /// Counts back from now, its end lowered to the whole hour (half hour for half-hourly rows), so that everybody who asks
    /// within the hour asks for the same window.
    Last(Duration),
}

/// The windows of one list of distributions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    pub(super) windows: Vec<Window>,
    /// Calendar windows are shared by everybody; those that begin too long ago are left out, not refused.
    pub(super) is_calendar: bool,
}

impl TimeRange {
    /// The window that rows are chosen from by their own start.
    pub(super) fn metric_window(self, granularity: Granularity, now: Timestamp) -> Result<Window, WeirError> {
        let window = match self {
            Self::Between { start, end } => between(start, end)?,
            Self::Last(length) => last(now.floor(snap(granularity)), length)?,
        };
        if window.start() < Timestamp::from_ms(i64::MIN) + 2 * DAY {
            return Err(WeirError::bad_input("the range begins where the calendar does; name a later start"));
        }
        if window.length() > DAY * MAX_METRIC_DAYS {
            return Err(WeirError::new(
                Code::RangeTooLong,
                format!("a range of message counts may span at most {MAX_METRIC_DAYS} days"),
            )
            .limited_by(LimitName::Range, DAY * MAX_METRIC_DAYS, Some(window.length())));
        }
        Ok(window)
    }

    /// The one window of a distribution.
    pub(super) fn distribution_window(
        self,
        now: Timestamp,
        zone: &TimeZone,
        earliest: Timestamp,
    ) -> Result<Window, WeirError> {
        let window = self.distribution_span(now, zone, earliest)?;
        check_window_length(window.length())?;
        Ok(window)
    }

    /// The windows of a list of distributions; `take` is told how many there are, about, before they are made.
    pub(super) fn distribution_windows(
        self,
        step: Duration,
        now: Timestamp,
        zone: &TimeZone,
        take: impl Fn(u64) -> Result<(), WeirError>,
    ) -> Result<Tiling, WeirError> {
        if step.is_zero() || step.subsec_nanos() != 0 {
            return Err(WeirError::bad_input("window must be a whole number of seconds, at least one"));
        }
        let check_count = |length: Duration| {
            let count = length.as_millis().div_ceil(step.as_millis());
            check_window_count(count)?;
            take(u64::try_from(count).unwrap_or(u64::MAX))
        };
        match self {
            Self::Between { .. } => {
                check_window_length(step)?;
                let span = self.distribution_span(now, zone, now)?;
                check_count(span.length())?;
                Ok(Tiling { windows: span.tiles(step).collect(), is_calendar: false })
            }
            Self::Last(length) => {
                let calendar = CalendarStep::of(step).ok_or_else(|| {
                    WeirError::bad_input(
                        "with `last`, window must be a divisor of 24 hours in whole hours (such as PT6H), P1D or P7D: \
                         its windows are those of the calendar, so that everybody shares them",
                    )
                })?;
                let end = floor_hour(now, zone);
                let span = last(end, length)?;
                check_count(span.length())?;
                let windows = calendar_windows(span.start(), end, calendar, zone);
                // The window that runs ends with the last whole hour.
                let windows =
                    windows.into_iter().filter_map(|window| Window::new(window.start(), window.end().min(end)));
                Ok(Tiling { windows: windows.collect(), is_calendar: true })
            }
        }
    }

    /// The fewest windows that tile a range of any length. With `last`, those inside are calendar weeks, which
    /// everybody shares for ever; only the first and the last move on with the hour.
    pub(super) fn distribution_cover(
        self,
        now: Timestamp,
        zone: &TimeZone,
        earliest: Timestamp,
    ) -> Result<(Window, Vec<Window>), WeirError> {
        let span = self.distribution_span(now, zone, earliest)?;
        let most = volcengine_rtc::operation_distributions::FACTS.max_window.unwrap_or(Duration::MAX);
        let windows: Vec<_> = match self {
            Self::Between { .. } => span.tiles(most).take(MAX_COVER + 1).collect(),
            Self::Last(_) => {
                let weeks = calendar_windows(span.start(), span.end(), CalendarStep::Week, zone);
                let first = weeks.first().map_or(span.end(), |week| week.start());
                let begin = Window::new(span.start(), first);
                let rest = weeks.into_iter().filter_map(|week| Window::new(week.start(), week.end().min(span.end())));
                // A week in which an hour is passed twice is longer than the vendor answers.
                begin.into_iter().chain(rest).flat_map(|window| window.tiles(most)).collect()
            }
        };
        if windows.len() > MAX_COVER {
            return Err(WeirError::new(
                Code::TooExpensive,
                format!("the range needs more than {MAX_COVER} windows, and the vendor keeps 30 days"),
            )
            .limited_by(LimitName::Windows, MAX_COVER, None::<usize>));
        }
        Ok((span, windows))
    }

    /// The whole span of a range of distributions, whatever the vendor answers of it; `None` if it makes no sense.
    pub(super) fn distribution_reach(self, now: Timestamp, zone: &TimeZone) -> Option<Window> {
        self.distribution_span(now, zone, Timestamp::from_ms(i64::MIN)).ok()
    }

    /// The same kind of range, but over `rest` of it.
    pub(super) fn starting_at(self, rest: Window) -> Self {
        match self {
            Self::Between { .. } => Self::Between { start: rest.start(), end: rest.end() },
            Self::Last(_) => Self::Last(rest.length()),
        }
    }

    fn distribution_span(self, now: Timestamp, zone: &TimeZone, earliest: Timestamp) -> Result<Window, WeirError> {
        match self {
            Self::Between { start, end } => {
                let window = between(start, end)?;
                let (start, end) = (window.start().floor(SECOND), window.end().floor(SECOND));
                let end = if end > now { floor_hour(now, zone) } else { end };
                Window::new(start, end).ok_or_else(|| {
                    WeirError::bad_input(
                        "the range holds no whole second before the last whole hour: an end in the future is lowered to it",
                    )
                })
            }
            Self::Last(length) => {
                let window = last(floor_hour(now, zone), length)?;
                let start = window.start().floor(SECOND);
                let start = if start < earliest { ceil_hour(earliest, zone) } else { start };
                Window::new(start, window.end()).ok_or_else(too_old)
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// The fewest of `windows`, in order of time, that follow one another from the start of `whole` to its end or to the first
/// edge at or after `until`. `None` if there is no such chain.
pub(super) fn chain(whole: Window, windows: &[Window], until: Timestamp) -> Option<Vec<Window>> {
    let mut windows: Vec<Window> = windows.iter().copied().filter(|window| whole.covers(*window)).collect();
    windows.sort_unstable();
    // By how many windows an edge is reached, and by which last one.
    let mut reached: HashMap<Timestamp, (usize, Option<Window>)> = HashMap::from([(whole.start(), (0, None))]);
    for window in windows {
        if window.start() >= until {
            continue;
        }
        let Some(n) = reached.get(&window.start()).map(|(n, _)| n + 1) else { continue };
        let edge = reached.entry(window.end()).or_insert((n, Some(window)));
        if n < edge.0 {
            *edge = (n, Some(window));
        }
    }
    let ends = reached.iter().filter(|(edge, _)| **edge >= until || **edge == whole.end());
    let mut at = *ends.min_by_key(|(edge, (n, _))| (*n, **edge))?.0;
    let mut chain = Vec::new();
    while let Some(window) = reached.get(&at).and_then(|(_, last)| *last) {
        at = window.start();
        chain.push(window);
    }
    chain.reverse();
    Some(chain)
}

/// What the end of a `last` range is lowered to.
fn snap(granularity: Granularity) -> Duration {
    match granularity {
        Granularity::Daily => HOUR,
        Granularity::HalfHour => HOUR / 2,
    }
}

fn between(start: Timestamp, end: Timestamp) -> Result<Window, WeirError> {
    Window::new(start, end)
        .ok_or_else(|| WeirError::bad_input(format!("the range's start {start} must be before its end {end}")))
}

fn last(end: Timestamp, length: Duration) -> Result<Window, WeirError> {
    Window::new(end - length, end).ok_or_else(|| WeirError::bad_input("last must be longer than zero"))
}

fn too_old() -> WeirError {
    let error = WeirError::new(Code::OutOfRetention, "the vendor answers nothing that old");
    match volcengine_rtc::operation_distributions::FACTS.lookback {
        Some(lookback) => error.limited(lookback, None::<Duration>),
        None => error,
    }
}

/// Whether one field may list so many windows.
pub(super) fn check_window_count(count: u128) -> Result<(), WeirError> {
    if count <= u128::from(MAX_WINDOWS) {
        return Ok(());
    }
    Err(WeirError::new(
        Code::TooExpensive,
        format!(
            "the range holds at least {count} windows, and {MAX_WINDOWS} are the most; ask for longer windows or for \
             fewer applications at a time"
        ),
    )
    .limited_by(LimitName::Windows, MAX_WINDOWS, u64::try_from(count).ok()))
}

/// Whether the vendor answers a window of this length in one piece.
pub(super) fn check_window_length(length: Duration) -> Result<(), WeirError> {
    match volcengine_rtc::operation_distributions::FACTS.max_window {
        Some(most) if length > most => Err(WeirError::new(
            Code::RangeTooLong,
            format!(
                "a window of distinct users may span at most {} days, and windows do not add up; ask for a longer range \
                 in shorter windows (in GraphQL with operationDistributions)",
                most.as_secs() / DAY.as_secs()
            ),
        )
        .limited_by(LimitName::Window, most, Some(length))),
        _ => Ok(()),
    }
}
