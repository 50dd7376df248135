//! Sums of message counts: added up once, where memory holds the buckets, without making rows of them.
//!
//! Distinct users have no such thing: a user of two windows would count twice.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::tz::TimeZone;

use super::catalog::CatalogChannel;
use super::counts::Points;
use super::phone_number_metrics::MetricQuery;
use super::range::TimeRange;
use super::request::Request;
use super::zone::{channel_zone, is_midnight, warn_of_edges};
use crate::domain::calendar::{CalendarStep, Date, calendar_windows, hours, time_zone, zone_name};
use crate::domain::time::{DAY, HOUR};
use crate::domain::wording::echo;
use crate::domain::{Caller, ChannelId, Finality, Freshness, LimitName, MessageCount, PhoneNumber, Timestamp, Window};
use crate::error::WeirError;
use crate::vendor::alibaba_cams::{Granularity, PhoneNumberPoint, PhoneNumbers};

/// The most totals of one answer.
const MAX_TOTALS: usize = 20_000;
/// No period is longer.
const LONGEST_PERIOD_DAYS: u32 = 32;

/// What totals are told apart by, beside their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct By {
    /// A total for each channel.
    pub channel: bool,
    /// A total for each phone number.
    pub phone_number: bool,
}

/// A stretch of the calendar. A bucket belongs to the one that holds its own start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From one whole hour to the next.
    Hour,
    /// From one midnight to the next.
    Day,
    /// From Monday's midnight to the next.
    Week,
    /// From the first's midnight to the next.
    Month,
}

/// Messages of a group in a period.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    /// The channel, where totals are told apart by it.
    pub channel: Option<ChannelId>,
    /// The phone number, where totals are told apart by it.
    pub phone_number: Option<PhoneNumber>,
    /// The period; the whole range where there are none.
    pub period: Window,
    /// The local date on which it begins, where the zone is known and the channels' zones agree.
    pub date: Option<Date>,
    /// Messages sent.
    pub sent: MessageCount,
    /// Messages delivered.
    pub delivered: MessageCount,
    /// How many buckets were added up.
    pub buckets: u64,
    /// Whether the range holds only a part of the period.
    pub is_partial: bool,
    /// Whether the vendor may still change anything under it.
    pub finality: Finality,
    /// When the oldest answer under it was asked for.
    pub fetched_at: Timestamp,
    /// When the newest was.
    pub newest: Timestamp,
}

impl Total {
    /// Delivered divided by sent.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.delivered.share_of(self.sent)
    }
}

/// Which totals are asked for.
#[derive(Debug)]
pub struct TotalsQuery {
    channels: Vec<(CatalogChannel, MetricQuery)>,
    granularity: Granularity,
    range: TimeRange,
    terms: Terms,
}

/// How buckets are put together.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// What totals are told apart by.
    pub by: By,
    /// Which stretches of time; the whole range as one without it.
    pub period: Option<Period>,
    /// In which zone; without it, in each channel's own.
    pub zone: Option<TimeZone>,
    /// Whether periods without messages are there, as zeros.
    pub fill: bool,
}

impl Terms {
    /// The zone of this IANA name.
    ///
    /// # Errors
    /// No zone is called so.
    pub fn zone(name: &str) -> Result<TimeZone, WeirError> {
        time_zone(name).map_err(|near| {
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            WeirError::bad_input(format!("`{}` is no IANA time zone, such as Asia/Shanghai{hint}", echo(name)))
        })
    }
}

