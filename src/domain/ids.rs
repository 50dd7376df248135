//! Names of things that vendors and accounts own. Cheap to clone; compared whole.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A company and product whose API weir calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vendor {
    /// Alibaba Cloud Chat App Message Service.
    AlibabaCams,
    /// Volcengine Real-Time Communication.
    VolcengineRtc,
}

impl Vendor {
    /// Every vendor, in the order of the schema.
    pub const ALL: [Self; 2] = [Self::AlibabaCams, Self::VolcengineRtc];

    /// The spelling of the GraphQL enum and of `extensions`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlibabaCams => "ALIBABA_CAMS",
            Self::VolcengineRtc => "VOLCENGINE_RTC",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One configured entry of a vendor: its name, and the identity that the vendor counts limits against.
///
/// Two entries with one identity are two keys of one vendor account: they share permits. Equality is by vendor and
/// name, which are unique in a config.
#[derive(Clone)]
pub struct Account(Arc<AccountParts>);

struct AccountParts {
    vendor: Vendor,
    name: String,
    quota_identity: String,
    data_identity: String,
}

impl Account {
    /// An entry whose key alone tells what the vendor counts. `host` is the endpoint's, in one spelling
    /// (`Endpoint::account` sees to it).
    #[must_use]
    pub fn new(vendor: Vendor, name: &str, host: &str, key_id: &str) -> Self {
        let identity = format!("{vendor}\n{host}\n{key_id}");
        let data_identity = identity.clone();
        Self(Arc::new(AccountParts { vendor, name: name.to_owned(), quota_identity: identity, data_identity }))
    }

    /// An entry whose `quota_account` says what the vendor counts, whatever its host and its key.
    #[must_use]
    pub fn of_quota_account(vendor: Vendor, name: &str, host: &str, quota_account: &str) -> Self {
        // No host is empty, so that this is never the identity of a key.
        let quota_identity = format!("{vendor}\n\n{quota_account}");
        // Two hosts of one account may be two regions, which hold other data: what was fetched stays apart by host.
        let data_identity = format!("{vendor}\n{host}\n{quota_account}");
        Self(Arc::new(AccountParts { vendor, name: name.to_owned(), quota_identity, data_identity }))
    }

    /// The vendor that keeps the account.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.0.vendor
    }

    /// The entry's name in the config: safe to show.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What limits are counted against: vendor and `quota_account`, or vendor, endpoint host and key id without one. May
    /// hold the key id, so it is never shown.
    #[must_use]
    pub fn quota_identity(&self) -> &str {
        &self.0.quota_identity
    }

    /// Whether the vendor counts both together.
    #[must_use]
    pub fn shares_quota_with(&self, other: &Self) -> bool {
        self.0.quota_identity == other.0.quota_identity
    }

    /// Whose data it is: vendor, endpoint host, and `quota_account` or key id. May hold the key id, so it is never shown.
    #[must_use]
    pub fn data_identity(&self) -> &str {
        &self.0.data_identity
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.vendor == other.0.vendor && self.0.name == other.0.name)
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.vendor.hash(state);
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.vendor, self.0.name)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is: the vendor's ids are opaque.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The text as the vendor knows it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A WhatsApp channel: the vendor's `CustSpaceId`.
    ChannelId
}
text_id! {
    /// An RTC application: the vendor's `AppId`.
    AppId
}

/// What masked numbers begin with.
const MASKED: &str = "***";

/// A business phone number, by its digits. Printing it masks all but the last two digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneNumber(Arc<str>);

impl PhoneNumber {
    /// The most digits that are taken: twice as many as any number of the world has (E.164).
    pub const MOST_DIGITS: usize = 30;

    /// Keeps the digits of `text`; `None` if it has none, or more than [`Self::MOST_DIGITS`]. `+86 138-0000` and `861380000`
    /// are one number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(char::is_ascii_digit).take(Self::MOST_DIGITS + 1).collect();
        (1..=Self::MOST_DIGITS).contains(&digits.len()).then(|| Self(Arc::from(digits)))
    }

    /// Whether a text is the digits of a phone number and nothing else.
    #[must_use]
    pub fn is_told_by(text: &str) -> bool {
        Self::parse(text).is_some_and(|phone| *phone.0 == *text)
    }

    /// The number as a caller was shown it: its digits, or the name that it has for those who may not read them.
    #[must_use]
    pub fn read_shown(text: &str) -> Option<Self> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        match text.strip_prefix(MASKED) {
            Some(name) if !name.is_empty() && name.chars().all(is_name) => Some(Self(Arc::from(text))),
            _ => Self::parse(text),
        }
    }

    /// A masked number.
    pub(super) fn masked_as(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// All digits, or what stands for them: for answers and for the wire, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().saturating_sub(2).max(self.0.len().min(2));
        write!(f, "{MASKED}{}", &self.0[shown..])
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// More digits in a row than this may be a phone number.
const HARMLESS_DIGITS: usize = 6;

/// `text` with every run of digits that may be a phone number masked like one: for messages that repeat what a caller
/// wrote.
#[must_use]
pub fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let (digits, rest) = part.split_at(part.bytes().take_while(u8::is_ascii_digit).count());
        if digits.len() > HARMLESS_DIGITS {
            shown.push_str("***");
            shown.push_str(&digits[digits.len() - 2..]);
        } else {
            shown.push_str(digits);
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_their_digits_and_print_masked() {
        let phone = PhoneNumber::parse("+86 138-0000").unwrap();
        assert_eq!(phone, PhoneNumber::parse("861380000").unwrap());
        assert_eq!(format!("{phone} {phone:?}"), "***00 ***00");
        assert_eq!(PhoneNumber::parse("7").unwrap().to_string(), "***");
        assert!(PhoneNumber::parse("none").is_none());
        assert!(PhoneNumber::parse(&"8".repeat(PhoneNumber::MOST_DIGITS)).is_some());
        assert!(PhoneNumber::parse(&"8".repeat(PhoneNumber::MOST_DIGITS + 1)).is_none());
    }

    #[test]
    fn only_what_may_be_a_phone_is_masked() {
        for (text, shown) in [
            ("the channel `8613800138000`", "the channel `***00`"),
            ("+8613800138000,8613800138001", "+***00,***01"),
            ("2026-11-22T10:20:30Z, 168 hours, cams-123456", "2026-11-22T10:20:30Z, 168 hours, cams-123456"),
            ("1234567", "***67"),
            ("0123456789012345678901234567890123456789", "***89"),
            ("über 7", "über 7"),
            ("", ""),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn an_account_never_prints_its_owner() {
        let account = Account::new(Vendor::AlibabaCams, "retail", "cams.example", "key-id");
        assert_eq!(format!("{account:?}"), "ALIBABA_CAMS/retail");
    }
}
