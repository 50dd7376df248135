//! Answers and calls in flight that replicas share through Redis. It is advice: whatever is lost, late or garbled there
//! is fetched from the vendor as if there were no replicas.
//!
//! Keys are hashes, since subjects hold phone numbers; each entry carries the whole text that was hashed, which is
//! compared. Lifetimes are carried as what was kept and when it was sent. Every key expires.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Script;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::archived::SliceArchive;
use super::memory::Memory;
use crate::domain::time::DAY;
use crate::domain::{Clock, Cut, Held, Keep, Operation, Slice, Subject, Timestamp, Window};
use crate::planner::{Claim, GroupKey, Peers, Task};
use crate::redis::Redis;

/// How many slices Redis is asked for at a time: others wait for it meanwhile.
const PORTION: usize = 500;
/// How long an answer of Redis is worth waiting for; the vendor is slower.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long settled answers are kept for the others. Whoever reads one keeps it in memory.
const SETTLED_TTL: Duration = Duration::from_hours(7 * 24);
/// How long other answers are; none is of use for longer unless `cache.max_stale` is raised.
const PROVISIONAL_TTL: Duration = DAY;
/// How long emptiness that nothing proves is: only those who wait for the very call want it.
const UNPROVEN_TTL: Duration = Duration::from_secs(10);
/// How much longer than a call its claim stands: for its permit and its way through Redis.
const CLAIM_MARGIN: Duration = Duration::from_secs(2);

/// Each value begins with the time of its sending: an older one never replaces a newer one.
const PUT: &str = r"
for i, key in ipairs(KEYS) do
  local sent, ttl, value = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local held = tonumber(string.match(redis.call('GETRANGE', key, 0, 20), '^(%d+) ') or '-1')
  if held <= tonumber(sent) then redis.call('SET', key, sent .. ' ' .. value, 'PX', ttl) end
end";

/// Answers `1` if the claim is ours now, else whose it is and for how many milliseconds.
const CLAIM: &str = r"
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return { '', 0 } end
return { redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) }";

/// Ends a claim if it is still ours.
const RELEASE: &str = r"if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

/// The shared answers of one operation.
pub struct SharedAnswers<O: Operation> {
    link: Redis,
    operation: Arc<O>,
    memory: Arc<Memory<O>>,
    archive: Option<Arc<dyn SliceArchive<O>>>,
    clock: Arc<dyn Clock>,
    longest_call: Duration,
    put: Script,
    claim: Script,
    release: Script,
}

/// One slice as the others read it.
#[derive(Serialize, Deserialize)]
struct Entry<D> {
    /// The whole key.
    key: String,
    sent_at: Timestamp,
    keep: Keep,
    is_empty: bool,
    bytes: u32,
    data: D,
}

/// Who makes a call, and which.
#[derive(Serialize, Deserialize)]
struct Owner {
    /// The whole key.
    key: String,
    replica: String,
    /// Tells two calls of one replica apart.
    nonce: u64,
    subject: String,
    start: Timestamp,
    end: Timestamp,
}

impl<O: Operation> SharedAnswers<O> {
    /// Shares what `memory` holds; a call takes at most `longest_call`.
    #[must_use]
    pub fn new(
        link: Redis,
        operation: Arc<O>,
        memory: Arc<Memory<O>>,
        clock: Arc<dyn Clock>,
        longest_call: Duration,
    ) -> Self {
        let (put, claim, release) = (Script::new(PUT), Script::new(CLAIM), Script::new(RELEASE));
        Self { link, operation, memory, archive: None, clock, longest_call, put, claim, release }
    }

    /// The same, keeping what is taken over in the archive: whoever has fetched it may have another one, or have died before
    /// it was written.
    #[must_use]
    pub fn archiving(self, archive: Option<Arc<dyn SliceArchive<O>>>) -> Self {
        Self { archive, ..self }
    }

    /// Whether it is worth asking.
    pub(super) fn is_there(&self) -> bool {
        !self.link.is_away()
    }

    fn text(&self, subject: &O::Subject, window: Option<Window>) -> String {
        let operation = self.operation.facts().operation;
        let window = window.map(|window| (window.start().as_ms(), window.end().as_ms()));
        // The identity holds the key id, which has no business in Redis.
        let account = Redis::hashed(subject.account().data_identity());
        format!("{account}\n{operation}\n{}\n{window:?}", subject.text())
    }

    fn slice_key(&self, slice: &Slice<O::Subject>) -> (String, String) {
        let text = self.text(&slice.subject, Some(slice.window));
        (Redis::name("slice", &Redis::hashed(&text)), text)
    }

