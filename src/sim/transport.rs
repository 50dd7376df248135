//! The way to the simulator without a socket, in tokio's time: what the tests of quotas and faults run on.
//!
//! A request whose future is dropped, or that is given up, arrives nevertheless: its bytes are under way.

use std::future::{Future, pending};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Early, SimOutcome, Simulator, reply};
use crate::quota::Permit;
use crate::vendor::transport::{Reply, Request, Transport, TransportError};

/// The default of `upstream.timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long bytes travel, drawn evenly for each request. An empty range is its start.
#[derive(Debug, Clone, Default)]
pub struct Legs {
    /// From the client to the simulator.
    pub there: Range<Duration>,
    /// And back.
    pub back: Range<Duration>,
}

/// Carries requests to a simulator in the same process.
#[derive(Debug)]
pub struct LocalTransport {
    simulator: Arc<Simulator>,
    legs: Legs,
    timeout: Duration,
    rng: Mutex<StdRng>,
}

impl LocalTransport {
    /// A transport to `simulator` whose legs are drawn from `seed`. It gives up 10 s after the first byte was written.
    #[must_use]
    pub fn new(simulator: Arc<Simulator>, legs: Legs, seed: u64) -> Self {
        Self { simulator, legs, timeout: DEFAULT_TIMEOUT, rng: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// The same, giving up `timeout` after the first byte was written.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn draw(&self, leg: &Range<Duration>) -> Duration {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        if leg.is_empty() { leg.start } else { rng.random_range(leg.clone()) }
    }

    /// Lets the request arrive after `leg`, whatever becomes of the caller.
    fn dispatch(&self, request: Request, leg: Duration) -> oneshot::Receiver<SimOutcome> {
        let (answer, answered) = oneshot::channel();
        let simulator = Arc::clone(&self.simulator);
        tokio::spawn(async move {
            sleep(leg).await;
            // Nobody may be waiting any more; the request has arrived all the same.
            let _ = answer.send(simulator.handle(request).await);
        });
        answered
    }

    /// Lets the request arrive `later`, after its client was told something else.
    fn dispatch_unheard(&self, request: Request, later: Duration) {
        let simulator = Arc::clone(&self.simulator);
        tokio::spawn(async move {
            sleep(later).await;
            simulator.take_unheard(&request);
        });
    }

    async fn exchange(&self, request: Request, permit: &mut Permit) -> Result<Reply, TransportError> {
        let (there, back) = (self.draw(&self.legs.there), self.draw(&self.legs.back));
        let broken = |why: &str| TransportError::Broken(why.to_owned());
        match self.simulator.early(&request) {
            Some(Early::Refused) => {
                permit.not_written();
                return Err(TransportError::NotConnected("connection refused".to_owned()));
            }
            Some(Early::Reset { arrival }) => {
                if let Some(later) = arrival {
                    self.dispatch_unheard(request, later);
                }
                return Err(broken("reset before the reply"));
            }
            Some(Early::Status { status, arrival }) => {
                self.dispatch_unheard(request, arrival);
                sleep(back).await;
                permit.head_read(status);
                return Ok(reply::html(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)));
            }
            None => {}
        }
        let answered = self.dispatch(request, there).await;
        let outcome = answered.or(Err(broken("the simulator went away")))?;
        if !matches!(outcome, SimOutcome::Hang) {
            sleep(back).await;
        }
        let head = |permit: &mut Permit, reply: &Response<Bytes>| permit.head_read(reply.status().as_u16());
        match outcome {
            SimOutcome::Reply(reply) => {
                head(permit, &reply);
                Ok(reply)
            }
            SimOutcome::SlowBody { reply, over } => {
                head(permit, &reply);
                sleep(over).await;
                Ok(reply)
            }
            SimOutcome::BrokenBody(reply) => {
                head(permit, &reply);
                Err(broken("reset in the middle of the body"))
            }
            SimOutcome::Reset => Err(broken("reset before the reply")),
            SimOutcome::Hang => pending().await,
        }
    }
}

impl Transport for LocalTransport {
    fn send<'a>(
        &'a self,
        request: Request,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            permit.begin_write()?;
            let deadline = Instant::now() + self.timeout;
            timeout_at(deadline, self.exchange(request, permit)).await.unwrap_or(Err(TransportError::TimedOut))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::testing::{cams, simulator};
    use crate::sim::{Fault, Scope, Times};

