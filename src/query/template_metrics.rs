//! WhatsApp messages sent, delivered and read, and buttons clicked, per language of a message template and bucket.

use std::sync::Arc;

use super::catalog::CatalogChannel;
use super::counts;
use super::page::{Page, Paging, Walk};
use super::range::TimeRange;
use super::request::Request;
use super::rows::Row;
use crate::domain::Key as _;
use crate::error::WeirError;
use crate::vendor::alibaba_cams::{Granularity, Language, TemplatePoint, TemplateSubject, Templates};

/// A page of rows, ordered by (language, start).
pub type TemplatePage = Page<TemplateSubject, TemplatePoint>;
/// One of them.
pub type TemplateRow<'a> = Row<'a, TemplateSubject, TemplatePoint>;

/// Which counts of a template are asked for.
#[derive(Debug)]
pub struct TemplateQuery {
    subject: TemplateSubject,
    range: TimeRange,
}

/// The longest code of a template, and name of a language: far more than any has, and no more than an address carries.
const LONGEST_NAME: usize = 512;

impl TemplateQuery {
    /// The counts of a template of a channel, or of one of its languages.
    ///
    /// # Errors
    /// A template or a language without a name.
    pub fn new(
        channel: &CatalogChannel,
        template: &str,
        language: Option<&str>,
        granularity: Granularity,
        range: TimeRange,
    ) -> Result<Self, WeirError> {
        if template.is_empty() {
            return Err(WeirError::bad_input("templateCode is empty; the vendor's console shows it"));
        }
        if template.len() > LONGEST_NAME || language.is_some_and(|language| language.len() > LONGEST_NAME) {
            let message = format!("templateCode and language have at most {LONGEST_NAME} bytes");
            return Err(WeirError::bad_input(message));
        }
        if language.is_some_and(str::is_empty) {
            return Err(WeirError::bad_input("language is empty; leave it out for all languages"));
        }
        let subject = TemplateSubject {
            account: channel.account.clone(),
            channel: channel.id.clone(),
            template: template.into(),
            granularity,
            language: language.and_then(Language::read),
        };
        Ok(Self { subject, range })
    }

    /// A page of the rows; `None` where the request is only explained.
    ///
    /// # Errors
    /// A range or a cursor that makes no sense, or what failed upstream.
    pub async fn page(self, paging: Paging<'_>, request: &Request) -> Result<Option<TemplatePage>, Arc<WeirError>> {
        let window = request.judged(self.range.metric_window(self.subject.granularity, request.quarter()))?;
        let walk = request.judged(Walk::new(paging, self.range, window, self.parts(request)))?;
        let (subject, asked) = (self.subject.clone(), vec![self.subject]);
        let rows = counts::rows::<Templates>(request, subject, asked, walk.window, |_| true).await?;
        Ok(rows.map(|rows| Page::new(rows, walk)))
    }

    /// What decides which rows there are, beside the window.
    fn parts(&self, request: &Request) -> [String; 6] {
        let TemplateSubject { account, channel, template, granularity, language } = &self.subject;
        let channel = channel.as_ref().map_or("", |channel| channel.as_str());
        let language = language.as_ref().map_or("*", |language| language.text());
        [request.caller().scope(), account.name(), channel, template, granularity.as_str(), language].map(str::to_owned)
    }
}
