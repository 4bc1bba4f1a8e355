//! A server process of the suite: started on its core, asked for its address, ended at the end.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::SuiteArgs;
use crate::{scenarios::Target, wire::Format};

/// How long a server may take to say where it listens.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long a server may take to end after SIGTERM, before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Contender {
    pub(crate) name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    core: usize,
    data_parent: PathBuf,
    is_raw: bool,
}

impl Contender {
    /// The baseline first, because ratios are to the first.
    pub(super) fn all(args: &SuiteArgs) -> Result<Vec<Contender>> {
        let this = std::env::current_exe().context("cannot find the running binary")?;
        let data_parent = args.data_dir.clone().unwrap_or_else(std::env::temp_dir);
        let contender = |name: &str, binary: PathBuf, arguments: Vec<String>, is_raw: bool| Contender {
            name: name.to_owned(),
            binary,
            arguments,
            core: args.server_core,
            data_parent: data_parent.clone(),
            is_raw,
        };
        let raw = own_arguments().chain(["raw", "--listen", "127.0.0.1:0", "--json"].map(str::to_owned));
        let mut all = vec![contender("raw", this.clone(), raw.collect(), true)];
        if args.raw_only {
            return Ok(all);
        }
        let serve = ["serve", "--dev", "--listen", "127.0.0.1:0", "--json"].map(str::to_owned);
        let extra = args.serve_args.split_whitespace().map(str::to_owned);
        let serve: Vec<String> = serve.into_iter().chain(extra).collect();
        if let Some(old) = &args.baseline_binary {
            all.push(contender("fanfare before", old.clone(), serve.clone(), false));
        }
        all.push(contender("fanfare", args.binary.clone().unwrap_or(this), serve, false));
        Ok(all)
    }

    pub(super) fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// A fresh process on a fresh directory, ready for clients.
    pub(super) fn start(&self) -> Result<Running> {
        let data = TempDir::with_prefix_in("fanfare-bench-", &self.data_parent)?;
        let mut command = Command::new("taskset");
        command.arg("-c").arg(self.core.to_string()).arg(&self.binary).args(&self.arguments);
        if !self.is_raw {
            command.arg("--data").arg(data.path());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().context("cannot start taskset (util-linux)")?;
        // From here on dropping ends the process.
        let mut running =
            Running { child, url: String::new(), key: String::new(), app: None, token: None, data };
        let stdout = running.child.stdout.take().context("no standard output")?;
        let Announcement { url, key, app_id, client_token } = read_announcement(stdout)
            .with_context(|| format!("{} {}", self.binary.display(), self.arguments.join(" ")))?;
        // Servers print http:// or ws://: the address counts.
        running.url = url.replacen("http://", "ws://", 1);
        running.key = key;
        running.app = app_id;
        running.token = client_token;
        Ok(running)
    }
}

/// The arguments that lead to `bench` in this binary: all before `suite`. In `fanfare bench suite` that is
/// `bench`, in the example nothing.
fn own_arguments() -> impl Iterator<Item = String> {
    std::env::args().skip(1).take_while(|argument| argument != "suite")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Announcement {
    url: String,
    key: String,
    /// For Realtime Pub/Sub. An older server to compare with may not speak it.
    app_id: Option<String>,
    client_token: Option<String>,
}

/// The first line that is a JSON object with an address. What the server prints later is read and dropped, so
/// that it never blocks on a full pipe.
fn read_announcement(stdout: ChildStdout) -> Result<Announcement> {
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(announcement) = serde_json::from_str::<Announcement>(&line) {
                // Only the first is wanted; later ones find no one waiting.
                let _ = sender.try_send(announcement);
            }
        }
    });
    match receiver.recv_timeout(START_PATIENCE) {
        Ok(announcement) => Ok(announcement),
        Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended without saying where it listens"),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            bail!("it did not say where it listens in {START_PATIENCE:?}")
        }
    }
}

/// Ends its process when dropped.
pub(crate) struct Running {
    child: Child,
    url: String,
    key: String,
    app: Option<String>,
    token: Option<String>,
    data: TempDir,
}

impl Running {
    pub(super) fn target(&self, format: Format) -> Target {
        Target {
            url: self.url.clone(),
            key: self.key.clone(),
            app: self.app.clone(),
            token: self.token.clone(),
            // taskset becomes the server: the same process.
            server_pid: Some(self.child.id()),
            format,
            json: false,
        }
    }

    /// The disk that the server writes to.
    pub(super) fn probe_dir(&self) -> PathBuf {
        self.data.path().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended already; then there is nothing to end.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < END_PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