    const METRIC: &str = "GetChatappPhoneNumberMetric";
    const DAYS: &str = "Start=1785513600000&End=1786118400000";

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn legs(there: u64, back: u64) -> Legs {
        Legs { there: ms(there)..ms(there), back: ms(back)..ms(back) }
    }

    async fn send_under(fault: Fault, transport: &LocalTransport) -> (Result<Reply, TransportError>, Duration, String) {
        transport.simulator.faults().push(fault, Scope::Everything, Times::Next(1));
        let asked = Instant::now();
        let mut permit = Permit::uncounted();
        let reply = transport.send(cams(METRIC, DAYS), &mut permit).await;
        (reply, asked.elapsed(), format!("{permit:?}"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_arrives_after_one_leg_and_its_reply_after_both() {
        let simulator = simulator(|_| ());
        let transport = LocalTransport::new(Arc::clone(&simulator), legs(30, 20), 1);
        let asked = Instant::now();
        let mut permit = Permit::uncounted();
        let reply = transport.send(cams(METRIC, DAYS), &mut permit).await.unwrap();
        assert_eq!((reply.status(), asked.elapsed()), (StatusCode::OK, ms(50)));
        assert_eq!(simulator.arrivals()[0].at, asked + ms(30));
        assert!(format!("{permit:?}").contains("HeadRead"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_arrives_nevertheless() {
        let simulator = simulator(|_| ());
        let transport = LocalTransport::new(Arc::clone(&simulator), legs(30, 0), 1);
        let mut permit = Permit::uncounted();
        let sent = tokio::time::timeout(ms(10), transport.send(cams(METRIC, DAYS), &mut permit)).await;
        assert!(sent.is_err() && simulator.calls(METRIC) == 0);
        sleep(ms(21)).await;
        assert_eq!(simulator.calls(METRIC), 1);
        assert!(format!("{permit:?}").contains("Unknown"));
    }

    #[tokio::test(start_paused = true)]
    async fn each_way_to_fail_leaves_the_permit_as_it_should() {
        let simulator = simulator(|_| ());
        let transport = LocalTransport::new(Arc::clone(&simulator), legs(30, 20), 1).with_timeout(ms(400));
        let cases = [
            (Fault::ConnectRefused, "NotConnected", 0, "NotWritten", 0),
            (Fault::ResetBeforeArrival, "Broken", 0, "Unknown", 0),
            (Fault::ResetEarly(ms(900)), "Broken", 0, "Unknown", 0),
            (Fault::ResetAfterArrival, "Broken", 50, "Unknown", 1),
            (Fault::BrokenBody, "Broken", 50, "HeadRead", 2),
            (Fault::Hang, "TimedOut", 400, "Unknown", 3),
            (Fault::Latency(ms(600)), "TimedOut", 400, "Unknown", 4),
            (Fault::SlowBody(ms(600)), "TimedOut", 400, "HeadRead", 5),
        ];
        for (fault, error, after, ending, calls) in cases {
            let (reply, took, permit) = send_under(fault.clone(), &transport).await;
            assert!(format!("{:?}", reply.unwrap_err()).starts_with(error), "{fault:?}");
            assert_eq!(took, ms(after), "{fault:?}");
            assert!(permit.contains(ending), "{fault:?} {permit}");
            assert_eq!(simulator.calls(METRIC), calls + usize::from(calls > 4), "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxys_status_comes_before_the_arrival_and_proves_nothing() {
        let simulator = simulator(|_| ());
        let transport = LocalTransport::new(Arc::clone(&simulator), legs(30, 20), 1);
        let (reply, took, permit) = send_under(Fault::StatusEarly { status: 504, arrival: ms(700) }, &transport).await;
        assert_eq!((reply.unwrap().status().as_u16(), took, simulator.calls(METRIC)), (504, ms(20), 0));
        assert!(permit.contains("Unknown"));
        sleep(ms(700)).await;
        assert_eq!(simulator.calls(METRIC), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn legs_are_drawn_from_their_range_and_the_seed() {
        let draw = |seed| {
            let legs = Legs { there: ms(10)..ms(90), back: ms(5)..ms(5) };
            let transport = LocalTransport::new(simulator(|_| ()), legs, seed);
            assert_eq!(transport.draw(&transport.legs.back), ms(5));
            (0..50).map(|_| transport.draw(&transport.legs.there)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|leg| (ms(10)..ms(90)).contains(leg)));
        assert!(draw(1).iter().max() > draw(1).iter().min().map(|least| *least + ms(40)).as_ref());
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