    fn claim_key(&self, group: &GroupKey<O::Subject>) -> (String, String) {
        let text = self.text(&group.0, group.1);
        (Redis::name("flight", &Redis::hashed(&text)), text)
    }

    /// Takes over what others have fetched of the slices, and answers what that is.
    pub(super) async fn take_over(
        &self,
        slices: Vec<Slice<O::Subject>>,
        in_flight: bool,
    ) -> HashSet<Slice<O::Subject>> {
        let mut taken = HashSet::new();
        let mut wanted: Vec<Slice<O::Subject>> = Vec::with_capacity(slices.len());
        for slice in slices {
            // The wider subject's slice answers as well.
            wanted.extend(slice.subject.whole().map(|subject| Slice { subject, window: slice.window }));
            wanted.push(slice);
        }
        for portion in wanted.chunks(PORTION) {
            if !self.take_over_portion(portion, in_flight, &mut taken).await {
                break;
            }
        }
        taken
    }

    /// Whether Redis has answered.
    async fn take_over_portion(
        &self,
        wanted: &[Slice<O::Subject>],
        in_flight: bool,
        taken: &mut HashSet<Slice<O::Subject>>,
    ) -> bool {
        let keys: Vec<(String, String)> = wanted.iter().map(|slice| self.slice_key(slice)).collect();
        let names: Vec<&String> = keys.iter().map(|(name, _)| name).collect();
        let read = self.link.run_for(PATIENCE, async |connection| {
            redis::cmd("MGET").arg(&names).query_async::<Vec<Option<String>>>(connection).await
        });
        let Ok(values) = read.await else { return false };
        let (at, mut told) = (self.clock.now(), Vec::new());
        for ((slice, (_, text)), value) in wanted.iter().zip(keys).zip(values) {
            let Some(value) = value else { continue };
            let Some((sent_at, held)) = self.take_in(slice, &text, &value, in_flight, at) else { continue };
            taken.insert(slice.clone());
            // What is held instead was kept when it came.
            if held.sent_at == sent_at {
                told.push((slice.clone(), held));
            }
        }
        if let Some(archive) = &self.archive {
            archive.keep_told(told);
        }
        true
    }

    /// Takes over what another replica has put under the key of a slice, and answers when it was asked for and what is held
    /// then; nothing if it cannot be read, or is of something else.
    fn take_in(
        &self,
        slice: &Slice<O::Subject>,
        key: &str,
        value: &str,
        in_flight: bool,
        at: Timestamp,
    ) -> Option<(Timestamp, Arc<Held<O::Data>>)> {
        let (_, json) = value.split_once(' ')?;
        let entry: Entry<O::Data> = serde_json::from_str(json).ok()?;
        if entry.key != key || (entry.keep == Keep::Unproven && !in_flight) {
            return None;
        }
        // What could not have been fetched is not believed, whoever has put it there.
        let n_rows = self.operation.rows_told(slice, &entry.data)?;
        if entry.is_empty != (n_rows == 0) {
            return None;
        }
        self.operation.learn_from(slice, &entry.data, entry.sent_at.min(at));
        let Entry { sent_at, keep, is_empty, bytes, data, .. } = entry;
        let held = self.memory.adopt(slice, keep, at.since(sent_at), |fresh_until, stale_until| Held {
            data: Arc::new(data),
            sent_at,
            fresh_until,
            stale_until,
            is_empty,
            bytes,
        });
        Some((sent_at, held))
    }

    /// What is held after `value` was found in Redis under the key of a slice; nothing if it was not taken over. Asks nobody:
    /// for fuzzing, since whoever writes into Redis may have written anything.
    #[doc(hidden)]
    #[must_use]
    pub fn hear(&self, slice: &Slice<O::Subject>, value: &str) -> Option<Arc<Held<O::Data>>> {
        let (_, key) = self.slice_key(slice);
        self.take_in(slice, &key, value, true, self.clock.now()).map(|(_, held)| held)
    }

    /// How long a claim stands at most: its call and a margin.
    fn longest_claim(&self) -> Duration {
        self.longest_call + CLAIM_MARGIN
    }