impl TotalsQuery {
    /// The messages of some channels, or of some of their phones.
    ///
    /// # Errors
    /// A phone without digits, or hours of days.
    pub fn new<'a>(
        channels: impl IntoIterator<Item = &'a CatalogChannel>,
        phones: Option<&[String]>,
        granularity: Granularity,
        range: TimeRange,
        terms: Terms,
        caller: &Caller,
    ) -> Result<Self, WeirError> {
        if granularity == Granularity::Daily && terms.period == Some(Period::Hour) {
            return Err(WeirError::bad_input("days have no hours; ask with granularity HALF_HOUR"));
        }
        let query = |channel: &CatalogChannel| {
            let query = MetricQuery::new(channel, granularity, phones, range, caller)?;
            Ok::<_, WeirError>((channel.clone(), query))
        };
        // One that is named twice still counts once.
        let mut seen = HashSet::new();
        let channels = channels.into_iter().filter(|channel| seen.insert((&channel.account, &channel.id)));
        let channels = channels.map(query).collect::<Result<_, _>>()?;
        Ok(Self { channels, granularity, range, terms })
    }

    /// All totals, ordered by (start, channel, phone number); `None` where the request is only explained.
    ///
    /// # Errors
    /// A range, a zone or a period that makes no sense, too many totals, or what failed upstream.
    pub async fn answer(&self, request: &Request) -> Result<Option<Vec<Total>>, Arc<WeirError>> {
        let window = request.judged(self.window(request.quarter()))?;
        let all = (0..self.channels.len()).map(|channel| self.points(channel, window, request));
        let Some(all) = try_join_all(all).await?.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let mut sums = Sums::new(self, window);
        for (channel, points) in all.into_iter().enumerate() {
            sums.add(channel, window, points, request)?;
        }
        sums.into_totals(request).map(Some)
    }

    /// What the range means to whoever asks at `now`.
    pub(super) fn window(&self, now: Timestamp) -> Result<Window, WeirError> {
        self.range.metric_window(self.granularity, now)
    }

    /// What is to be added up of the nth channel in a part of the range; `None` where the request is only explained.
    pub(super) async fn points(
        &self,
        channel: usize,
        part: Window,
        request: &Request,
    ) -> Result<Option<Points<PhoneNumbers>>, Arc<WeirError>> {
        let Some((_, query)) = self.channels.get(channel) else { return Ok(None) };
        query.points_in(part, request).await
    }
}

/// The sums of all channels, to which parts of the range are added one after the other.
#[derive(Debug)]
pub(super) struct Sums<'q> {
    query: &'q TotalsQuery,
    window: Window,
    channels: Vec<ChannelSums>,
}

/// The sums of one channel.
#[derive(Debug)]
struct ChannelSums {
    /// The UTC days of the range, from its first on.
    days: Vec<Option<DayHeld>>,
    /// How many slices make a day.
    asked: usize,
    /// `None` for nothing.
    frame: Option<Frame>,
    groups: Vec<Group>,
    /// How many sums the groups have.
    n_sums: usize,
    /// The groups by phone, in order.
    by_phone: Vec<(PhoneNumber, usize)>,
}

/// What is known of the slices of a UTC day.
#[derive(Debug, Clone, Copy)]
struct DayHeld {
    slices: usize,
    is_settled: bool,
    oldest: Timestamp,
    newest: Timestamp,
}

/// The periods of a channel.
#[derive(Debug)]
struct Frame {
    zone: Option<TimeZone>,
    periods: Vec<Window>,
}

#[derive(Debug)]
struct Group {
    phone: Option<PhoneNumber>,
    /// By period, in order.
    sums: Vec<(usize, Sum)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sent: MessageCount,
    delivered: MessageCount,
    buckets: u64,
}

impl Sum {
    fn add(&mut self, more: Self) {
        self.sent = self.sent + more.sent;
        self.delivered = self.delivered + more.delivered;
        self.buckets += more.buckets;
    }
}

impl Group {
    fn of(phone: Option<PhoneNumber>) -> Self {
        Self { phone, sums: Vec::new() }
    }

    /// Adds to the sum of a period; whether that is the first of it. Mostly it is the last period or one after it.
    fn add(&mut self, period: usize, more: Sum) -> bool {
        let last = self.sums.last().map(|(at, _)| *at);
        let place = match last {
            Some(last) if last == period => Ok(self.sums.len() - 1),
            Some(last) if last > period => self.sums.binary_search_by_key(&period, |(at, _)| *at),
            _ => Err(self.sums.len()),
        };
        match place {
            Ok(known) => self.sums[known].1.add(more),
            Err(place) => self.sums.insert(place, (period, more)),
        }
        place.is_err()
    }
}

impl<'q> Sums<'q> {
    /// Nothing yet.
    pub(super) fn new(query: &'q TotalsQuery, window: Window) -> Self {
        Self { query, window, channels: query.channels.iter().map(|_| ChannelSums::new(window)).collect() }
    }

    /// Adds what came of the nth channel for a part of the range.
    pub(super) fn add(
        &mut self,
        channel: usize,
        part: Window,
        points: Points<PhoneNumbers>,
        request: &Request,
    ) -> Result<(), Arc<WeirError>> {
        let Self { query, window, channels } = self;
        let Some(sums) = channels.get_mut(channel) else { return Ok(()) };
        sums.add(query, channel, *window, part, points, request)
    }

