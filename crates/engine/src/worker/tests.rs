//! Two workers in one thread, a store that can be slow or fail, sessions and outboxes that write down
//! what they get. Time is a value that the tests move.

mod attach;
mod claims;
mod delivery;
mod durable;
mod faults;
mod harness;
mod occupancy;
mod presence;
mod requests;
mod simulation;
mod slow_store;
mod telemetry;
mod watch;
