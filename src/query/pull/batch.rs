//! Rows that came together, cell by cell. They stay where memory holds them.

use super::walk::RowPosition;
use crate::domain::calendar::Date;
use crate::domain::dataset::{Cell, Field};
use crate::domain::{Finality, Source, Timestamp};
use crate::query::operation_distributions::DistributionWindow;
use crate::query::phone_number_metrics::{MetricRow, MetricRows};
use crate::query::rows::Spot;
use crate::query::totals::Total;
use crate::vendor::volcengine_rtc::{OperationDistributions, Share};

/// What tells rows from any others: what they are of, and when each slice under them was asked for.
pub(super) type Stamp = Vec<u8>;

/// Rows of one channel or application, or totals, in their order.
#[derive(Debug)]
pub struct Batch {
    /// The nth of those that were asked for.
    entity: usize,
    rows: Kind,
    /// Rows before these are left out, and from these on.
    from: usize,
    to: usize,
    /// `None` where anything under them may change.
    stamp: Option<Stamp>,
}

#[derive(Debug)]
enum Kind {
    Messages(Messages),
    Users(Users),
    Totals(Vec<Total>),
    /// Each number of message counts in a row of its own.
    MessageNumbers(Messages),
    UserNumbers(Users),
}

/// Message counts, ordered by (start, phone number).
#[derive(Debug)]
struct Messages {
    rows: MetricRows,
    order: Vec<Spot>,
    dates: Vec<Option<Date>>,
}

/// The users of a window, ordered by the name of the place.
#[derive(Debug)]
struct Users {
    window: DistributionWindow,
    order: Vec<usize>,
}

/// What a row of message counts says in numbers.
const MESSAGE_METRICS: [&str; 2] = ["sent_count", "delivered_count"];

impl Batch {
    /// Message counts of a channel, fetched at or after `since`.
    pub(super) fn of_messages(entity: usize, rows: MetricRows, since: Option<Timestamp>, is_long: bool) -> Self {
        let is_new = |spot: &Spot| since.is_none_or(|since| rows.at(*spot).is_some_and(|row| row.fetched_at >= since));
        let mut order: Vec<(Timestamp, Spot)> = rows
            .spots()
            .filter(is_new)
            .map(|spot| (rows.at(spot).map_or(Timestamp::from_ms(0), |row| row.point.start), spot))
            .collect();
        // They come ordered by phone number.
        order.sort_by_key(|(start, _)| *start);
        let mut last: Option<(Timestamp, Option<Date>)> = None;
        let date_of = |(start, spot): &(Timestamp, Spot)| match last {
            Some((known, date)) if known == *start => date,
            _ => {
                let date = rows.at(*spot).and_then(|row| row.date());
                last = Some((*start, date));
                date
            }
        };
        let dates = order.iter().map(date_of).collect();
        let messages = Messages { rows, order: order.into_iter().map(|(_, spot)| spot).collect(), dates };
        let rows = if is_long { Kind::MessageNumbers(messages) } else { Kind::Messages(messages) };
        Self::whole(entity, rows)
    }

    /// The users of a window, if it was fetched at or after `since`.
    pub(super) fn of_users(entity: usize, window: DistributionWindow, since: Option<Timestamp>, is_long: bool) -> Self {
        let shares = &window.held.data.shares;
        let is_new = since.is_none_or(|since| window.held.sent_at >= since);
        let mut order: Vec<usize> = if is_new { (0..shares.len()).collect() } else { Vec::new() };
        order.sort_by(|one, other| shares[*one].name.cmp(&shares[*other].name));
        let users = Users { window, order };
        Self::whole(entity, if is_long { Kind::UserNumbers(users) } else { Kind::Users(users) })
    }

    /// Totals, where anything under them was fetched at or after `since`.
    pub(super) fn of_totals(totals: Vec<Total>, since: Option<Timestamp>) -> Self {
        let totals = totals.into_iter().filter(|total| since.is_none_or(|since| total.newest >= since));
        Self::whole(0, Kind::Totals(totals.collect()))
    }

    fn whole(entity: usize, rows: Kind) -> Self {
        let to = rows.len();
        Self { entity, rows, from: 0, to, stamp: None }
    }

    /// No rows, where some may come yet.
    pub(super) fn empty() -> Self {
        Self::of_totals(Vec::new(), None)
    }

