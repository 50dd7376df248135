//! What can go wrong for a caller, with the codes that callers may rely on.

use std::fmt;
use std::time::Duration;

use crate::domain::{Account, CallError, CallErrorKind, LimitName, Vendor};

/// The closed list of `extensions.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// An argument makes no sense.
    BadUserInput,
    /// A window longer than the vendor answers in one piece.
    RangeTooLong,
    /// A window that the vendor no longer answers.
    OutOfRetention,
    /// No account serves the channel, or the vendor does not know it.
    UnknownChannel,
    /// No account serves the application, or the vendor does not know it.
    UnknownApplication,
    /// The vendor's product is not subscribed.
    NotSubscribed,
    /// The vendor refused key, signature, clock or permission.
    VendorDenied,
    /// The vendor counted too many calls.
    VendorThrottled,
    /// The vendor cannot be reached or fails.
    VendorUnavailable,
    /// The vendor did not answer in time.
    VendorTimeout,
    /// The vendor's reply makes no sense.
    VendorBadReply,
    /// The permits would come too late.
    QuotaWaitTooLong,
    /// A sum was asked of numbers that do not add up.
    NonAdditive,
    /// No valid key was sent.
    Unauthenticated,
    /// The key does not allow it.
    Forbidden,
    /// The request plans too many upstream calls.
    TooExpensive,
    /// weir's own mistake.
    Internal,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::BadUserInput,
        Self::RangeTooLong,
        Self::OutOfRetention,
        Self::UnknownChannel,
        Self::UnknownApplication,
        Self::NotSubscribed,
        Self::VendorDenied,
        Self::VendorThrottled,
        Self::VendorUnavailable,
        Self::VendorTimeout,
        Self::VendorBadReply,
        Self::QuotaWaitTooLong,
        Self::NonAdditive,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TooExpensive,
        Self::Internal,
    ];

    /// The spelling in `extensions.code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::RangeTooLong => "RANGE_TOO_LONG",
            Self::OutOfRetention => "OUT_OF_RETENTION",
            Self::UnknownChannel => "UNKNOWN_CHANNEL",
            Self::UnknownApplication => "UNKNOWN_APPLICATION",
            Self::NotSubscribed => "NOT_SUBSCRIBED",
            Self::VendorDenied => "VENDOR_DENIED",
            Self::VendorThrottled => "VENDOR_THROTTLED",
            Self::VendorUnavailable => "VENDOR_UNAVAILABLE",
            Self::VendorTimeout => "VENDOR_TIMEOUT",
            Self::VendorBadReply => "VENDOR_BAD_REPLY",
            Self::QuotaWaitTooLong => "QUOTA_WAIT_TOO_LONG",
            Self::NonAdditive => "NON_ADDITIVE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::TooExpensive => "TOO_EXPENSIVE",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as a caller sees it: a stable code, a message that says how to mend it, and whether to come back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct WeirError {
    /// The stable code.
    pub code: Code,
    /// For people.
    pub message: String,
    /// The vendor concerned.
    pub vendor: Option<Vendor>,
    /// The configured account concerned.
    pub account: Option<Account>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// The vendor's id of the request, for its support.
    pub vendor_request_id: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The limit that was exceeded.
    pub limit: Option<Box<Limit>>,
}

/// A limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Which, where it is one of weir and not of a vendor.
    pub name: Option<LimitName>,
    /// The most that there may be.
    pub most: Amount,
    /// What was asked for, where that is known.
    pub actual: Option<Amount>,
}

/// How much of something there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many of them.
    Count(u64),
    /// A length of time.
    Length(Duration),
}

impl From<Duration> for Amount {
    fn from(length: Duration) -> Self {
        Self::Length(length)
    }
}

impl From<u64> for Amount {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Amount {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl WeirError {
    /// An error that concerns no vendor.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            vendor: None,
            account: None,
            vendor_code: None,
            vendor_request_id: None,
            retryable: false,
            retry_after: None,
            limit: None,
        }
    }

