//! The one connection of a process to the Redis that replicas share.
//!
//! It connects when it is first needed and again after every failure, and never sends a command twice: whoever asked is
//! told that the answer was [`Lost`], and knows best what that means. While Redis is known to be away, commands fail at
//! once. What is said in Redis is never trusted with time: waiting and lifetimes are the callers' own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisResult, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::digest::sha256_hex;

/// How long an answer of Redis is waited for; a slower one counts as lost.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long nobody tries to connect after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// What every key and channel begins with.
const PREFIX: &str = "weir:";
/// Where news for all replicas are published.
const NEWS: &str = "weir:news";

/// A connection that is made again when it breaks. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    replica: String,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises with every connection, so that an old failure does not end a new connection.
    generation: u64,
    /// Nobody tries again before this.
    away_until: Option<Instant>,
    is_away: bool,
    topics: HashMap<String, Weak<Notify>>,
}

/// The address of a Redis cannot be used. Does not repeat it: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("`shared.redis` is not the URL of a Redis")]
pub struct RedisError;

/// Redis did not answer in time, or not at all: whether the command ran is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis did not answer")]
pub struct Lost;

impl Redis {
    /// A link to the Redis at `url`; nothing is connected yet.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(url: &SecretString) -> Result<Self, RedisError> {
        let info = url.expose_secret().into_connection_info().map_err(|_secret| RedisError)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|_secret| RedisError)?;
        let inner = Inner {
            client,
            replica: format!("{:016x}", rand::random::<u64>()),
            connection: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// This process among the replicas; another one after every start.
    #[must_use]
    pub fn replica(&self) -> &str {
        &self.0.replica
    }

    /// The name of a key or topic.
    #[must_use]
    pub fn name(kind: &str, of: &str) -> String {
        format!("{PREFIX}{kind}:{of}")
    }

    /// A name for something that must not be shown: its hash.
    #[must_use]
    pub fn hashed(secret: &str) -> String {
        sha256_hex(secret.as_bytes())
    }

    /// Is notified when somebody publishes `topic`, or when the connection was made again, for as long as it is kept.
    #[must_use]
    pub fn listen(&self, topic: &str) -> Arc<Notify> {
        let mut state = self.lock();
        state.topics.retain(|_, notify| notify.strong_count() > 0);
        if let Some(known) = state.topics.get(topic).and_then(Weak::upgrade) {
            return known;
        }
        let notify = Arc::new(Notify::new());
        state.topics.insert(topic.to_owned(), Arc::downgrade(&notify));
        notify
    }

    /// Whether Redis is known not to answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.lock().is_away
    }

    /// Runs `command` once.
    ///
    /// # Errors
    /// [`Lost`] when there was no answer; it may have run nevertheless, or may run later.
    pub async fn run<T>(
        &self,
        command: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Lost> {
        self.run_for(PATIENCE, command).await
    }

    /// The same, waiting at most `patience`.
    ///
    /// # Errors
    /// [`Lost`] when there was no answer; it may have run nevertheless, or may run later.
    pub async fn run_for<T>(
        &self,
        patience: Duration,
        command: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Lost> {
        let deadline = Instant::now() + patience;
        if self.lock().away_until.is_some_and(|until| Instant::now() < until) {
            return Err(Lost);
        }
        let connected = tokio::time::timeout_at(deadline, self.connection()).await;
        let Ok(Ok((mut connection, generation))) = connected else {
            if patience >= PATIENCE {
                self.failed(None, "no connection");
            }
            return Err(Lost);
        };
        match tokio::time::timeout_at(deadline, command(&mut connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.failed(Some(generation), &told(&error));
                Err(Lost)
            }
            Err(_) => {
                // Whoever is in a hurry does not judge: the agents of the permits find out within a second.
                if patience >= PATIENCE {
                    self.failed(Some(generation), "no answer in time");
                }
                Err(Lost)
            }
        }
    }

    /// Tells all replicas; whoever listens to the topic is notified. Nobody may depend on it.
    pub async fn publish(&self, topic: &str) {
        // A message that is lost costs its listeners a poll.
        let _: Result<(), Lost> =
            self.run(async |connection| redis::cmd("PUBLISH").arg(NEWS).arg(topic).query_async(connection).await).await;
    }

    /// The channel on which Redis wakes a replica; the script of the permits publishes there.
    #[must_use]
    pub fn wake_channel(replica: &str) -> String {
        Self::name("wake", replica)
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        let mut place = self.0.connection.lock().await;
        if let Some(connection) = &*place {
            return Ok((connection.clone(), self.lock().generation));
        }
        let inner = Arc::downgrade(&self.0);
        let hear = move |push: PushInfo| -> Result<(), Lost> {
            inner.upgrade().ok_or(Lost).map(|inner| Self(inner).hear(&push))
        };
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None).set_push_sender(hear);
        let mut connection = self.0.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(&[Self::wake_channel(self.replica()), NEWS.to_owned()][..]).await?;
        *place = Some(connection.clone());
        drop(place);
        let mut state = self.lock();
        state.generation += 1;
        state.away_until = None;
        if std::mem::take(&mut state.is_away) {
            tracing::info!("Redis answers again");
        }
        state.topics.values().filter_map(Weak::upgrade).for_each(|notify| notify.notify_one());
        Ok((connection, state.generation))
    }

    /// The connection of that generation is not used any more.
    fn failed(&self, generation: Option<u64>, why: &str) {
        let mut state = self.lock();
        if generation.is_some_and(|generation| generation != state.generation) {
            return;
        }
        state.generation += 1;
        state.away_until = Some(Instant::now() + PAUSE);
        if !std::mem::replace(&mut state.is_away, true) {
            tracing::warn!(why, "Redis does not answer; no new upstream call is made until it does");
        }
        drop(state);
        if let Ok(mut place) = self.0.connection.try_lock() {
            *place = None;
        } else {
            let this = self.clone();
            tokio::spawn(async move { *this.0.connection.lock().await = None });
        }
    }

    fn hear(&self, push: &PushInfo) {
        if push.kind != PushKind::Message {
            return;
        }
        let Some(topic) = push.data.get(1).and_then(|value: &Value| String::from_redis_value_ref(value).ok()) else {
            return;
        };
        if let Some(notify) = self.lock().topics.get(&topic).and_then(Weak::upgrade) {
            notify.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be logged of an error: its kind and code, not its text, which may repeat a command.
fn told(error: &redis::RedisError) -> String {
    format!("{:?} {}", error.kind(), error.code().unwrap_or_default())
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("replica", &self.0.replica).finish_non_exhaustive()
    }
}
