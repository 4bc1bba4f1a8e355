//! Requests against a router with a real engine behind it.

mod channels;
mod conventions;
mod harness;
mod messages;
mod tokens;
