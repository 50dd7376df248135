//! What callers have spent of their calls of the day at all replicas: each tells the others through Redis, every second.
//!
//! A replica writes how much was spent at it, and reads what was spent at the others, so that a word that is lost or said twice
//! changes nothing, and one that was started anew goes on counting where it ended. Between two words callers may spend more
//! than is left: what they spend in a second at the other replicas. While Redis is away each counts on by itself.

use std::collections::HashMap;
use std::mem;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Access;
use crate::domain::Budget;
use crate::redis::{Lost, Redis};

/// How often replicas tell each other.
const PERIOD: Duration = Duration::from_secs(1);
/// Of callers who have not asked for so long nothing is read.
const IDLE: Duration = Duration::from_mins(1);
/// A day's counts are forgotten this long after the last word about them: the clocks of replicas may differ.
const KEPT_SECS: u64 = 2 * 24 * 3_600;

/// Tells and hears for as long as there is an [`Access`].
pub(super) async fn share(access: Weak<Access>, redis: Redis) {
    let mut told: HashMap<String, Told> = HashMap::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(access) = access.upgrade() else { return };
        let (now, budgets) = (access.clock.now(), access.budgets());
        drop(access);
        let mut before = mem::take(&mut told);
        for (name, budget) in budgets {
            let mut last = before.remove(&name).unwrap_or_else(|| Told { asked: Instant::now(), spent: (0, 0) });
            if budget.was_asked() {
                last.asked = Instant::now();
            }
            let spent = budget.spent_here(now);
            if last.asked.elapsed() < IDLE || last.spent != spent {
                last.spent = exchange(&redis, &name, &budget, spent).await.map_or(last.spent, |()| spent);
            }
            told.insert(name, last);
        }
    }
}

/// What the others were told last.
struct Told {
    /// When the caller last wanted calls.
    asked: Instant,
    /// Day and calls.
    spent: (i64, u64),
}

/// Tells what was spent here, and hears what was spent elsewhere.
async fn exchange(redis: &Redis, name: &str, budget: &Budget, (day, calls): (i64, u64)) -> Result<(), Lost> {
    // Names of a token's bearer may be addresses of people.
    let key = Redis::name("spent", &format!("{day}:{}", Redis::hashed(name)));
    let mut pipe = redis::pipe();
    if calls > 0 {
        pipe.cmd("HSET").arg(&key).arg(redis.replica()).arg(calls).ignore();
        pipe.cmd("EXPIRE").arg(&key).arg(KEPT_SECS).ignore();
    }
    pipe.cmd("HGETALL").arg(&key);
    let (all,): (HashMap<String, String>,) = redis.run(async |to| pipe.query_async(to).await).await?;
    let others = all.iter().filter(|(replica, _)| *replica != redis.replica());
    let calls = others.filter_map(|(_, calls)| calls.parse().ok()).fold(0, u64::saturating_add);
    budget.note_elsewhere(day, calls);
    Ok(())
}