    async fn claim_call(&self, group: &GroupKey<O::Subject>, call: &Slice<O::Subject>) -> Claim {
        let (name, key) = self.claim_key(group);
        let owner = Owner {
            key: key.clone(),
            replica: self.link.replica().to_owned(),
            nonce: rand::random(),
            subject: call.subject.text(),
            start: call.window.start(),
            end: call.window.end(),
        };
        let Ok(ours) = serde_json::to_string(&owner) else { return Claim::Nobody };
        let mut invocation = self.claim.prepare_invoke();
        invocation.key(&name).arg(&ours).arg(ms(self.longest_claim()));
        let asked = self
            .link
            .run_for(PATIENCE, async |connection| invocation.invoke_async::<(Option<String>, i64)>(connection).await);
        match asked.await {
            Ok((Some(theirs), _)) if theirs.is_empty() => Claim::Ours { name, value: ours },
            Ok((Some(theirs), left)) => match serde_json::from_str::<Owner>(&theirs) {
                Ok(theirs) if theirs.key == key => Claim::Theirs {
                    // One that stands for longer was made by nobody who waits for as long as we do.
                    until: Instant::now()
                        + Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(self.longest_claim()),
                    covers: theirs.subject == owner.subject && theirs.start <= owner.start && owner.end <= theirs.end,
                },
                _ => Claim::Nobody,
            },
            _ => Claim::Nobody,
        }
    }

    /// Ends a claim and tells those who wait for it.
    fn end_claim(&self, claim: &Claim) -> Task {
        let Claim::Ours { name, value } = claim.clone() else { return Box::pin(std::future::ready(())) };
        let (link, release) = (self.link.clone(), self.release.clone());
        Box::pin(async move {
            let mut invocation = release.prepare_invoke();
            invocation.key(&name).arg(value);
            // A claim that cannot be ended expires.
            let _: Result<(), _> = link.run(async |connection| invocation.invoke_async(connection).await).await;
            link.publish(&name).await;
        })
    }

    fn entries(&self, call: &Slice<O::Subject>, cuts: &[Cut<O::Data>], sent_at: Timestamp) -> Vec<[String; 3]> {
        let entry = |cut: &Cut<O::Data>| {
            let (name, key) = self.slice_key(&Slice { subject: call.subject.clone(), window: cut.window });
            let ttl = match cut.keep {
                Keep::Settled => SETTLED_TTL,
                Keep::Provisional => PROVISIONAL_TTL,
                Keep::Unproven => UNPROVEN_TTL,
            };
            let Cut { keep, is_empty, bytes, data, .. } = cut;
            let entry = Entry { key, sent_at, keep: *keep, is_empty: *is_empty, bytes: *bytes, data };
            Some([name, ms(ttl).to_string(), serde_json::to_string(&entry).ok()?])
        };
        cuts.iter().filter_map(entry).collect()
    }
}

impl<O: Operation> Peers<O> for SharedAnswers<O> {
    fn recall(&self, slices: Vec<Slice<O::Subject>>, in_flight: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.take_over(slices, in_flight).await) })
    }

    fn claim<'a>(&'a self, group: &'a GroupKey<O::Subject>, call: &'a Slice<O::Subject>) -> BoxFuture<'a, Claim> {
        Box::pin(self.claim_call(group, call))
    }

    fn news<'a>(&'a self, group: &'a GroupKey<O::Subject>, pause: Duration) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (name, _) = self.claim_key(group);
            let told = self.link.listen(&name);
            let stands = async || {
                let asked = self.link.run_for(PATIENCE, async |connection| {
                    redis::cmd("EXISTS").arg(&name).query_async::<bool>(connection).await
                });
                asked.await.unwrap_or(false)
            };
            // It may have ended before anybody listened.
            if !stands().await {
                return false;
            }
            // News or none, the claim is looked at again.
            drop(tokio::time::timeout(pause, told.notified()).await);
            stands().await
        })
    }

    fn share(&self, call: &Slice<O::Subject>, cuts: &[Cut<O::Data>], sent_at: Timestamp, claim: &Claim) -> Task {
        let entries = self.entries(call, cuts, sent_at);
        let (link, put, end) = (self.link.clone(), self.put.clone(), self.end_claim(claim));
        Box::pin(async move {
            let mut invocation = put.prepare_invoke();
            for [name, ttl, value] in entries {
                invocation.key(name).arg(sent_at.as_ms()).arg(ttl).arg(value);
            }
            // What is lost here is fetched again by whoever wants it.
            let _: Result<(), _> = link.run(async |connection| invocation.invoke_async(connection).await).await;
            end.await;
        })
    }

    fn release(&self, claim: &Claim) -> Task {
        self.end_claim(claim)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<O: Operation> fmt::Debug for SharedAnswers<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAnswers").field("operation", &self.operation.facts().operation).finish_non_exhaustive()
    }
}
