//! The seam between the layers: what the store, the planner and the quota need to know of one upstream operation.
//!
//! A vendor's room implements [`Operation`] and [`Subject`]; nobody below the loader knows more of it than this.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Account, Caller, Facts, Keep, Mask, Timestamp, Vendor, Window};

/// Whose numbers: everything that identifies an answer, except the time.
pub trait Subject: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// The account that serves it.
    fn account(&self) -> &Account;

    /// The subject without its account, as text that no other subject has: what replicas know it by. Holds whole phone
    /// numbers, so it is never shown.
    fn text(&self) -> String;

    /// Whether a caller may see its numbers, all of them as they are: not one phone number alone where phones are masked.
    fn is_seen_by(&self, caller: &Caller) -> bool;

    /// The wider subject whose slices also answer for this one (the channel, for one of its phones).
    fn whole(&self) -> Option<Self> {
        None
    }
}

/// A subject and a window: the key of one cache entry, a gap when memory does not hold it, and one upstream call when
/// gaps were joined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slice<S> {
    /// Whose numbers.
    pub subject: S,
    /// Over which span. For a call: the wanted span, before any padding that the room adds on the wire.
    pub window: Window,
}

/// One slice cut out of a reply.
#[derive(Debug)]
pub struct Cut<D> {
    /// The window of the slice.
    pub window: Window,
    /// Its content, rows ordered as the schema orders them.
    pub data: D,
    /// How long it may be used.
    pub keep: Keep,
    /// Whether it holds no rows.
    pub is_empty: bool,
    /// What it weighs in memory.
    pub bytes: u32,
}

/// A reply and when its request was sent, by the clock that signed it.
#[derive(Debug)]
pub struct Sent<A> {
    /// The parsed and checked reply.
    pub answer: A,
    /// When the request was signed, right before it was written.
    pub at: Timestamp,
}

/// One upstream operation that answers slices.
pub trait Operation: Send + Sync + 'static {
    /// Whose numbers.
    type Subject: Subject;
    /// What one slice holds.
    type Data: fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// A parsed and checked reply.
    type Answer: Send + 'static;

    /// Limits and lateness.
    fn facts(&self) -> &'static Facts;

    /// How long after a window's end the vendor may still change it.
    fn settle(&self) -> Duration;

    /// From when on something in the slice may be final, and from when on all of it is.
    fn final_from(&self, slice: &Slice<Self::Subject>) -> (Timestamp, Timestamp);

    /// The span that a call asks the vendor for, if it is sent at `at`: its window and any padding.
    fn sent_span(&self, call: &Slice<Self::Subject>, at: Timestamp) -> Window;

    /// The cells in which answers are kept and that calls may join; `None` where a window is only good as a whole.
    fn grid(&self) -> Option<Duration>;

    /// How many rows a call is expected to bring, from what was learned so far.
    fn expected_rows(&self, call: &Slice<Self::Subject>) -> u64;

    /// The subject of one call for all of `subjects` (never empty, all of one group). By default the first if all are
    /// equal, else the whole.
    fn joint_subject(&self, subjects: &[&Self::Subject]) -> Self::Subject;

    /// Whether the vendor would still answer this call if it were sent at `at`.
    ///
    /// # Errors
    /// [`CallErrorKind::OutOfRetention`] beyond the vendor's lookback.
    fn check_retention(&self, call: &Slice<Self::Subject>, at: Timestamp) -> Result<(), CallError>;

    /// How many rows there are in what another replica tells of a slice; `None` if no reply can have brought it: types alone do
    /// not say so.
    fn rows_told(&self, slice: &Slice<Self::Subject>, data: &Self::Data) -> Option<usize>;

    /// Learns from a slice that another replica asked for at `sent_at`.
    fn learn_from(&self, _slice: &Slice<Self::Subject>, _data: &Self::Data, _sent_at: Timestamp) {}

    /// The same numbers for a caller who may not read phone numbers; `None` where there are none in it.
    fn masked(&self, data: &Self::Data, mask: &Mask) -> Option<Self::Data>;

    /// Cuts a reply into slices: every cell of the grid that the call covers, or the window as a whole. Also learns from
    /// the reply whatever later calls need.
    fn cut(&self, call: &Slice<Self::Subject>, answer: Self::Answer, sent_at: Timestamp) -> Vec<Cut<Self::Data>>;
}