    /// The same rows, from slices with this stamp.
    pub(super) fn stamped(self, stamp: Option<Stamp>) -> Self {
        Self { stamp, ..self }
    }

    /// The stamp of the slices that they are from, if none can change any more.
    pub(super) fn stamp(&self) -> Option<&Stamp> {
        self.stamp.as_ref()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a row says.
    #[must_use]
    pub fn cell(&self, row: usize, field: Field) -> Cell<'_> {
        self.rows.cell(self.from + row, field)
    }

    /// Leaves out what comes up to and including `position`.
    pub(super) fn skip_to(&mut self, position: &RowPosition) {
        if self.entity != position.entity {
            return;
        }
        let (mut low, mut high) = (self.from, self.to);
        while low < high {
            let middle = low.midpoint(high);
            if self.position_at(middle) <= *position { low = middle + 1 } else { high = middle }
        }
        self.from = low;
    }

    /// Leaves out what comes after so many rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.to = self.to.min(self.from + rows);
    }

    /// Where the last row lies among all.
    pub(super) fn last_position(&self) -> Option<RowPosition> {
        (!self.is_empty()).then(|| self.position_at(self.to - 1))
    }

    fn position_at(&self, row: usize) -> RowPosition {
        let start = match self.rows.cell(row, Field::StartTime) {
            Cell::Instant(start) => start,
            _ => Timestamp::from_ms(0),
        };
        let name = |field| match self.rows.cell(row, field) {
            Cell::Text(text) => text.to_owned(),
            _ => String::new(),
        };
        let (name, nth) = match &self.rows {
            Kind::Messages(_) => (name(Field::PhoneNumber), 0),
            Kind::MessageNumbers(_) => (name(Field::Name), row % MESSAGE_METRICS.len()),
            Kind::Users(_) => (name(Field::PlaceName), 0),
            Kind::UserNumbers(_) => (name(Field::Name), 0),
            Kind::Totals(_) => (format!("{} {}", name(Field::CustSpaceId), name(Field::PhoneNumber)), 0),
        };
        RowPosition { entity: self.entity, start, name, nth }
    }
}

impl Kind {
    fn len(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.order.len(),
            Self::MessageNumbers(messages) => messages.order.len() * MESSAGE_METRICS.len(),
            Self::Users(users) | Self::UserNumbers(users) => users.order.len(),
            Self::Totals(totals) => totals.len(),
        }
    }

    fn cell(&self, row: usize, field: Field) -> Cell<'_> {
        let cell = match self {
            Self::Messages(messages) => messages.row(row).map(|(row, date)| message(&row, date, field)),
            Self::MessageNumbers(messages) => {
                let (row, nth) = (row / MESSAGE_METRICS.len(), row % MESSAGE_METRICS.len());
                messages.row(row).map(|(row, date)| message_number(&row, date, nth, field))
            }
            Self::Users(users) => users.share(row).map(|share| user(users, share, field)),
            Self::UserNumbers(users) => users.share(row).map(|share| user_number(users, share, field)),
            Self::Totals(totals) => totals.get(row).map(|row| total(row, field)),
        };
        cell.unwrap_or(Cell::Null)
    }
}

impl Messages {
    fn row(&self, row: usize) -> Option<(MetricRow<'_>, Option<Date>)> {
        Some((self.rows.at(*self.order.get(row)?)?, self.dates.get(row).copied().flatten()))
    }
}

impl Users {
    fn share(&self, row: usize) -> Option<&Share> {
        self.window.held.data.shares.get(*self.order.get(row)?)
    }
}

