pub mod auth;
mod metadata;
pub mod rest;
pub mod session;
pub mod wire;
