//! `Channel` and `Application`: what the config names, and their numbers.

#![expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]

use async_graphql::{Context, Description, ID, Object, Result};

use super::context::request;
use super::error::{Nullable, failed, nullable};
use super::given::Given;
use super::operation_distribution::OperationDistribution;
use super::phone_number_metric::PhoneNumberMetrics;
use super::range::TimeRange;
use super::scalars::{Dimension, Granularity};
use crate::domain::calendar::zone_name;
use crate::query::phone_number_metrics::{MetricQuery, MetricRows, seen_phones};
use crate::query::zone::channel_zone;
use crate::query::{CatalogApp, CatalogChannel, operation_distributions};

/// A configured WhatsApp channel of an Alibaba Cloud CAMS account.
#[derive(Debug, Description)]
pub(super) struct Channel(pub(super) CatalogChannel);

#[Object(use_type_description)]
impl Channel {
    /// The vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    async fn cust_space_id(&self) -> Option<ID> {
        self.0.id.as_ref().map(|id| ID(id.as_str().to_owned()))
    }

    /// The configured account that serves the channel.
    async fn account(&self) -> &str {
        self.0.account.name()
    }

    /// The codes of the configured message templates of the channel, for `templateMetrics`.
    async fn templates(&self) -> &[String] {
        &self.0.templates
    }

    /// The time zone at whose midnights its days begin: the configured one, else the offset that replies show, such as
    /// `+08:00`. Null before the first reply, and where no single offset fits. Never an upstream call.
    async fn time_zone(&self, context: &Context<'_>) -> Result<Option<String>> {
        let zone = channel_zone(&request(context)?.query, &self.0).map_err(|error| failed(&error))?;
        Ok(zone.map(|zone| zone_name(&zone)))
    }

    /// The business phone numbers that replies of the last month have shown; null before the first. Never an upstream call.
    async fn phone_numbers(&self, context: &Context<'_>) -> Result<Option<Vec<String>>> {
        let seen = seen_phones(&request(context)?.query, &self.0).map_err(|error| failed(&error))?;
        Ok(seen.map(|phones| phones.iter().map(|phone| phone.expose().to_owned()).collect()))
    }

    /// Messages of the channel, ordered by (phoneNumber, start); of one phone number if one is named. Source:
    /// `GetChatappPhoneNumberMetric`.
    async fn metrics(
        &self,
        context: &Context<'_>,
        #[graphql(default_with = "Granularity::Daily.into()", desc = "The step of the series.")] granularity: Given<
            Granularity,
        >,
        #[graphql(desc = "Rows are chosen by their own start inside it.")] range: Given<TimeRange>,
        #[graphql(desc = "One business phone number, compared by its digits; all without it.")] phone_number: Option<
            String,
        >,
    ) -> Nullable<PhoneNumberMetrics> {
        nullable(async {
            let context = request(context)?;
            let request = &context.query;
            let phones = phone_number.as_ref().map(std::slice::from_ref);
            let query =
                MetricQuery::new(&self.0, granularity.get()?.into(), phones, range.get()?.into(), request.caller())?;
            let rows = query.rows(request).await?;
            context.take_beside(rows.as_ref().map_or(0, MetricRows::bytes))?;
            Ok(rows.map(PhoneNumberMetrics))
        })
        .await
    }
}

/// A configured application of a Volcengine RTC account.
#[derive(Debug, Description)]
pub(super) struct Application(pub(super) CatalogApp);

#[Object(use_type_description)]
impl Application {
    /// The vendor's `AppId`.
    async fn app_id(&self) -> ID {
        ID(self.0.id.as_str().to_owned())
    }

    /// The configured account that serves the application.
    async fn account(&self) -> &str {
        self.0.account.name()
    }

    /// Distinct call users per place over one window of at most 7 days. Source: `ListOperationDistribution`.
    async fn distribution(
        &self,
        context: &Context<'_>,
        #[graphql(default_with = "Dimension::Province.into()", desc = "By which kind of place.")] dimension: Given<
            Dimension,
        >,
        #[graphql(desc = "The exact window: distinct users of another one are another number.")] range: Given<
            TimeRange,
        >,
    ) -> Nullable<OperationDistribution> {
        nullable(async {
            let request = &request(context)?.query;
            let (dimension, range) = (dimension.get()?.into(), range.get()?.into());
            Ok(operation_distributions::one(request, &self.0, dimension, range).await?.map(OperationDistribution))
        })
        .await
    }
}