fn message<'a>(row: &MetricRow<'a>, date: Option<Date>, field: Field) -> Cell<'a> {
    let (point, subject) = (row.point, row.subject);
    match field {
        Field::Account => Cell::Text(subject.account.name()),
        Field::CustSpaceId | Field::Entity => {
            subject.channel.as_ref().map_or(Cell::Null, |channel| Cell::Text(channel.as_str()))
        }
        Field::PhoneNumber | Field::Name => Cell::Text(point.phone.expose()),
        Field::Granularity => Cell::Text(subject.granularity.as_str()),
        Field::StartTime => Cell::Instant(point.start),
        Field::EndTime => Cell::Instant(point.end),
        Field::Date => date.map_or(Cell::Null, Cell::Date),
        Field::SentCount => Cell::Integer(point.sent.as_i64()),
        Field::DeliveredCount => Cell::Integer(point.delivered.as_i64()),
        Field::DeliveryRate => point.delivered.share_of(point.sent).map_or(Cell::Null, Cell::Float),
        Field::Finality => finality(point.finality),
        Field::FetchedAt => Cell::Instant(row.fetched_at),
        Field::Source => source(row.source()),
        _ => Cell::Null,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a column that holds numbers of either vendor holds floats")]
fn message_number<'a>(row: &MetricRow<'a>, date: Option<Date>, nth: usize, field: Field) -> Cell<'a> {
    match field {
        Field::Vendor => Cell::Text(row.subject.account.vendor().as_str()),
        Field::Metric => MESSAGE_METRICS.get(nth).map_or(Cell::Null, |name| Cell::Text(name)),
        Field::Dimension => Cell::Text("phone_number"),
        Field::Value => {
            let count = if nth == 0 { row.point.sent } else { row.point.delivered };
            Cell::Float(count.as_i64() as f64)
        }
        Field::IsAdditive => Cell::Flag(true),
        field => message(row, date, field),
    }
}

fn user<'a>(users: &'a Users, share: &'a Share, field: Field) -> Cell<'a> {
    let Users { window, .. } = users;
    match field {
        Field::Account => Cell::Text(window.subject.account.name()),
        Field::AppId | Field::Entity => Cell::Text(window.subject.app.as_str()),
        Field::Indicator => Cell::Text(OperationDistributions::INDICATOR),
        Field::Dimension => Cell::Text(window.subject.dimension.name()),
        Field::StartTime => Cell::Instant(window.window.start()),
        Field::EndTime => Cell::Instant(window.window.end()),
        Field::Date => Cell::Date(window.date),
        Field::PlaceName | Field::Name => Cell::Text(&share.name),
        Field::DistinctUsers | Field::Value => Cell::Float(share.users.as_f64()),
        Field::Proportion => Cell::Float(share.proportion),
        Field::Finality => finality(window.held.data.finality),
        Field::FetchedAt => Cell::Instant(window.held.sent_at),
        Field::Source => source(window.source),
        _ => Cell::Null,
    }
}

fn user_number<'a>(users: &'a Users, share: &'a Share, field: Field) -> Cell<'a> {
    let subject = &users.window.subject;
    match field {
        Field::Vendor => Cell::Text(subject.account.vendor().as_str()),
        Field::Metric => Cell::Text("distinct_users"),
        Field::Dimension => Cell::Text(subject.dimension.as_str()),
        Field::IsAdditive => Cell::Flag(false),
        field => user(users, share, field),
    }
}

fn total(total: &Total, field: Field) -> Cell<'_> {
    match field {
        Field::CustSpaceId => total.channel.as_ref().map_or(Cell::Null, |channel| Cell::Text(channel.as_str())),
        Field::PhoneNumber => total.phone_number.as_ref().map_or(Cell::Null, |phone| Cell::Text(phone.expose())),
        Field::StartTime => Cell::Instant(total.period.start()),
        Field::EndTime => Cell::Instant(total.period.end()),
        Field::Date => total.date.map_or(Cell::Null, Cell::Date),
        Field::SentCount => Cell::Integer(total.sent.as_i64()),
        Field::DeliveredCount => Cell::Integer(total.delivered.as_i64()),
        Field::DeliveryRate => total.rate().map_or(Cell::Null, Cell::Float),
        Field::Buckets => Cell::Integer(i64::try_from(total.buckets).unwrap_or(i64::MAX)),
        Field::IsPartial => Cell::Flag(total.is_partial),
        Field::Finality => finality(total.finality),
        Field::FetchedAt => Cell::Instant(total.fetched_at),
        _ => Cell::Null,
    }
}

fn finality<'a>(finality: Finality) -> Cell<'a> {
    Cell::Text(finality.as_str())
}

fn source<'a>(source: Source) -> Cell<'a> {
    Cell::Text(match source {
        Source::Upstream => "UPSTREAM",
        Source::Cache => "CACHE",
        Source::Archive => "ARCHIVE",
        Source::Stale => "STALE",
    })
}
