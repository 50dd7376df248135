//! Replicas share their permits through a real Redis, and the quota holds whatever happens to it or to them.

mod answers;
mod archives;
mod clocks;
mod failover;
mod faults;
mod forecasts;
mod forged;
mod killed;
mod mutants;
mod processes;
mod rollback;
mod script;
mod spent;
mod turns;