    /// What has been added up, in order.
    pub(super) fn into_totals(mut self, request: &Request) -> Result<Vec<Total>, Arc<WeirError>> {
        if self.query.terms.fill {
            for (sums, (channel, query)) in self.channels.iter_mut().zip(&self.query.channels) {
                sums.fill(self.query, channel, query, self.window, request)?;
            }
        }
        let all = 0..self.channels.len();
        let parts: Vec<Vec<usize>> =
            if self.query.terms.by.channel { all.map(|channel| vec![channel]).collect() } else { vec![all.collect()] };
        let mut totals = Vec::new();
        for part in parts {
            self.totals_of(&part, request, &mut totals)?;
        }
        let wanted = |total: &Total| request.ask().freshness == Freshness::Any || total.finality == Finality::Final;
        totals.retain(wanted);
        let place = |total: &Total| (total.period.start(), total.channel.clone(), total.phone_number.clone());
        totals.sort_by_cached_key(place);
        Ok(totals)
    }

    /// The totals of channels that are added up together.
    fn totals_of(&self, part: &[usize], request: &Request, totals: &mut Vec<Total>) -> Result<(), Arc<WeirError>> {
        let own: Vec<&ChannelSums> = part.iter().filter_map(|channel| self.channels.get(*channel)).collect();
        let frames: Vec<&Frame> = own.iter().filter_map(|sums| sums.frame.as_ref()).collect();
        let Some(frame) = frames.first() else { return Ok(()) };
        if frames.iter().any(|other| other.periods != frame.periods) {
            return Err(Arc::new(WeirError::bad_input(
                "the days of these channels begin at different hours; name a time zone, or ask for totals by CHANNEL",
            )));
        }
        let Self { query, window, .. } = self;
        // Groups of one phone, of whichever channel, together.
        let mut groups: Vec<&Group> = own.iter().flat_map(|sums| &sums.groups).collect();
        groups.sort_by(|one, other| one.phone.cmp(&other.phone));
        let begun = frame.periods.partition_point(|period| period.start() < request.ask().at);
        let mut held: Vec<Option<(Finality, Timestamp, Timestamp)>> = vec![None; frame.periods.len()];
        let channel = match part {
            [only] if query.terms.by.channel => query.channels.get(*only).and_then(|(channel, _)| channel.id.clone()),
            _ => None,
        };
        for same in groups.chunk_by(|one, other| one.phone == other.phone) {
            for (at, sum) in together(same, query.terms.fill.then_some(begun)) {
                let Some(period) = frame.periods.get(at).copied() else { continue };
                let Some(known) = held.get_mut(at) else { continue };
                let (finality, fetched_at, newest) =
                    *known.get_or_insert_with(|| self.held_under(&own, period, request.ask().at));
                totals.push(Total {
                    channel: channel.clone(),
                    phone_number: same.first().and_then(|group| group.phone.clone()),
                    period,
                    date: date_in_all(&frames, period.start()),
                    sent: sum.sent,
                    delivered: sum.delivered,
                    buckets: sum.buckets,
                    is_partial: !window.covers(period),
                    finality,
                    fetched_at,
                    newest,
                });
                if totals.len() > MAX_TOTALS {
                    return Err(too_many(request));
                }
            }
        }
        Ok(())
    }

    /// Whether all slices under a period are final, and when the oldest and the newest were asked for.
    fn held_under(
        &self,
        channels: &[&ChannelSums],
        period: Window,
        now: Timestamp,
    ) -> (Finality, Timestamp, Timestamp) {
        let (mut is_final, mut held) = (true, None);
        let from = period.start().max(self.window.start());
        let inside = Window::new(from, period.end().min(self.window.end())).unwrap_or(period);
        let first_day = self.window.start().floor(DAY);
        let day_of = |at: Timestamp| usize::try_from(at.since(first_day).as_secs() / DAY.as_secs()).unwrap_or(0);
        let (first, end) = (day_of(inside.start()), day_of(inside.end().ceil(DAY)));
        for sums in channels {
            for day in sums.days.get(first..end.min(sums.days.len())).unwrap_or_default() {
                is_final &= day.is_some_and(|day| day.is_settled && day.slices == sums.asked);
                let Some(day) = day else { continue };
                let (oldest, newest) = held.unwrap_or((day.oldest, day.newest));
                held = Some((Timestamp::min(oldest, day.oldest), Timestamp::max(newest, day.newest)));
            }
        }
        let (oldest, newest) = held.unwrap_or((now, now));
        (if is_final { Finality::Final } else { Finality::Provisional }, oldest, newest)
    }
}

/// The date of an instant, if it is the same for all channels.
fn date_in_all(frames: &[&Frame], at: Timestamp) -> Option<Date> {
    let mut dates = frames.iter().map(|frame| frame.zone.as_ref().map(|zone| Date::of(at, zone)));
    let first = dates.next()?;
    first.filter(|_| dates.all(|date| date == first))
}

