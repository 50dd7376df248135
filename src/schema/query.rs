//! The roots of all reading: arguments are checked here, then handed to the loader.

#![expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]

use async_graphql::{Context, Description, ID, Object, Result};

use super::channel::{Application, Channel};
use super::context::{entry_width, request};
use super::cursor;
use super::error::{Nullable, nullable};
use super::given::Given;
use super::metric_connection::{PhoneNumberMetricConnection, seal};
use super::metric_rows::MetricQuery;
use super::operation_distribution::{self, OperationDistribution, OperationDistributionBounds};
use super::quota::{Dataset, Quota};
use super::range::TimeRange;
use super::scalars::{Dimension, Granularity, IsoDuration};
use crate::domain::Operation as _;
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// Two vendors' metrics behind one schema. Every root field that calls a vendor is nullable: when one vendor fails, its
/// field is null with an error beside it, and the other vendor's data is untouched.
///
/// Errors carry `extensions`: `code`, `vendor`, `account`, `vendorCode`, `vendorRequestId`, `retryable`, `retryAfterMs`.
/// The codes are `BAD_USER_INPUT`, `RANGE_TOO_LONG`, `OUT_OF_RETENTION`, `UNKNOWN_CHANNEL`, `UNKNOWN_APPLICATION`,
/// `NOT_SUBSCRIBED`, `VENDOR_DENIED`, `VENDOR_THROTTLED`, `VENDOR_UNAVAILABLE`, `VENDOR_TIMEOUT`, `VENDOR_BAD_REPLY`,
/// `QUOTA_WAIT_TOO_LONG`, `NON_ADDITIVE`, `UNAUTHENTICATED`, `FORBIDDEN`, `TOO_EXPENSIVE` and `INTERNAL`.
///
/// Every response carries `extensions.weir`: `upstreamCalls` by vendor, `cacheHits`, `collapsed` and `queueWaitMs`, what
/// the request really cost.
#[derive(Debug, Description)]
pub(super) struct Query;

