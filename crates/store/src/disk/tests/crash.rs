//! Killed at any moment, the store has every acknowledged record, once, in order, and nothing else.
//!
//! The test starts its own binary again as the victim, which appends and writes each acknowledgement
//! to a ledger; kills it; opens the store and compares. `FANFARE_CRASHES` says how often.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fanfare_model::{BodyKind, ChannelKey, Data, Record};

use super::*;
use crate::Keep;
use crate::contract::{DAY, key, message, messages, read_all};

const CHANNELS: u8 = 8;
/// Appends that one channel has under way.
const IN_FLIGHT: u64 = 16;
/// In the ledger, in a channel's place.
const REFUSED: u8 = 255;

fn channel(i: u8) -> ChannelKey {
    key("crash", &format!("c{i}"))
}

/// What is told by its place alone: of sizes from nothing to some kilobytes.
fn expected(i: u8, n: u64) -> Arc<Record> {
    let mut record = (*messages(n, &[])).clone();
    let size = (n.wrapping_mul(2_654_435_761) ^ u64::from(i)) % 3000;
    let text = format!("{i}/{n}/").repeat(size as usize / 8 + 1);
    record.body = fanfare_model::Body::Messages(vec![message(Some("ann"), text)]);
    Arc::new(record)
}

/// The victim. Not a test of its own.
#[test]
#[ignore = "started by the crash tests"]
fn victim() {
    let Some(dir) = std::env::var_os("FANFARE_VICTIM_DIR") else { return };
    let dir = Path::new(&dir);
    let sync = match std::env::var_os("FANFARE_VICTIM_LAZY") {
        Some(_) => SyncPolicy::Never,
        None => SyncPolicy::Always,
    };
    let disk = Disk::open(DiskOptions { sync, ..options(&dir.join("data")) }).unwrap();
    let ledger = Arc::new(OpenOptions::new().append(true).create(true).open(dir.join("ledger")).unwrap());
    std::thread::scope(|scope| {
        for i in 0..CHANNELS {
            let (disk, ledger) = (&disk, &ledger);
            scope.spawn(move || append_for_ever(disk, ledger, i));
        }
    });
}

fn append_for_ever(disk: &Disk, ledger: &Arc<File>, i: u8) {
    let (done_tell, done) = std::sync::mpsc::channel();
    let next = disk
        .head(&channel(i))
        .unwrap()
        .map_or(1, |h| h.last.millis() - crate::contract::stamp(0).millis() + 1);
    for n in next.. {
        if n - next >= IN_FLIGHT {
            done.recv().unwrap();
        }
        if disk.fault().is_some() {
            return;
        }
        let (ledger, tell) = (ledger.clone(), done_tell.clone());
        let acknowledge = Box::new(move |outcome: Result<(), StoreError>| {
            let mut line = [if outcome.is_ok() { i } else { REFUSED }; 9];
            line[1..].copy_from_slice(&n.to_le_bytes());
            (&*ledger).write_all(&line).unwrap();
            let _ = tell.send(());
        });
        let records = vec![expected(i, n)];
        disk.append(Append {
            channel: channel(i),
            records,
            keep: Keep::All,
            retention: DAY,
            done: acknowledge,
        });
    }
}

