//! Replicas share their permits through a real Redis, and the quota holds whatever happens to it or to them.

mod answers;
mod faults;
mod forecasts;
mod mutants;
mod processes;
mod script;
mod turns;