/// The sums of groups that are one, by period; with `fill`, of all periods up to that one.
fn together(groups: &[&Group], fill: Option<usize>) -> Vec<(usize, Sum)> {
    let zeros = (0..fill.unwrap_or(0)).map(|at| (at, Sum::default()));
    let mut sums: Vec<(usize, Sum)> = zeros.chain(groups.iter().flat_map(|group| &group.sums).copied()).collect();
    sums.sort_by_key(|(at, _)| *at);
    sums.dedup_by(|(at, more), (known, sum)| {
        let is_same = at == known;
        if is_same {
            sum.add(*more);
        }
        is_same
    });
    sums
}

impl DayHeld {
    fn note(&mut self, is_settled: bool, sent_at: Timestamp) {
        self.slices += 1;
        self.is_settled &= is_settled;
        self.oldest = self.oldest.min(sent_at);
        self.newest = self.newest.max(sent_at);
    }
}

/// A day that does not begin at a midnight of the zone.
struct OffEdge(Timestamp, String);

impl ChannelSums {
    fn new(window: Window) -> Self {
        let days = vec![None; usize::try_from(window.n_cells(DAY)).unwrap_or(0)];
        Self { days, asked: 0, frame: None, groups: Vec::new(), n_sums: 0, by_phone: Vec::new() }
    }

    /// Adds the points of a part of the range.
    fn add(
        &mut self,
        totals: &TotalsQuery,
        channel: usize,
        window: Window,
        part: Window,
        points: Points<PhoneNumbers>,
        request: &Request,
    ) -> Result<(), Arc<WeirError>> {
        let Some((channel, query)) = totals.channels.get(channel) else { return Ok(()) };
        let slices = points.series.into_iter().map(|one| Ok((one.want, one.outcome?)));
        let slices: Vec<_> = slices.collect::<Result<_, Arc<WeirError>>>()?;
        self.asked = points.keys.len();
        if self.frame.is_none() && slices.iter().any(|(_, served)| !served.held.data.is_empty()) {
            self.frame = Some(totals.frame(channel, window, request)?);
        }
        let before = Window::new(window.start(), part.start().floor(DAY));
        let first_day = before.map_or(0, |before| usize::try_from(before.n_cells(DAY)).unwrap_or(0));
        for own in slices.chunk_by(|(want, _), (next, _)| want == next) {
            // The slices of a want are its days, in order.
            for (day, (_, served)) in (first_day..).zip(own) {
                if let Some(day) = self.days.get_mut(day) {
                    let sent_at = served.held.sent_at;
                    day.get_or_insert(DayHeld { slices: 0, is_settled: true, oldest: sent_at, newest: sent_at })
                        .note(served.held.is_settled(), sent_at);
                }
                self.add_slice(totals, window, &served.held.data, |phone| query.wants(phone))
                    .map_err(|refusal| totals.explain_edge(channel, refusal))?;
                if self.n_sums > MAX_TOTALS {
                    return Err(too_many(request));
                }
            }
        }
        Ok(())
    }

    /// Makes room for periods and phones without messages.
    fn fill(
        &mut self,
        totals: &TotalsQuery,
        channel: &CatalogChannel,
        query: &MetricQuery,
        window: Window,
        request: &Request,
    ) -> Result<(), WeirError> {
        if self.frame.is_none() {
            self.frame = Some(totals.frame(channel, window, request)?);
        }
        if totals.terms.by.phone_number {
            for phone in query.named() {
                group_of(phone, &mut self.groups, &mut self.by_phone, &mut 0);
            }
        } else if self.groups.is_empty() {
            self.groups.push(Group::of(None));
        }
        Ok(())
    }

    /// Adds the points of one slice, which are ordered by (phone, start).
    fn add_slice(
        &mut self,
        totals: &TotalsQuery,
        window: Window,
        points: &[PhoneNumberPoint],
        is_wanted: impl Fn(&PhoneNumber) -> bool,
    ) -> Result<(), OffEdge> {
        let Self { frame, groups, n_sums, by_phone, .. } = self;
        let Some(frame) = frame else { return Ok(()) };
        let zone = frame.zone.as_ref().filter(|_| totals.checks_edges());
        let (mut checked, mut period, mut guess) = (None, 0, 0);
        for own in points.chunk_by(|one, other| one.phone == other.phone) {
            let Some(phone) = own.first().map(|point| &point.phone).filter(|phone| is_wanted(phone)) else { continue };
            let group = if totals.terms.by.phone_number { group_of(phone, groups, by_phone, &mut guess) } else { 0 };
            if groups.is_empty() {
                groups.push(Group::of(None));
            }
            let Some(group) = groups.get_mut(group) else { continue };
            for point in own.iter().filter(|point| window.contains(point.start)) {
                if let Some(zone) = zone.filter(|_| checked != Some(point.start)) {
                    if !is_midnight(point.start, zone) {
                        return Err(OffEdge(point.start, zone_name(zone)));
                    }
                    checked = Some(point.start);
                }
                period = frame.period_of(point.start, period);
                let is_new = group.add(period, Sum { sent: point.sent, delivered: point.delivered, buckets: 1 });
                *n_sums += usize::from(is_new);
            }
        }
        Ok(())
    }
}