/// One life of the victim.
fn live_and_die(dir: &Path, lazy: bool, life: Duration) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "disk::tests::crash::victim", "--ignored", "--nocapture"]);
    command.env("FANFARE_VICTIM_DIR", dir).stdout(Stdio::null()).stderr(Stdio::null());
    if lazy {
        command.env("FANFARE_VICTIM_LAZY", "1");
    }
    let before = fs::metadata(dir.join("ledger")).map_or(0, |m| m.len());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    // Its life begins with its first acknowledgement.
    while fs::metadata(dir.join("ledger")).map_or(0, |m| m.len()) == before {
        assert!(started.elapsed() < Duration::from_secs(30), "the victim does not get going");
        assert_eq!(child.try_wait().unwrap(), None, "the victim died by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The highest acknowledged of each channel, and how many acknowledgements there were.
fn ledger(dir: &Path) -> ([u64; CHANNELS as usize], u64) {
    let mut highest = [0; CHANNELS as usize];
    let bytes = fs::read(dir.join("ledger")).unwrap();
    let lines = bytes.chunks_exact(9).filter(|line| line[0] != REFUSED);
    let count = lines.clone().count() as u64;
    for line in lines {
        let highest = &mut highest[usize::from(line[0])];
        *highest = u64::from_le_bytes(line[1..].try_into().unwrap()).max(*highest);
    }
    (highest, count)
}

#[derive(Default)]
struct Findings {
    acknowledged: u64,
    lost: u64,
    /// Out of order, twice, with a gap, or not what was sent.
    wrong: u64,
    opening_max: Duration,
}

fn compare(dir: &Path, findings: &mut Findings) {
    let started = Instant::now();
    let disk = Disk::open(options(&dir.join("data"))).expect("it opens by itself");
    findings.opening_max = findings.opening_max.max(started.elapsed());
    let (highest, count) = ledger(dir);
    findings.acknowledged = count;
    for (i, highest) in (0..CHANNELS).zip(highest) {
        let records = read_all(&disk, &channel(i), BodyKind::Messages);
        findings.lost += highest.saturating_sub(records.len() as u64);
        let wrong = |(n, record): (u64, &Arc<Record>)| *record != expected(i, n);
        findings.wrong += (1..).zip(&records).filter(|found| wrong((found.0, found.1))).count() as u64;
    }
}

fn crashes() -> u32 {
    std::env::var("FANFARE_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut findings = Findings::default();
    for cycle in 0..crashes() {
        live_and_die(dir.path(), false, Duration::from_millis(u64::from(cycle) * 37 % 211));
        compare(dir.path(), &mut findings);
        assert_eq!((findings.lost, findings.wrong), (0, 0), "cycle {cycle}");
    }
    eprintln!(
        "{} kills, {} acknowledged, 0 lost, 0 wrong, slowest opening {:?}",
        crashes(),
        findings.acknowledged,
        findings.opening_max,
    );
    assert!(findings.acknowledged > u64::from(crashes()), "the victims did something");
}

/// The checker must see a loss where there is one.
#[test]
fn without_syncs_the_checker_goes_red() {
    let mut lost = 0;
    for cycle in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        live_and_die(dir.path(), true, Duration::from_millis(20 + cycle * 10));
        let mut findings = Findings::default();
        compare(dir.path(), &mut findings);
        assert_eq!(findings.wrong, 0, "lost, but nothing false");
        lost += findings.lost;
    }
    assert!(lost > 0, "acknowledged before the sync, and nothing was lost: is anything checked?");
}

/// One sync fails, the next ones would succeed: nothing is acknowledged from then on all the same.
#[test]
#[ignore = "needs strace"]
fn a_failed_sync_is_final() {
    for (call, nth) in
        [("fdatasync", 4), ("fdatasync", 9), ("fdatasync", 50), ("fdatasync", 300), ("write", 200)]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        // The ledger is written with `write` too: it is known by its name.
        let journal = dir.path().join("data/log/0.jnl");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(journal);
        command.arg(format!("-einject={call}:error=EIO:when={nth}"));
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "disk::tests::crash::victim", "--ignored", "--nocapture"]);
        let status = command.env("FANFARE_VICTIM_DIR", dir.path()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "the victim ends when its store has failed: {status}");
        let bytes = fs::read(dir.path().join("ledger")).unwrap();
        let refused =
            bytes.chunks_exact(9).position(|line| line[0] == REFUSED).expect("something was refused");
        assert!(bytes.chunks_exact(9).skip(refused).all(|line| line[0] == REFUSED), "{call} {nth}");
        let mut findings = Findings::default();
        compare(dir.path(), &mut findings);
        assert_eq!((findings.lost, findings.wrong), (0, 0), "{call} {nth}");
        eprintln!("{call} {nth}: {} acknowledged, then {} refused", refused, bytes.len() / 9 - refused);
    }
}

/// So that `Data` in a victim's records is what this file says.
#[test]
fn what_is_expected_is_told_by_its_place() {
    let fanfare_model::Body::Messages(m) = &expected(3, 7).body else { panic!() };
    assert!(matches!(&m[0].data, Data::Text(t) if t.starts_with("3/7/")));
    assert_eq!(expected(3, 7), expected(3, 7));
}
