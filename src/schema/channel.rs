//! `Channel` and `Application`: what the config names, and their numbers.

#![expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]

use async_graphql::{Context, Description, ID, Object, Result};

use super::catalog::{CatalogApp, CatalogChannel};
use super::context::request;
use super::error::{Nullable, nullable};
use super::given::Given;
use super::metric_rows::{MetricQuery, Rows};
use super::operation_distribution::{self, OperationDistribution};
use super::range::TimeRange;
use super::scalars::{Dimension, Granularity};
use crate::vendor::alibaba_cams::MetricSubject;

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

    /// The business phone numbers that replies of the last month have shown; null before the first. Never an upstream call.
    async fn phone_numbers(&self, context: &Context<'_>) -> Result<Option<Vec<String>>> {
        let context = request(context)?;
        let seen = context.lore().seen_phones(&self.0.account, self.0.id.as_ref());
        let visible = |phones: Vec<crate::domain::PhoneNumber>| {
            phones
                .into_iter()
                .filter(|phone| context.caller().may_see_phone(phone))
                .map(|phone| phone.expose().to_owned())
                .collect()
        };
        Ok(seen.map(visible))
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
    ) -> Nullable<Rows> {
        nullable(async {
            let context = request(context)?;
            let subject = self.0.subject(granularity.get()?);
            let window = range.get()?.metric_window(subject.granularity, context.quarter())?;
            let phones = MetricQuery::parse_phones(phone_number.as_ref().map(std::slice::from_ref))?;
            Ok(MetricQuery { subject, phones, window }.rows(context).await?)
        })
        .await
    }
}

impl CatalogChannel {
    /// All phones of the channel.
    pub(super) fn subject(&self, granularity: Granularity) -> MetricSubject {
        let (account, channel) = (self.account.clone(), self.id.clone());
        MetricSubject { account, channel, granularity: granularity.into(), phone: None }
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
            let context = request(context)?;
            Ok(operation_distribution::one(context, &self.0, dimension.get()?, range.get()?).await?)
        })
        .await
    }
}