/// The group of a phone, which is new if it has none. `guess` is where the phone is looked for first: slices show the same
/// phones in the same order.
fn group_of(
    phone: &PhoneNumber,
    groups: &mut Vec<Group>,
    by_phone: &mut Vec<(PhoneNumber, usize)>,
    guess: &mut usize,
) -> usize {
    if let Some((_, group)) = by_phone.get(*guess).filter(|(known, _)| known == phone) {
        *guess += 1;
        return *group;
    }
    let place = match by_phone.binary_search_by(|(known, _)| known.cmp(phone)) {
        Ok(place) => place,
        Err(place) => {
            by_phone.insert(place, (phone.clone(), groups.len()));
            groups.push(Group::of(Some(phone.clone())));
            place
        }
    };
    *guess = place + 1;
    by_phone.get(place).map_or(0, |(_, group)| *group)
}

impl Frame {
    /// The period that holds an instant, looked for first at `guess`.
    fn period_of(&self, at: Timestamp, guess: usize) -> usize {
        if self.periods.get(guess).is_some_and(|period| period.contains(at)) {
            return guess;
        }
        self.periods.partition_point(|period| period.end() <= at)
    }
}

impl TotalsQuery {
    /// Whether each day must begin at a midnight of the zone.
    fn checks_edges(&self) -> bool {
        self.granularity == Granularity::Daily && (self.terms.period.is_some() || self.terms.zone.is_some())
    }

    /// The periods of a channel over `window`.
    fn frame(&self, channel: &CatalogChannel, window: Window, request: &Request) -> Result<Frame, WeirError> {
        let zone = match &self.terms.zone {
            Some(zone) => Some(zone.clone()),
            None => channel_zone(request, channel)?,
        };
        let Some(period) = self.terms.period else { return Ok(Frame { zone, periods: vec![window] }) };
        let Some(cut_in) = zone.clone().or_else(|| (period == Period::Hour).then_some(TimeZone::UTC)) else {
            return Err(WeirError::bad_input(
                "no reply has shown in which zone the days of the channel begin, or several zones fit; name a time zone, or \
                 configure the account's `time_zone`",
            ));
        };
        let calendar = |step| calendar_windows(window.start() - DAY * LONGEST_PERIOD_DAYS, window.end(), step, &cut_in);
        let mut periods = match period {
            Period::Hour => hours(window, &cut_in),
            Period::Day => calendar(CalendarStep::Day),
            Period::Week => calendar(CalendarStep::Week),
            Period::Month => calendar(CalendarStep::Month),
        };
        periods.retain(|period| period.end() > window.start());
        let splits = |period: &Window| period.start() != period.start().floor(HOUR / 2);
        if self.granularity == Granularity::HalfHour && periods.iter().any(splits) {
            return Err(WeirError::bad_input(format!(
                "half hours cannot be told apart by the clocks of {}, which are off by a quarter",
                zone_name(&cut_in)
            )));
        }
        Ok(Frame { zone, periods })
    }

    fn explain_edge(&self, channel: &CatalogChannel, OffEdge(day, zone): OffEdge) -> Arc<WeirError> {
        warn_of_edges(channel, day);
        let hint = if self.terms.zone.is_some() {
            "ask with granularity HALF_HOUR"
        } else {
            "name a time zone, or ask with granularity HALF_HOUR"
        };
        Arc::new(WeirError::bad_input(format!(
            "a day of the channel begins at {day}, which is no midnight in {zone}; {hint}"
        )))
    }
}

fn too_many(request: &Request) -> Arc<WeirError> {
    request.refused(LimitName::Totals);
    let message = format!(
        "there are more than {MAX_TOTALS} totals; ask for longer periods, a shorter range or fewer phone numbers at a time"
    );
    Arc::new(WeirError::exceeding(LimitName::Totals, message, MAX_TOTALS, None::<usize>))
}
