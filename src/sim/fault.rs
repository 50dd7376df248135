//! Faults on demand: what can go wrong between a client and a vendor, scoped by vendor or operation and by count.
//!
//! At most one early fault, one delay and one other fault act on a request; of each sort the oldest that matches.
//! Faults act on correctly signed requests inside the quota, except the early ones, which come before everything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::Vendor;

/// One thing that goes wrong. Its JSON is the name in snake case, or an object of name and value: `"hang"`,
/// `{"latency": 500}`; durations are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No connection is made. Over a socket, where one exists already, it acts as `ResetBeforeArrival`.
    ConnectRefused,
    /// The connection breaks and the request never arrives.
    ResetBeforeArrival,
    /// The connection breaks at once, and the request arrives this much later nevertheless.
    ResetEarly(#[serde(with = "ms")] Duration),
    /// A proxy answers at once with this status, and the request arrives `arrival` later nevertheless.
    StatusEarly {
        /// 408, 499, 502 or 504, say.
        status: u16,
        /// How much later it arrives.
        #[serde(with = "ms")]
        arrival: Duration,
    },
    /// The answer takes this much longer.
    Latency(#[serde(with = "ms")] Duration),
    /// The answer takes up to this much longer.
    Jitter(#[serde(with = "ms")] Duration),
    /// The request arrives, then the connection breaks without an answer.
    ResetAfterArrival,
    /// The request arrives and is never answered.
    Hang,
    /// The head comes at once, the body takes this long.
    SlowBody(#[serde(with = "ms")] Duration),
    /// The head and half of the body come, then the connection breaks.
    BrokenBody,
    /// HTTP 500 in the vendor's words.
    InternalError,
    /// HTTP 502 with a proxy's HTML page.
    BadGatewayHtml,
    /// HTTP 503 in the vendor's words.
    Unavailable,
    /// HTTP 500 in the vendor's words without `CodeN`.
    CodeNAbsent,
    /// The vendor's throttle: HTTP 400 `Throttling.User`, HTTP 429 `FlowLimitExceeded.QPSOverLimit`.
    Throttle,
    /// A throttle of Alibaba that says how long to stay away; Volcengine's says nothing.
    ThrottleFor(#[serde(with = "ms")] Duration),
    /// The other throttle: `System.LimitControl`, `AccountFlowLimitExceeded`, both HTTP 400.
    LimitControl,
    /// The date was refused: `InvalidTimeStamp.Expired`, `InvalidTimestamp`.
    ClockSkew,
    /// `Product.Unsubscript`, `AccessDenied.ServiceNotEnabled`.
    NotSubscribed,
    /// `NoPermission` with `AccessDeniedDetail` as an object, `AccessDenied.NoPermissionForApp`.
    PermissionDenied,
    /// Any status and code in the vendor's body.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The vendor's code.
        code: String,
    },
    /// HTTP 200 whose body holds this error: `Code` other than `OK`, or `ResponseMetadata.Error`.
    ErrorInside200 {
        /// The vendor's code.
        code: String,
    },
    /// HTTP 200 with half of the JSON, well-formed as HTTP.
    TruncatedJson,
    /// HTTP 200 with something that was JSON.
    MalformedJson,
    /// HTTP 200 with an HTML page.
    HtmlBody,
    /// HTTP 200 with nothing.
    EmptyBody,
    /// `Data` is null.
    NullData,
    /// `Data` is missing.
    AbsentData,
    /// `Data` has a null among its rows.
    NullRows,
    /// Every number is a string.
    StringNumbers,
    /// Fields that nobody has heard of, everywhere.
    UnknownFields,
    /// `AccessDeniedDetail` of a good answer is an object.
    AccessDeniedObject,
    /// The first row comes twice.
    DuplicateRows,
    /// The first row comes twice with different counts.
    ConflictingRows,
    /// CAMS: a bucket that overlaps the first.
    OverlappingBuckets,
    /// CAMS: the first row has another granularity than asked for.
    WrongGranularity,
    /// CAMS: the first bucket is longer than any may be.
    LongBucket,
}

/// When a fault acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Early,
    Delay,
    Answer,
}

impl Fault {
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::ConnectRefused | Self::ResetBeforeArrival | Self::ResetEarly(_) | Self::StatusEarly { .. } => {
                Stage::Early
            }
            Self::Latency(_) | Self::Jitter(_) => Stage::Delay,
            _ => Stage::Answer,
        }
    }
}

