//! The roots of all reading: arguments are checked here, then handed to the loader.

#![expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]

use async_graphql::{Context, Description, ID, Object, Result};

use super::channel::{Application, Channel};
use super::collection::Collection;
use super::connection::{PhoneNumberMetricConnection, TemplateMetricConnection};
use super::context::{entry_width, request};
use super::error::{Nullable, nullable};
use super::given::Given;
use super::item::RawList;
use super::operation_distribution::{OperationDistribution, OperationDistributionBounds};
use super::quota::{Dataset, Quota};
use super::range::TimeRange;
use super::scalars::{Dimension, Granularity, IsoDuration};
use super::total::{Period, PhoneNumberMetricTotal, TotalsKey};
use crate::query::operation_distributions::{self, Entry, Windows};
use crate::query::phone_number_metrics::MetricQuery;
use crate::query::template_metrics::TemplateQuery;
use crate::query::totals::{By, Terms, TotalsQuery};
use crate::query::{Page, Paging};

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
            let request = &context.query;
            let id = cust_space_id.as_ref().map(|id| id.as_str());
            let channel = request.catalog().channel(id, request.caller())?;
            let (granularity, phones) = (granularity.get()?, phone_numbers.get()?);
            let query = MetricQuery::new(
                channel,
                granularity.into(),
                phones.as_deref(),
                range.get()?.into(),
                request.caller(),
            )?;
            let paging = Paging { first: first.map(i64::from), after: after.as_deref() };
            let page = query.page(paging, request).await?;
            context.take_beside(page.as_ref().map_or(0, Page::bytes))?;
            Ok(page.map(PhoneNumberMetricConnection))
        })
        .await
    }

    /// WhatsApp messages added up, ordered by (start, custSpaceId, phoneNumber); one total for the whole range without
    /// `period`. Groups and periods without messages are absent unless `fill` is true.
    #[expect(clippy::too_many_arguments, reason = "one argument of the schema each")]
    async fn phone_number_metric_totals(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The channels; all configured ones without it.")] cust_space_ids: Given<Option<Vec<ID>>>,
        #[graphql(desc = "Business phone numbers, compared by their digits; all without it.")] phone_numbers: Given<
            Option<Vec<String>>,
        >,
        #[graphql(default_with = "Granularity::Daily.into()", desc = "The step of the series that is added up.")]
        granularity: Given<Granularity>,
        #[graphql(desc = "Buckets are chosen by their own start inside it.")] range: Given<TimeRange>,
        #[graphql(default_with = "Vec::new().into()", desc = "What totals are told apart by, beside their time.")]
        by: Given<Vec<TotalsKey>>,
        #[graphql(desc = "The periods of the calendar; the whole range as one without it.")] period: Given<
            Option<Period>,
        >,
        #[graphql(desc = "The IANA zone of the periods; that of each channel without it.")] time_zone: Option<String>,
        #[graphql(default = false, desc = "Whether periods without messages are there, as zeros.")] fill: bool,
    ) -> Nullable<RawList<'static, PhoneNumberMetricTotal>> {
        nullable(async {
            let request = &request(context)?.query;
            let (catalog, caller) = (request.catalog(), request.caller());
            let channels = match cust_space_ids.get()? {
                Some(ids) => ids.iter().map(|id| catalog.channel(Some(id), caller)).collect::<Result<Vec<_>, _>>()?,
                None => catalog.channels(caller).collect(),
            };
            let (phones, granularity, by) = (phone_numbers.get()?, granularity.get()?, by.get()?);
            let zone = time_zone.as_deref().map(Terms::zone).transpose()?;
            let has = |key| by.contains(&key);
            let by = By { channel: has(TotalsKey::Channel), phone_number: has(TotalsKey::PhoneNumber) };
            let terms = Terms { by, period: period.get()?.map(Into::into), zone, fill };
            let query =
                TotalsQuery::new(channels, phones.as_deref(), granularity.into(), range.get()?.into(), terms, caller)?;
            let totals = query.answer(request).await?;
            Ok(totals.map(|totals| RawList::of(totals.into_iter().map(PhoneNumberMetricTotal))))
        })
        .await
    }

    /// What became of the messages of one template: sent, delivered, read, and clicks on its buttons, ordered by (language,
    /// start). Source: `GetChatappTemplateMetric` of Alibaba Cloud CAMS. Buckets without messages are absent.
    #[expect(clippy::too_many_arguments, reason = "one argument of the schema each")]
    async fn template_metrics(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The channel; may be left out where only one is configured.")] cust_space_id: Option<ID>,
        #[graphql(desc = "The vendor's code of the template.")] template_code: Given<String>,
        #[graphql(desc = "One language as the vendor writes it, such as `en_US`; all without it.")] language: Option<
            String,
        >,
        #[graphql(default_with = "Granularity::Daily.into()", desc = "The step of the series.")] granularity: Given<
            Granularity,
        >,
        #[graphql(desc = "Rows are chosen by their own start inside it.")] range: Given<TimeRange>,
        #[graphql(desc = "Rows of this page: 10,000 unless said, at most 100,000.")] first: Option<i32>,
        #[graphql(desc = "The `endCursor` of the page before, of a query with the same arguments.")] after: Option<
            String,
        >,
    ) -> Nullable<TemplateMetricConnection> {
        nullable(async {
            let context = request(context)?;
            let request = &context.query;
            let id = cust_space_id.as_ref().map(|id| id.as_str());
            let channel = request.catalog().channel(id, request.caller())?;
            let (template, granularity) = (template_code.get()?, granularity.get()?.into());
            let query = TemplateQuery::new(channel, &template, language.as_deref(), granularity, range.get()?.into())?;
            let paging = Paging { first: first.map(i64::from), after: after.as_deref() };
            let page = query.page(paging, request).await?;
            context.take_beside(page.as_ref().map_or(0, Page::bytes))?;
            Ok(page.map(TemplateMetricConnection))
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
            let request = &request(context)?.query;
            let app = request.catalog().app(&app_id.get()?, request.caller())?;
            let (dimension, range) = (dimension.get()?.into(), range.get()?.into());
            Ok(operation_distributions::one(request, app, dimension, range).await?.map(OperationDistribution))
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
            let request = &context.query;
            let (catalog, caller) = (request.catalog(), request.caller());
            let apps = match &app_ids.get()? {
                None => catalog.apps(caller).collect(),
                Some(ids) => ids.iter().map(|id| catalog.app(id, caller)).collect::<Result<Vec<_>, _>>()?,
            };
            let (dimension, range, step) = (dimension.get()?.into(), range.get()?.into(), window.get()?.0);
            let windows = Windows::new(request, &apps, dimension, range, step)?;
            context.take_room(windows.len().saturating_mul(width))?;
            let entry = |entry: Entry| match entry {
                Some(Ok(window)) => Some(Ok(OperationDistribution(window))),
                Some(Err(error)) => context.failed(&error),
                None => None,
            };
            Ok(windows.answer(request).await?.map(|entries| entries.into_iter().map(entry).collect()))
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
            let request = &request(context)?.query;
            let app = request.catalog().app(&app_id.get()?, request.caller())?;
            let dimension = dimension.get()?;
            let bounds = operation_distributions::bounds(request, app, dimension.into(), range.get()?.into()).await?;
            Ok(bounds.map(|bounds| OperationDistributionBounds::new(app, dimension, bounds)))
        })
        .await
    }

    /// The configured WhatsApp channels.
    async fn channels(&self, context: &Context<'_>) -> Result<Vec<Channel>> {
        let request = &request(context)?.query;
        Ok(request.catalog().channels(request.caller()).cloned().map(Channel).collect())
    }

    /// One configured WhatsApp channel.
    async fn channel(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The vendor's `CustSpaceId`.")] cust_space_id: Given<ID>,
    ) -> Nullable<Channel> {
        nullable(async {
            let request = &request(context)?.query;
            Ok(Some(Channel(request.catalog().channel(Some(&cust_space_id.get()?), request.caller())?.clone())))
        })
        .await
    }

    /// The configured RTC applications.
    async fn applications(&self, context: &Context<'_>) -> Result<Vec<Application>> {
        let request = &request(context)?.query;
        Ok(request.catalog().apps(request.caller()).cloned().map(Application).collect())
    }

    /// One configured RTC application.
    async fn application(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The vendor's `AppId`.")] app_id: Given<ID>,
    ) -> Nullable<Application> {
        nullable(async {
            let request = &request(context)?.query;
            Ok(Some(Application(request.catalog().app(&app_id.get()?, request.caller())?.clone())))
        })
        .await
    }

    /// What is known of each upstream operation that answers rows.
    async fn datasets(&self, context: &Context<'_>) -> Result<Vec<Dataset>> {
        let datasets = request(context)?.query.datasets().into_iter();
        Ok(datasets.map(|(facts, settle)| Dataset::new(facts, settle)).collect())
    }

    /// The permits of every operation of every configured account, as they are now.
    async fn quotas(&self, context: &Context<'_>) -> Result<Vec<Quota>> {
        Ok(request(context)?.query.quotas().iter().map(Quota::new).collect())
    }

    /// The series that are collected into the archive, in the order of their names, and how far each is now; empty without
    /// an archive. Costs no upstream call.
    async fn collections(&self, context: &Context<'_>) -> Result<Vec<Collection>> {
        Ok(request(context)?.query.collections().into_iter().map(Collection::from).collect())
    }
}