#[Object(use_type_description)]
impl Query {
    /// WhatsApp messages sent and delivered per business phone number, ordered by (custSpaceId, phoneNumber, start).
    /// Source: `GetChatappPhoneNumberMetric` of Alibaba Cloud CAMS. Buckets without messages are absent.
    #[expect(clippy::too_many_arguments, reason = "one argument of the schema each")]
    async fn phone_number_metrics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The channel; may be left out where only one is configured.")] cust_space_id: Option<ID>,
        #[graphql(desc = "Business phone numbers, compared by their digits; all of the channel without it.")]
        phone_numbers: Given<Option<Vec<String>>>,
        #[graphql(default_with = "Granularity::Daily.into()", desc = "The step of the series.")] granularity: Given<
            Granularity,
        >,
        #[graphql(desc = "Rows are chosen by their own start inside it.")] range: Given<TimeRange>,
        #[graphql(desc = "Rows of this page: 10,000 unless said, at most 100,000.")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before, of a query with the same arguments.")] after: Option<
            String,
        >,
    ) -> Nullable<PhoneNumberMetricConnection> {
        nullable(async {
            let context = request(context)?;
            let channel = context.catalog.channel(cust_space_id.as_ref().map(|id| id.as_str()), context.caller())?;
            let subject = channel.subject(granularity.get()?);
            let phones = MetricQuery::parse_phones(phone_numbers.get()?.as_deref())?;
            let range = range.get()?;
            let mut window = range.metric_window(subject.granularity, context.quarter())?;
            if let (Some(after), TimeRange::Last(_)) = (&after, range) {
                // The walk goes on in the window it began with, however long ago that was.
                let began = cursor::window_of(after)?;
                window = if began.length() == window.length() { began } else { window };
            }
            let query = MetricQuery { subject, phones, window };
            let seal = seal(&query, range, context.caller());
            let after = after.as_deref().map(|after| seal.open(after)).transpose()?;
            PhoneNumberMetricConnection::check_first(first)?;
            let Some(rows) = query.rows(context).await? else { return Ok(None) };
            Ok(Some(PhoneNumberMetricConnection::new(rows, first, after.as_ref(), seal)?))
        })
        .await
    }

    /// Distinct call users of one application per place over one window of at most 7 days. Source:
    /// `ListOperationDistribution` of Volcengine RTC.
    async fn operation_distribution(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The application.")] app_id: Given<ID>,
        #[graphql(default_with = "Dimension::Province.into()", desc = "By which kind of place.")] dimension: Given<
            Dimension,
        >,
        #[graphql(desc = "The exact window: distinct users of another one are another number.")] range: Given<
            TimeRange,
        >,
    ) -> Nullable<OperationDistribution> {
        nullable(async {
            let context = request(context)?;
            let app = context.catalog.app(&app_id.get()?, context.caller())?;
            Ok(operation_distribution::one(context, app, dimension.get()?, range.get()?).await?)
        })
        .await
    }

    /// Distinct call users per place, one entry a window, application by application in order of time. Windows do not
    /// add up. An entry that failed is null with its error; calendar windows that begin before the vendor's 30 days are
    /// left out and listed in `extensions.weir.omitted`.
    async fn operation_distributions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The applications; all configured ones without it.")] app_ids: Given<Option<Vec<ID>>>,
        #[graphql(default_with = "Dimension::Province.into()", desc = "By which kind of place.")] dimension: Given<
            Dimension,
        >,
        #[graphql(
            desc = "`between` is tiled from its start; with `last`, the windows are those of the calendar in the account's time zone that begin inside it."
        )]
        range: Given<TimeRange>,
        #[graphql(
            default_with = "IsoDuration(crate::domain::time::DAY).into()",
            desc = "The length of one window, at most `P7D`. With `last`: a divisor of 24 hours in whole hours, `P1D`, or `P7D` (weeks begin on Monday)."
        )]
        window: Given<IsoDuration>,
    ) -> Nullable<Vec<Nullable<OperationDistribution>>> {
        nullable(async {
            let (context, width) = (request(context)?, entry_width(context));
            let apps = match &app_ids.get()? {
                None => context.catalog.apps(context.caller()).collect(),
                Some(ids) => {
                    ids.iter().map(|id| context.catalog.app(id, context.caller())).collect::<Result<Vec<_>, _>>()?
                }
            };
            Ok(operation_distribution::many(context, width, &apps, dimension.get()?, range.get()?, window.get()?.0)
                .await?)
        })
        .await
    }

    /// What is certain of the distinct call users of one application per place over a range of any length: at least
    /// those of the largest window, at most those of all windows that tile it. Null if one window is missing.
    async fn operation_distribution_bounds(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The application.")] app_id: Given<ID>,
        #[graphql(default_with = "Dimension::Province.into()", desc = "By which kind of place.")] dimension: Given<
            Dimension,
        >,
        #[graphql(desc = "The range; the vendor keeps 30 days.")] range: Given<TimeRange>,
    ) -> Nullable<OperationDistributionBounds> {
        nullable(async {
            let context = request(context)?;
            let app = context.catalog.app(&app_id.get()?, context.caller())?;
            Ok(operation_distribution::bounds(context, app, dimension.get()?, range.get()?).await?)
        })
        .await
    }

    /// The configured WhatsApp channels.
    async fn channels(&self, context: &Context<'_>) -> Result<Vec<Channel>> {
        let context = request(context)?;
        Ok(context.catalog.channels(context.caller()).cloned().map(Channel).collect())
    }

    /// One configured WhatsApp channel.
    async fn channel(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The vendor's `CustSpaceId`.")] cust_space_id: Given<ID>,
    ) -> Nullable<Channel> {
        nullable(async {
            let context = request(context)?;
            Ok(Some(Channel(context.catalog.channel(Some(&cust_space_id.get()?), context.caller())?.clone())))
        })
        .await
    }

    /// The configured RTC applications.
    async fn applications(&self, context: &Context<'_>) -> Result<Vec<Application>> {
        let context = request(context)?;
        Ok(context.catalog.apps(context.caller()).cloned().map(Application).collect())
    }

    /// One configured RTC application.
    async fn application(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The vendor's `AppId`.")] app_id: Given<ID>,
    ) -> Nullable<Application> {
        nullable(async {
            let context = request(context)?;
            Ok(Some(Application(context.catalog.app(&app_id.get()?, context.caller())?.clone())))
        })
        .await
    }

    /// What is known of each upstream operation that answers rows.
    async fn datasets(&self, context: &Context<'_>) -> Result<Vec<Dataset>> {
        let stores = request(context)?.lore().stores();
        Ok(vec![
            Dataset::new(&alibaba_cams::FACTS, stores.metrics.operation().settle()),
            Dataset::new(&volcengine_rtc::FACTS, stores.distributions.operation().settle()),
        ])
    }

    /// The permits of every operation of every configured account, as they are now.
    async fn quotas(&self, context: &Context<'_>) -> Result<Vec<Quota>> {
        let context = request(context)?;
        let quotas = context.catalog.accounts.iter().flat_map(|account| {
            let standings = context.live().stores().standings(account);
            standings
                .into_iter()
                .map(|(operation, permits, standing)| Quota::new(account, operation, permits, &standing))
                .collect::<Vec<_>>()
        });
        Ok(quotas.collect())
    }
}
