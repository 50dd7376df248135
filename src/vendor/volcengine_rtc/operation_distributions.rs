//! `ListOperationDistribution` as a typed operation: whose users, over which window, and what one answer holds.
//!
//! A window is one slice and one call, whole: its users are distinct over exactly this span.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::dataset::Dataset;
use crate::domain::{
    Account, AppId, ArchiveKey, ArchiveRow, Archived, CallError, CallErrorKind, Caller, Cut, DistinctUsers, Facts,
    Finality, Keep, Mask, Number, Operation, Slice, Subject, Timestamp, Vendor, Window,
};

/// Two calls a second, windows of at most 7 days within the last 30, by its page. The
/// page of its request format says that the limit is counted per account.
pub const FACTS: Facts = Facts {
    vendor: Vendor::VolcengineRtc,
    operation: "ListOperationDistribution",
    dataset: "operation_distribution",
    calls_per_second: 2,
    max_window: Some(Duration::from_hours(7 * 24)),
    lookback: Some(LOOKBACK),
    additive: false,
    memory_share: 2,
};

/// A window must begin within the last 30 days.
const LOOKBACK: Duration = Duration::from_hours(30 * 24);

/// By what the users are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// First-level regions of China, with Hong Kong, Macao and Taiwan.
    Province,
    /// Countries.
    Country,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Province, Self::Country];

    /// The vendor's spelling, as in its examples.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Province => "province",
            Self::Country => "country",
        }
    }

    /// The spelling of GraphQL's enum, of rows and of tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Province => "PROVINCE",
            Self::Country => "COUNTRY",
        }
    }

    /// How many rows an answer has at most: there are 34 first-level regions and about 250 countries.
    const fn expected_rows(self) -> u64 {
        match self {
            Self::Province => 34,
            Self::Country => 250,
        }
    }
}

/// Whose users, and by what they are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DistributionSubject {
    /// The account that serves the application.
    pub account: Account,
    /// The application.
    pub app: AppId,
    /// By what its users are told apart.
    pub dimension: Dimension,
}

impl Subject for DistributionSubject {
    fn account(&self) -> &Account {
        &self.account
    }

    fn text(&self) -> String {
        serde_json::json!([self.app.as_str(), self.dimension.as_str()]).to_string()
    }

    fn is_seen_by(&self, caller: &Caller) -> bool {
        caller.may_see_app(&self.app)
    }
}

/// The users of one province or country.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The vendor's name of it, such as 上海; may be empty.
    pub name: String,
    /// Distinct users over the whole window.
    pub users: DistinctUsers,
    /// The vendor's percentage, 0 to 100, cut to two decimals; the shares of one answer need not sum to 100.
    pub proportion: f64,
}

/// One window's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Ordered by users descending, then name.
    pub shares: Vec<Share>,
    /// Whether the vendor may still change them.
    pub finality: Finality,
}

/// `ListOperationDistribution`.
#[derive(Debug)]
pub struct OperationDistributions {
    settle: Duration,
}

impl OperationDistributions {
    /// What the numbers count, in the word in which every version of the API answers.
    pub const INDICATOR: &str = "user_num";

    /// `settle` is how long after a window's end the vendor may still change it.
    #[must_use]
    pub const fn new(settle: Duration) -> Self {
        Self { settle }
    }
}

impl Operation for OperationDistributions {
    type Subject = DistributionSubject;
    type Data = Distribution;
    /// `None` is a reply without a list of shares: believed to mean nobody, for a while.
    type Answer = Option<Vec<Share>>;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn masked(&self, _: &Distribution, _: &Mask) -> Option<Distribution> {
        None
    }

    fn settle(&self) -> Duration {
        self.settle
    }

    fn final_from(&self, slice: &Slice<DistributionSubject>) -> (Timestamp, Timestamp) {
        let end = slice.window.end() + self.settle;
        (end, end)
    }

    fn sent_span(&self, call: &Slice<DistributionSubject>, _at: Timestamp) -> Window {
        call.window
    }

    fn grid(&self) -> Option<Duration> {
        None
    }

