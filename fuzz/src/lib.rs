//! The bodies of all fuzz targets: a function of bytes that panics when an invariant is broken.
//!
//! To add a target: a module here with such a function, five lines in `fuzz_targets/`, a `[[bin]]` in `Cargo.toml`,
//! and a smoke test in the crate that includes the module by its path and runs it on stable.

pub mod ws_decoder;
