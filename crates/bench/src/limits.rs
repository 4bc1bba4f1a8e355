//! The process's own limits.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Makes room for that many open files, as far as this user may.
pub(crate) fn allow_files(wanted: usize) -> Result<()> {
    let wanted = wanted as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map_or(wanted, |maximum| maximum.max(wanted));
    let raised = Rlimit { current: Some(wanted), maximum: Some(maximum) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        bail!("{wanted} open files are needed and the limit is {limit:?}: raise it with `ulimit -Hn`");
    }
    Ok(())
}
