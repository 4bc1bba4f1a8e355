//! The maps of the message path.

use std::collections::HashMap;

/// Seeded at random in each process, as the standard map is, and several times as fast on names of a
/// channel's length: a publish looks its channel up half a dozen times.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
