//! What the server's process spends, read from /proc.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};

/// Linux counts /proc/PID/stat in ticks of 10 ms on every architecture that we run on.
const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pid: u32,
}

/// CPU time at one moment.
#[derive(Debug)]
pub(crate) struct CpuMark {
    ticks: Duration,
    /// Nanoseconds on a CPU for each thread, from schedstat: a thousand times finer than ticks.
    threads: BTreeMap<String, u64>,
    /// Nanoseconds that all threads were ready to run while something else had their core.
    waited: u64,
}

impl Observed {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    pub(crate) fn cpu(&self) -> Result<CpuMark> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The command's name is in parentheses and may hold anything; the fields are counted after it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
        let (threads, waited) = self.threads();
        Ok(CpuMark { ticks: TICK * (ticks(11) + ticks(12)), threads, waited })
    }

    /// User and system time between two marks. Exact when the same threads live at both; else in ticks.
    pub(crate) fn spent(from: &CpuMark, to: &CpuMark) -> Duration {
        let same = !from.threads.is_empty() && from.threads.keys().eq(to.threads.keys());
        if !same {
            return to.ticks.saturating_sub(from.ticks);
        }
        let sum = |mark: &CpuMark| mark.threads.values().sum::<u64>();
        Duration::from_nanos(sum(to).saturating_sub(sum(from)))
    }

    /// How long other processes kept this one from its core between two marks: what makes a run worthless.
    pub(crate) fn waited(from: &CpuMark, to: &CpuMark) -> Duration {
        Duration::from_nanos(to.waited.saturating_sub(from.waited))
    }

    pub(crate) fn rss_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.with_context(|| format!("no VmRSS in {path}"))
    }

    /// Time on a CPU by thread, and time waited by all. Empty on kernels without schedstat.
    fn threads(&self) -> (BTreeMap<String, u64>, u64) {
        let mut threads = BTreeMap::new();
        let mut waited = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let mut fields = text.split_whitespace().map_while(|field| field.parse::<u64>().ok());
            if let (Some(ran), Some(wait)) = (fields.next(), fields.next()) {
                threads.insert(task.file_name().to_string_lossy().into_owned(), ran);
                waited += wait;
            }
        }
        (threads, waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_spends_time() {
        let observed = Observed::new(std::process::id());
        assert!(observed.rss_kib().unwrap() > 100);
        let from = observed.cpu().unwrap();
        // On a busy machine the time comes late, but it comes.
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        let mut spent = Duration::ZERO;
        while spent < 2 * TICK && std::time::Instant::now() < patience {
            spent = Observed::spent(&from, &observed.cpu().unwrap());
        }
        assert!(spent >= 2 * TICK, "{spent:?}");
    }
}