/// Why a call brought no answer, sorted once, in the vendor's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallErrorKind {
    /// The vendor counted too many calls.
    Throttled,
    /// Key, signature, clock or permission were refused.
    Denied,
    /// The product is not subscribed.
    NotSubscribed,
    /// The channel is not the account's.
    UnknownChannel,
    /// The application is not the account's.
    UnknownApplication,
    /// The window begins before what the vendor still answers.
    OutOfRetention,
    /// The vendor refused a value that the caller chose.
    BadInput,
    /// The vendor refused a form of request that the room has now changed; the next attempt is sent differently.
    Adjusted,
    /// The permit was too old when it was to be used; nothing was sent.
    PermitExpired,
    /// No connection, a reset, or a 5xx.
    Unavailable,
    /// No complete reply in time.
    TimedOut,
    /// A reply that makes no sense.
    BadReply,
    /// weir's own mistake.
    Internal,
}

/// A failed call: kind and what may be shown of it. The cause is for the log alone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind:?}: {message}")]
pub struct CallError {
    /// What it means.
    pub kind: CallErrorKind,
    /// For people; holds no secret and none of the vendor's signature text.
    pub message: String,
    /// The vendor whose call failed.
    pub vendor: Vendor,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
    /// How long the vendor asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The vendor's limit that was exceeded, where it is a length of time.
    pub limit: Option<Duration>,
}

impl CallError {
    /// A failure without a word from the vendor.
    #[must_use]
    pub fn new(vendor: Vendor, kind: CallErrorKind, message: impl Into<String>) -> Self {
        let (vendor_code, request_id, retry_after, limit) = (None, None, None, None);
        Self { kind, message: message.into(), vendor, vendor_code, request_id, retry_after, limit }
    }

    /// Whether the call was refused here and nothing was sent: that tells nothing of the vendor.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self.kind {
            CallErrorKind::PermitExpired => true,
            CallErrorKind::OutOfRetention | CallErrorKind::Internal => self.vendor_code.is_none(),
            CallErrorKind::Throttled
            | CallErrorKind::Denied
            | CallErrorKind::NotSubscribed
            | CallErrorKind::UnknownChannel
            | CallErrorKind::UnknownApplication
            | CallErrorKind::BadInput
            | CallErrorKind::Adjusted
            | CallErrorKind::Unavailable
            | CallErrorKind::TimedOut
            | CallErrorKind::BadReply => false,
        }
    }

    /// Whether the same call may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            CallErrorKind::Throttled
            | CallErrorKind::Adjusted
            | CallErrorKind::PermitExpired
            | CallErrorKind::Unavailable
            | CallErrorKind::TimedOut => true,
            CallErrorKind::Denied
            | CallErrorKind::NotSubscribed
            | CallErrorKind::UnknownChannel
            | CallErrorKind::UnknownApplication
            | CallErrorKind::OutOfRetention
            | CallErrorKind::BadInput
            | CallErrorKind::BadReply
            | CallErrorKind::Internal => false,
        }
    }

    /// Whether every such call of the same subject will be refused alike, so that the refusal is worth remembering.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self.kind {
            CallErrorKind::Denied
            | CallErrorKind::NotSubscribed
            | CallErrorKind::UnknownChannel
            | CallErrorKind::UnknownApplication => true,
            CallErrorKind::Throttled
            | CallErrorKind::Adjusted
            | CallErrorKind::PermitExpired
            | CallErrorKind::Unavailable
            | CallErrorKind::TimedOut
            | CallErrorKind::OutOfRetention
            | CallErrorKind::BadInput
            | CallErrorKind::BadReply
            | CallErrorKind::Internal => false,
        }
    }
}
