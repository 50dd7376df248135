//! The ways in which a call fails for good: what was asked for does not come, whoever asks again.

use weir::sim::Fault;

pub(crate) fn failures() -> [Fault; 7] {
    [
        Fault::PermissionDenied,
        Fault::Unavailable,
        Fault::TruncatedJson,
        Fault::MalformedJson,
        Fault::BrokenBody,
        Fault::ResetAfterArrival,
        Fault::ErrorInside200 { code: "InternalError".to_owned() },
    ]
}
