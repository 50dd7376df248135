//! A transport that answers from a script and keeps what it was sent: for the tests of the rooms.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use bytes::Bytes;

use super::transport::{Reply, Request, Transport, TransportError};
use crate::quota::Permit;

/// Answers requests in the order of its script.
#[derive(Default)]
pub(crate) struct Scripted {
    script: Mutex<VecDeque<Result<Reply, TransportError>>>,
    sent: Mutex<Vec<Request>>,
}

impl Scripted {
    /// Appends a reply.
    pub(crate) fn reply(self, status: u16, body: &str) -> Self {
        let reply = http::Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        self.script.lock().unwrap().push_back(Ok(reply));
        self
    }

    /// Appends a failure.
    pub(crate) fn fail(self, error: TransportError) -> Self {
        self.script.lock().unwrap().push_back(Err(error));
        self
    }

    /// What was sent so far.
    pub(crate) fn take_sent(&self) -> Vec<Request> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl Transport for Scripted {
    fn send<'a>(
        &'a self,
        request: Request,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>> {
        self.sent.lock().unwrap().push(request);
        let reply = self.script.lock().unwrap().pop_front().expect("the script has ended");
        permit.begin_write().expect("a permit that nobody counts does not expire");
        if let Ok(reply) = &reply {
            permit.head_read(reply.status().as_u16());
        }
        Box::pin(std::future::ready(reply))
    }
}
