pub mod auth;
pub mod rest;
pub mod session;
pub mod wire;
