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
        Ok(CpuMark { ticks: TICK * (ticks(11) + ticks(12)), threads: self.threads() })
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

    pub(crate) fn rss_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.with_context(|| format!("no VmRSS in {path}"))
    }

    /// Empty on kernels without schedstat.
    fn threads(&self) -> BTreeMap<String, u64> {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return BTreeMap::new() };
        let read = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let spent = text.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), spent))
        };
        tasks.flatten().filter_map(read).collect()
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
        let until = std::time::Instant::now() + Duration::from_millis(60);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        let spent = Observed::spent(&from, &observed.cpu().unwrap());
        assert!(spent > Duration::from_millis(10), "{spent:?}");
    }
}
