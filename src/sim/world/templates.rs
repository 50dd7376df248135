//! Counts of message templates: each language of a template sends like a phone of its own, and of what is delivered some is
//! read and some clicked on.

use super::messages::{Granularity, HALF_HOUR, Phone, Selection, days};
use super::{World, blend, text_hash};
use crate::domain::time::DAY;
use crate::domain::{Timestamp, Window};

/// The languages of every template.
const LANGUAGES: [&str; 3] = ["en_US", "es", "zh_CN"];
/// The buttons of every template: type as the vendor spells it, text, and clicks of a hundred that read.
const BUTTONS: [(&str, &str, u64); 2] = [("url_button", "Track", 18), ("quick_relpy_button", "Stop", 3)];

/// One bucket of one language of a template that has messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateRow {
    /// The language.
    pub language: &'static str,
    /// The bucket's start.
    pub start: Timestamp,
    /// The bucket's end, also while it has not ended yet.
    pub end: Timestamp,
    /// Messages sent.
    pub sent: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages read.
    pub read: u64,
    /// Clicks by type and text of the button.
    pub clicks: Vec<(&'static str, &'static str, u64)>,
}

impl World {
    /// The rows whose own start lies in `window`, as the vendor knows them at `as_of`; ordered by language, then start.
    #[must_use]
    pub fn templates(
        &self,
        channel: &str,
        code: &str,
        granularity: Granularity,
        window: Window,
        as_of: Timestamp,
    ) -> Vec<TemplateRow> {
        self.template_rows(channel, code, granularity, window, as_of, Selection::ByStart)
    }

    /// The rows that `selection` finds for `range`.
    pub(in crate::sim) fn template_rows(
        &self,
        channel: &str,
        code: &str,
        granularity: Granularity,
        range: Window,
        as_of: Timestamp,
        selection: Selection,
    ) -> Vec<TemplateRow> {
        let Some(from) = self.data_from(channel) else { return Vec::new() };
        let Some(reach) = Window::new(range.start().max(from), range.end().min(as_of + DAY)) else { return Vec::new() };
        let days = days(&self.bucket_zone, reach);
        let template = text_hash(blend(self.channel_hash(channel), 3), code);
        let mut rows = Vec::new();
        for (n, language) in (0..).zip(LANGUAGES) {
            let hash = blend(template, n);
            let sender = Phone::new(hash);
            for day in days.iter().filter(|day| !sender.is_closed(day)) {
                let buckets = granularity.buckets(day.window);
                for bucket in buckets.filter(|bucket| bucket.start() >= from && selection.selects(range, *bucket)) {
                    let counts = bucket.tiles(HALF_HOUR).map(|part| {
                        let (sent, delivered) = sender.messages(day, part, as_of);
                        let read = delivered * (40 + blend(hash, part.start().as_secs().cast_unsigned()) % 50) / 100;
                        [sent, delivered, read]
                    });
                    let sum = |sum: [u64; 3], one: [u64; 3]| std::array::from_fn(|at| sum[at] + one[at]);
                    let [sent, delivered, read] = counts.fold([0; 3], sum);
                    if sent > 0 {
                        let clicks = BUTTONS.map(|(kind, text, percent)| (kind, text, read * percent / 100));
                        let clicks = clicks.into_iter().filter(|(_, _, count)| *count > 0).collect();
                        let (start, end) = (bucket.start(), bucket.end());
                        rows.push(TemplateRow { language, start, end, sent, delivered, read, clicks });
                    }
                }
            }
        }
        rows
    }
}