    fn expected_rows(&self, call: &Slice<DistributionSubject>) -> u64 {
        call.subject.dimension.expected_rows()
    }

    fn joint_subject(&self, subjects: &[&DistributionSubject]) -> DistributionSubject {
        subjects[0].clone()
    }

    fn rows_told(&self, _: &Slice<DistributionSubject>, data: &Distribution) -> Option<usize> {
        let is_one = |share: &Share| share.proportion.is_finite() && share.proportion >= 0.0;
        let names: HashSet<&str> = data.shares.iter().map(|share| share.name.as_str()).collect();
        let is_sound = data.shares.iter().all(is_one)
            && data.shares.is_sorted_by(|one, next| one.users >= next.users)
            && names.len() == data.shares.len();
        is_sound.then_some(data.shares.len())
    }

    /// The first instant that is still answered lies 30 days before `at`.
    fn check_retention(&self, call: &Slice<DistributionSubject>, at: Timestamp) -> Result<(), CallError> {
        let first = at - LOOKBACK;
        if call.window.start() >= first {
            return Ok(());
        }
        let message = format!(
            "the window begins at {}, and the vendor answers only the last 30 days: from {first} on",
            call.window.start()
        );
        let refusal = CallError::new(Vendor::VolcengineRtc, CallErrorKind::OutOfRetention, message);
        Err(CallError { limit: Some(LOOKBACK), ..refusal })
    }

    /// The window as a whole. Only a list, be it empty, can be final.
    fn cut(
        &self,
        call: &Slice<DistributionSubject>,
        answer: Self::Answer,
        sent_at: Timestamp,
    ) -> Vec<Cut<Distribution>> {
        let (has_list, answer) = (answer.is_some(), answer.unwrap_or_default());
        let (keep, finality) = if !has_list {
            (Keep::Unproven, Finality::Provisional)
        } else if sent_at >= call.window.end() + self.settle {
            (Keep::Settled, Finality::Final)
        } else {
            (Keep::Provisional, Finality::Provisional)
        };
        let bytes = weight(&answer);
        let is_empty = answer.is_empty();
        vec![Cut { window: call.window, data: Distribution { shares: answer, finality }, keep, is_empty, bytes }]
    }
}

impl Archived for OperationDistributions {
    const DATASET: Dataset = Dataset::OperationDistributions;

    fn archive_key(subject: &DistributionSubject) -> ArchiveKey {
        ArchiveKey {
            dataset: Self::DATASET,
            account: subject.account.name().to_owned(),
            entity: Some(subject.app.as_str().to_owned()),
            granularity: None,
            dimension: Some(subject.dimension.name()),
            name: None,
        }
    }

    fn to_rows(slice: &Slice<DistributionSubject>, distribution: &Distribution) -> Vec<ArchiveRow> {
        let row = |share: &Share| ArchiveRow {
            name: share.name.as_str().into(),
            start: slice.window.start(),
            end: slice.window.end(),
            numbers: [share.users.as_f64(), share.proportion].map(Number::Float),
            finality: distribution.finality,
        };
        distribution.shares.iter().map(row).collect()
    }

    fn from_rows(_: &DistributionSubject, rows: Vec<ArchiveRow>, finality: Finality) -> Option<(Distribution, u32)> {
        let share = |row: ArchiveRow| {
            let [Number::Float(users), Number::Float(proportion)] = row.numbers else { return None };
            Some(Share { name: row.name.as_ref().to_owned(), users: DistinctUsers::new(users)?, proportion })
        };
        let mut shares: Vec<_> = rows.into_iter().map(share).collect::<Option<_>>()?;
        shares.sort_by(|a, b| b.users.as_f64().total_cmp(&a.users.as_f64()).then_with(|| a.name.cmp(&b.name)));
        let bytes = weight(&shares);
        Some((Distribution { shares, finality }, bytes))
    }
}

/// Bytes in memory.
fn weight(shares: &[Share]) -> u32 {
    let names: usize = shares.iter().map(|share| share.name.len()).sum();
    let bytes = size_of::<Distribution>() + size_of_val(shares) + names;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
