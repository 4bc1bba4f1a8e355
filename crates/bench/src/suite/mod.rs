//! `suite`: every scenario on a server and on the raw baseline, in turn, and what that says of the goals.
//!
//! Machines drift: another tenant, a warmer core. So the contenders take turns (A B A B) within each scenario,
//! each on a fresh process, and medians are compared. Server and generator are pinned to a core each.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::report::{self, Report};

mod cases;
mod contender;
mod goals;

use cases::{CASES, Case};
use contender::Contender;

#[derive(Args, Clone, Debug)]
pub struct SuiteArgs {
    /// The server's binary. The one that runs this, when not given.
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A second server binary to compare with, for spotting regressions.
    #[arg(long)]
    pub baseline_binary: Option<PathBuf>,
    /// Arguments for `fanfare serve` besides those that the suite gives, split at spaces.
    #[arg(long, default_value = "--workers 1", allow_hyphen_values = true)]
    pub serve_args: String,
    /// Only the raw baseline: what this machine can do.
    #[arg(long)]
    pub raw_only: bool,
    /// Times that each contender runs each scenario.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Measured seconds of each run.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Only these scenarios, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Write the Markdown there too.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Where servers keep their data, and where single synced appends are measured: choose the disk that counts.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
    /// Fail when a goal is missed, not only when a run has faults.
    #[arg(long)]
    pub strict: bool,
}

/// All rounds of one scenario on one contender.
pub(crate) struct Runs {
    pub(crate) case: &'static Case,
    pub(crate) contender: String,
    pub(crate) reports: Vec<Report>,
}

impl Runs {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: &str) -> Option<f64> {
        let mut values: Vec<f64> = self.reports.iter().filter_map(|report| report.get(figure)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            len if len % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    fn faulty(&self) -> usize {
        self.reports.iter().filter(|report| report.faults.any()).count()
    }
}

pub(crate) fn run(args: &SuiteArgs) -> Result<()> {
    let known = |name: &String| CASES.iter().any(|case| case.name == name);
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    ensure!(args.only.iter().all(known), "--only takes {}", names.join(", "));
    let contenders = Contender::all(args)?;
    let mut core = CpuSet::new();
    core.set(args.client_core);
    sched_setaffinity(None, &core).with_context(|| format!("cannot run on core {}", args.client_core))?;

    let mut all = Vec::new();
    for case in
        CASES.iter().filter(|case| args.only.is_empty() || args.only.iter().any(|name| name == case.name))
    {
        all.extend(run_case(case, &contenders, args)?);
    }
    let (table, missed) = goals::table(&all);
    let text = format!("{}{}\n{}\n{table}", heading(args), warning(&all), figures(&all, &contenders));
    report::line(&text);
    if let Some(out) = &args.out {
        std::fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
    }
    let faulty: usize = all.iter().map(Runs::faulty).sum();
    ensure!(faulty == 0, "{faulty} runs had faults");
    ensure!(!args.strict || missed == 0, "{missed} goals were missed");
    Ok(())
}

fn run_case(case: &'static Case, contenders: &[Contender], args: &SuiteArgs) -> Result<Vec<Runs>> {
    let takes_part = |contender: &&Contender| case.on_raw || !contender.is_raw();
    let mut runs: Vec<Runs> = contenders
        .iter()
        .filter(takes_part)
        .map(|contender| Runs { case, contender: contender.name.clone(), reports: Vec::new() })
        .collect();
    for round in 1..=args.rounds {
        for (contender, runs) in contenders.iter().filter(takes_part).zip(&mut runs) {
            let what = || format!("{} on {}, round {round}", case.name, contender.name);
            let running = contender.start().with_context(what)?;
            let report = (case.run)(&running, args).with_context(what)?;
            report::line(&format!("[{}]\n{report}", what()));
            runs.reports.push(report);
        }
    }
    Ok(runs)
}

fn heading(args: &SuiteArgs) -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} on Linux {}; server on core {}, generator on core {}; medians of {} rounds of {} s, contenders in turn.\n",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        args.server_core,
        args.client_core,
        args.rounds,
        args.seconds
    )
}

/// Above this share of its time a run was too disturbed to be believed.
const MAX_DISTURBED: f64 = 0.05;

/// A sentence on other processes on the same cores, when there were some.
fn warning(all: &[Runs]) -> String {
    let disturbed = |runs: &&Runs| runs.median("disturbed_share").is_some_and(|share| share > MAX_DISTURBED);
    let names: Vec<&str> = all.iter().filter(disturbed).map(|runs| runs.case.name).collect();
    if names.is_empty() {
        return String::new();
    }
    let names = names.join(", ");
    format!(
        "\n**Disturbed**: other processes ran on these cores during {names}; rates and latencies say little.\n"
    )
}

/// One row for each figure that counts, one column for each contender, and ratios to the first; with two
/// binaries of the server also the new to the old.
fn figures(all: &[Runs], contenders: &[Contender]) -> String {
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    // Pairs of columns to divide: each by the first, and the last by the one before it.
    let mut ratios: Vec<(usize, usize)> = (1..names.len()).map(|at| (at, 0)).collect();
    if names.len() == 3 {
        ratios.push((2, 1));
    }
    let mut text = format!("| scenario | figure | {} |", names.join(" | "));
    for (over, under) in &ratios {
        let _ = write!(text, " {} / {} |", names[*over], names[*under]);
    }
    let _ = writeln!(text, "\n|{}", " --- |".repeat(2 + names.len() + ratios.len()));
    for case in CASES {
        let of = |name: &str| all.iter().find(|runs| runs.case.name == case.name && runs.contender == name);
        let took_part = names.iter().any(|name| of(name).is_some());
        for figure in case.figures.iter().filter(|_| took_part) {
            let values: Vec<Option<f64>> = names.iter().map(|name| of(name)?.median(figure)).collect();
            let _ = write!(text, "| {} | {figure} |", case.name);
            for value in &values {
                let _ = write!(text, " {} |", value.map_or_else(|| "–".to_owned(), report::number));
            }
            for (over, under) in &ratios {
                let ratio = values[*over].zip(values[*under]).filter(|(_, under)| *under != 0.0);
                let ratio = ratio.map(|(over, under)| format!("{:.2}", over / under));
                let _ = write!(text, " {} |", ratio.as_deref().unwrap_or("–"));
            }
            text.push('\n');
        }
    }
    // After the table: a line in it would end it.
    for runs in all.iter().filter(|runs| runs.faulty() > 0) {
        let (count, name) = (runs.faulty(), runs.case.name);
        let _ = writeln!(
            text,
            "\n**{count} runs of {name} on {} had faults: its figures do not count.**",
            runs.contender
        );
    }
    text
}
