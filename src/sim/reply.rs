//! How an exchange ends: the vendor's reply, or what a fault makes of it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::Fault;
use super::distortion::distort;
use super::side::Side;
use super::signature::VendorRefusal;

/// What comes back, for a transport to act out.
#[derive(Debug)]
pub enum SimOutcome {
    /// A whole reply.
    Reply(Response<Bytes>),
    /// The head at once, the body bit by bit.
    SlowBody {
        /// The whole reply.
        reply: Response<Bytes>,
        /// How long its body takes.
        over: Duration,
    },
    /// The head, half of the announced body, and a broken connection.
    BrokenBody(Response<Bytes>),
    /// A broken connection without a reply.
    Reset,
    /// Nothing, for ever.
    Hang,
}

/// One admitted or refused request on its way back.
pub(super) struct Exchange<'a> {
    pub(super) side: &'static dyn Side,
    pub(super) request: &'a Request<Bytes>,
    pub(super) request_id: String,
}

impl Exchange<'_> {
    /// The outcome of `answer` under `fault`. Faults of the body spare a refusal: it has no data to bend.
    pub(super) fn end(self, answer: Result<Value, VendorRefusal>, fault: Option<Fault>) -> SimOutcome {
        let Some(fault) = fault else { return SimOutcome::Reply(self.reply(answer)) };
        match &fault {
            Fault::ResetAfterArrival => return SimOutcome::Reset,
            Fault::Hang => return SimOutcome::Hang,
            Fault::SlowBody(over) => return SimOutcome::SlowBody { reply: self.reply(answer), over: *over },
            Fault::BrokenBody => return SimOutcome::BrokenBody(self.reply(answer)),
            Fault::BadGatewayHtml => return SimOutcome::Reply(html(StatusCode::BAD_GATEWAY)),
            Fault::HtmlBody => return SimOutcome::Reply(html(StatusCode::OK)),
            Fault::EmptyBody => return SimOutcome::Reply(Response::new(Bytes::new())),
            _ => {}
        }
        if let Some(refusal) = self.refusal_of(&fault) {
            return SimOutcome::Reply(self.reply(Err(refusal)));
        }
        let mut answer = answer;
        if let Ok(body) = &mut answer {
            distort(&fault, body, self.side.rows());
        }
        let is_good = answer.is_ok();
        let mut reply = self.reply(answer);
        if is_good {
            mangle(&fault, reply.body_mut());
        }
        SimOutcome::Reply(reply)
    }

    fn reply(&self, answer: Result<Value, VendorRefusal>) -> Response<Bytes> {
        match answer {
            Ok(body) => self.side.accept(&body, &self.request_id),
            Err(refusal) => self.side.refuse(&refusal, self.request, &self.request_id),
        }
    }

    fn refusal_of(&self, fault: &Fault) -> Option<VendorRefusal> {
        const MESSAGE: &str = "Injected by the simulator.";
        match fault {
            Fault::Throttle => Some(self.side.throttle(None)),
            Fault::ThrottleFor(wait) => Some(self.side.throttle(Some(*wait))),
            Fault::Refuse { status, code } => Some(VendorRefusal::new(*status, code, MESSAGE)),
            Fault::ErrorInside200 { code } => Some(VendorRefusal::new(200, code, MESSAGE)),
            other => self.side.refusal_of(other),
        }
    }
}

/// What a proxy answers in place of the vendor.
pub(super) fn html(status: StatusCode) -> Response<Bytes> {
    let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>");
    with_type(status, "text/html", page.into())
}

/// A reply of JSON. A status out of range becomes 500.
pub(super) fn json(status: u16, content_type: &'static str, body: &Value) -> Response<Bytes> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_type(status, content_type, body.to_string().into())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

fn mangle(fault: &Fault, body: &mut Bytes) {
    match fault {
        Fault::TruncatedJson => body.truncate(body.len() / 2),
        Fault::MalformedJson => {
            let text = String::from_utf8_lossy(body).replace(':', "=");
            *body = text.into();
        }
        _ => {}
    }
}
