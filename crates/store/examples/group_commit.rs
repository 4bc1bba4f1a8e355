//! How many single appends a second the store takes when many come at the same time, against a file
//! that is synced after each write, on the same disk. `cargo run --release --example group_commit [dir]`

#![allow(clippy::print_stdout)]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use fanfare_model::{
    AppId, Body, ChannelKey, ChannelName, Data, ErrorInfo, Message, Record, Stamp, Timestamp,
};
use fanfare_store::{Append, Backend, Disk, DiskOptions, Keep};

const RUN: Duration = Duration::from_secs(5);
const PAYLOAD_BYTES: usize = 300;
const CHANNELS: u64 = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("fanfare-group-commit-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let before = plain(&dir)?;
    println!("plain file, one write and fdatasync each: {before:>9.0} appends/s");
    for at_once in [1, 8, 64, 512, 4096] {
        let options = DiskOptions::new(dir.join(format!("store-{at_once}")));
        let disk = Disk::open(options)?;
        let rate = store(&disk, at_once).map_err(|e| e.to_string())?;
        println!(
            "store, {at_once:>4} appends at once:             {rate:>9.0} appends/s ({:.1}x)",
            rate / before
        );
    }
    println!("plain file again:                         {:>9.0} appends/s", plain(&dir)?);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Preallocated, as the store's journal is.
fn plain(dir: &Path) -> io::Result<f64> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(dir.join("plain"))?;
    file.set_len(64 * 1024 * 1024)?;
    file.sync_all()?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < RUN {
        file.write_all(&[b'x'; PAYLOAD_BYTES + 100])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// Keeps `at_once` appends of one record under way, over many channels.
fn store(disk: &Disk, at_once: u64) -> Result<f64, ErrorInfo> {
    let channels: Vec<_> = (0..CHANNELS)
        .map(|i| {
            Ok(ChannelKey { app: AppId::parse("app")?, name: ChannelName::parse(&format!("room:{i}"))? })
        })
        .collect::<Result<_, ErrorInfo>>()?;
    let (tell, told) = channel();
    let start = |n: u64| {
        let tell = tell.clone();
        let done = Box::new(move |outcome: Result<(), _>| {
            let _ = tell.send(outcome);
        });
        let channel = channels[(n % CHANNELS) as usize].clone();
        let (records, retention) = (vec![record(n)], Duration::from_secs(72 * 3600));
        disk.append(Append { channel, records, keep: Keep::All, retention, done });
    };
    let (started, mut count) = (Instant::now(), 0);
    (0..at_once).for_each(&start);
    while started.elapsed() < RUN {
        told.recv().expect("the store answers").expect("the append succeeds");
        count += 1;
        start(at_once + count);
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    disk.close();
    Ok(rate)
}

fn record(n: u64) -> Arc<Record> {
    let stamp = Stamp(Stamp::at(Timestamp(1_726_585_200_000)).0 + n);
    // Not compressible, and cheap to make.
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let payload: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(PAYLOAD_BYTES)
    .collect();
    let message = Message { data: Data::Binary(payload.into()), ..Message::default() };
    Arc::new(Record {
        stamp,
        timestamp: Timestamp(stamp.millis() as i64),
        id: format!("connection:{n}").into(),
        connection_id: None,
        body: Body::Messages(vec![message]),
        ephemeral: false,
    })
}