    /// An argument that makes no sense.
    #[must_use]
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(Code::BadUserInput, message)
    }

    /// The same error, about `account`.
    #[must_use]
    pub fn of(mut self, account: &Account) -> Self {
        self.vendor = Some(account.vendor());
        self.account = Some(account.clone());
        self
    }

    /// The same error, about something of which there is at most `most`, of which `actual` was asked for.
    #[must_use]
    pub fn limited(mut self, most: impl Into<Amount>, actual: Option<impl Into<Amount>>) -> Self {
        self.limit = Some(Box::new(Limit { name: None, most: most.into(), actual: actual.map(Into::into) }));
        self
    }

    /// The same error, about a limit of weir.
    #[must_use]
    pub fn limited_by(self, name: LimitName, most: impl Into<Amount>, actual: Option<impl Into<Amount>>) -> Self {
        let limit = Limit { name: Some(name), most: most.into(), actual: actual.map(Into::into) };
        Self { limit: Some(Box::new(limit)), ..self }
    }

    /// The limit of weir that refused, if one did.
    #[must_use]
    pub fn limit_name(&self) -> Option<LimitName> {
        self.limit.as_ref()?.name
    }

    /// More was asked for than a limit lets through.
    #[must_use]
    pub fn exceeding(
        name: LimitName,
        message: impl Into<String>,
        most: impl Into<Amount>,
        actual: Option<impl Into<Amount>>,
    ) -> Self {
        Self::new(Code::TooExpensive, message).limited_by(name, most, actual)
    }

    /// A limit of all requests together leaves no room for one more: it may come back in a moment, which is all that is
    /// needed where callers read what they asked for.
    #[must_use]
    pub fn no_room(name: LimitName, most: usize) -> Self {
        let message = match name {
            LimitName::Connections => "all connections are taken by requests in progress; come back",
            LimitName::ConnectionsPerPeer => {
                "all connections of your address are taken by requests in progress; come back"
            }
            LimitName::RequestsPerCaller => "too many other requests of yours are in progress; come back",
            LimitName::HeldBodyBytes => "too many other requests are still being sent; come back",
            LimitName::HeldAnswerBytes => {
                "too much of other answers is being made, or waiting to be read by those who asked for it; come back"
            }
            _ => "too many other requests are in progress; come back",
        };
        let error = Self::new(Code::QuotaWaitTooLong, message).limited_by(name, most, None::<usize>);
        Self { retryable: true, retry_after: Some(Duration::from_secs(1)), ..error }
    }

    /// A failed call of `account`.
    #[must_use]
    pub fn from_call(error: &CallError, account: &Account) -> Self {
        let code = match error.kind {
            CallErrorKind::Throttled => Code::VendorThrottled,
            CallErrorKind::Denied => Code::VendorDenied,
            CallErrorKind::NotSubscribed => Code::NotSubscribed,
            CallErrorKind::UnknownChannel => Code::UnknownChannel,
            CallErrorKind::UnknownApplication => Code::UnknownApplication,
            CallErrorKind::OutOfRetention => Code::OutOfRetention,
            CallErrorKind::BadInput => Code::BadUserInput,
            CallErrorKind::Adjusted | CallErrorKind::Unavailable => Code::VendorUnavailable,
            CallErrorKind::PermitExpired => Code::QuotaWaitTooLong,
            CallErrorKind::TimedOut => Code::VendorTimeout,
            CallErrorKind::BadReply => Code::VendorBadReply,
            CallErrorKind::Internal => Code::Internal,
        };
        Self {
            vendor_code: error.vendor_code.clone(),
            vendor_request_id: error.request_id.clone(),
            retryable: error.is_transient(),
            retry_after: error.retry_after,
            limit: error.limit.map(|most| Box::new(Limit { name: None, most: most.into(), actual: None })),
            ..Self::new(code, error.message.clone()).of(account)
        }
    }
}