/// Which requests a fault is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// Those of one vendor.
    Vendor(Vendor),
    /// Those of one operation, by the vendor's name for it.
    Operation(String),
}

impl Scope {
    /// The requests of one operation.
    #[must_use]
    pub fn operation(name: &str) -> Self {
        Self::Operation(name.to_owned())
    }

    fn holds(&self, vendor: Vendor, operation: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Vendor(wanted) => *wanted == vendor,
            Self::Operation(wanted) => wanted == operation,
        }
    }
}

/// How often a fault acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Until it is cleared.
    ForEver,
    /// On this many requests.
    Next(usize),
}

/// The faults that wait to act.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<(Fault, Scope, Times)>>);

impl Faults {
    /// Lets `fault` act on the requests of `scope` from now on.
    pub fn push(&self, fault: Fault, scope: Scope, times: Times) {
        self.lock().push((fault, scope, times));
    }

    /// Takes all of them away.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Those that have not acted as often as they may.
    #[must_use]
    pub fn waiting(&self) -> Vec<(Fault, Scope, Times)> {
        self.lock().clone()
    }

    /// The oldest fault of this stage for a request, once spent.
    pub(super) fn take(&self, stage: Stage, vendor: Vendor, operation: &str) -> Option<Fault> {
        let mut faults = self.lock();
        let place = faults.iter().position(|(fault, scope, times)| {
            fault.stage() == stage && scope.holds(vendor, operation) && *times != Times::Next(0)
        })?;
        if let (_, _, Times::Next(left)) = &mut faults[place] {
            *left -= 1;
        }
        let taken = faults[place].0.clone();
        faults.retain(|(_, _, times)| *times != Times::Next(0));
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Fault, Scope, Times)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Durations as whole milliseconds.
mod ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMS: (Vendor, &str) = (Vendor::AlibabaCams, "GetChatappPhoneNumberMetric");
    const RTC: (Vendor, &str) = (Vendor::VolcengineRtc, "ListOperationDistribution");

    fn take(faults: &Faults, stage: Stage, request: (Vendor, &str)) -> Option<Fault> {
        faults.take(stage, request.0, request.1)
    }

    #[test]
    fn a_fault_acts_on_its_scope_as_often_as_it_was_told_oldest_first() {
        let faults = Faults::default();
        faults.push(Fault::Hang, Scope::Vendor(Vendor::VolcengineRtc), Times::Next(1));
        faults.push(Fault::EmptyBody, Scope::operation(CAMS.1), Times::Next(2));
        faults.push(Fault::HtmlBody, Scope::Everything, Times::ForEver);
        let acted: Vec<_> = [CAMS, RTC, RTC, CAMS, CAMS].map(|request| take(&faults, Stage::Answer, request)).into();
        let expected = [Fault::EmptyBody, Fault::Hang, Fault::HtmlBody, Fault::EmptyBody, Fault::HtmlBody].map(Some);
        assert_eq!(acted, expected);
        assert_eq!(faults.waiting().len(), 1);
        faults.clear();
        assert_eq!(take(&faults, Stage::Answer, CAMS), None);
    }

    #[test]
    fn stages_do_not_stand_in_one_anothers_way_and_no_times_is_never() {
        let faults = Faults::default();
        faults.push(Fault::ConnectRefused, Scope::Everything, Times::Next(0));
        faults.push(Fault::Hang, Scope::Everything, Times::ForEver);
        faults.push(Fault::Latency(Duration::from_secs(1)), Scope::Everything, Times::ForEver);
        assert_eq!(take(&faults, Stage::Early, RTC), None);
        assert_eq!(take(&faults, Stage::Delay, RTC), Some(Fault::Latency(Duration::from_secs(1))));
        assert_eq!(take(&faults, Stage::Answer, RTC), Some(Fault::Hang));
    }

    #[test]
    fn faults_are_read_from_json_as_documented() {
        let read = |text: &str| serde_json::from_str::<Fault>(text).unwrap();
        assert_eq!(read("\"bad_gateway_html\""), Fault::BadGatewayHtml);
        assert_eq!(read("{\"latency\": 500}"), Fault::Latency(Duration::from_millis(500)));
        let early = Fault::StatusEarly { status: 504, arrival: Duration::from_secs(2) };
        assert_eq!(read(&serde_json::to_string(&early).unwrap()), early);
        assert!(serde_json::from_str::<Fault>("\"gremlins\"").is_err());
    }
}
