//! The generator against the baseline: a sound server passes, and each fault on purpose is reported.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use fanfare_bench::{
    BenchArgs, ConnectArgs, FanoutArgs, Format, Length, ManyArgs, RateArgs, Scenario, StalledArgs, Target,
    raw::{Break, Server},
};

/// The baseline on a thread of the test.
struct Baseline {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Baseline {
    fn start(fault: Option<Break>) -> Self {
        let mut server = Server::bind("127.0.0.1:0".parse().unwrap(), fault).unwrap();
        let address = server.address().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || server.serve(&flag).unwrap());
        Self { address, stop, thread: Some(thread) }
    }

    fn target(&self, format: Format) -> Target {
        Target {
            url: format!("ws://{}", self.address),
            key: "bench.bench:bench".to_owned(),
            app: Some("bench".to_owned()),
            token: Some("bench".to_owned()),
            server_pid: None,
            format,
            json: true,
        }
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

const FORMATS: [Format; 3] = [Format::Json, Format::Msgpack, Format::RealtimePubsub];

const BRIEF: Length = Length { seconds: 0.3, warmup: 0.1 };

fn fanout(fault: Option<Break>, format: Format) -> anyhow::Result<()> {
    let baseline = Baseline::start(fault);
    let args = FanoutArgs { length: BRIEF, subscribers: 5, ..FanoutArgs::new(baseline.target(format)) };
    fanfare_bench::run(BenchArgs { scenario: Scenario::Fanout(args) })
}

fn stalled(fault: Option<Break>, format: Format) -> anyhow::Result<()> {
    let baseline = Baseline::start(fault);
    let args = StalledArgs {
        seconds: 0.3,
        warmup: 0.2,
        subscribers: 6,
        stalled: 2,
        rate: 100,
        payload: 16_384,
        ..StalledArgs::new(baseline.target(format))
    };
    fanfare_bench::run(BenchArgs { scenario: Scenario::Stalled(args) })
}

#[track_caller]
fn assert_reports(outcome: anyhow::Result<()>, fault: &str) {
    let error = outcome.expect_err("a broken server must not pass").to_string();
    let count = error.split(&format!("{fault}: ")).nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let count: u64 = count.and_then(|text| text.parse().ok()).expect("the fault is named");
    assert!(count > 0, "{error}");
}

#[test]
fn a_sound_server_passes_in_every_format() {
    for format in FORMATS {
        fanout(None, format).unwrap();
    }
}

#[test]
fn a_sound_server_passes_the_other_scenarios() {
    let baseline = Baseline::start(None);
    for format in FORMATS {
        let many = ManyArgs { length: BRIEF, channels: 20, ..ManyArgs::new(baseline.target(format)) };
        fanfare_bench::run(BenchArgs { scenario: Scenario::Many(many) }).unwrap();
        let rate = RateArgs { length: BRIEF, subscribers: 10, ..RateArgs::new(baseline.target(format)) };
        fanfare_bench::run(BenchArgs { scenario: Scenario::Rate(rate) }).unwrap();
        let connect = ConnectArgs { clients: 200, ..ConnectArgs::new(baseline.target(format)) };
        fanfare_bench::run(BenchArgs { scenario: Scenario::Connect(connect) }).unwrap();
    }
}

#[test]
fn a_lost_message_is_reported() {
    for format in FORMATS {
        assert_reports(fanout(Some(Break::Drop), format), "losses");
    }
}

#[test]
fn a_message_sent_twice_is_reported() {
    assert_reports(fanout(Some(Break::Duplicate), Format::Json), "duplicates");
}

#[test]
fn a_message_out_of_order_is_reported() {
    assert_reports(fanout(Some(Break::Reorder), Format::Json), "order");
}

#[test]
fn a_changed_payload_is_reported() {
    assert_reports(fanout(Some(Break::Corrupt), Format::Json), "corrupt");
}

#[test]
fn a_message_of_another_channel_is_reported() {
    assert_reports(fanout(Some(Break::Misroute), Format::Json), "misrouted");
}

#[test]
fn a_gap_that_is_told_passes_and_a_silent_one_is_reported() {
    for format in FORMATS {
        stalled(None, format).unwrap();
        assert_reports(stalled(Some(Break::SilentGap), format), "silent_gaps");
    }
}
