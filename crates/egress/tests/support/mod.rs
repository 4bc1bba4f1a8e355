//! Doubles of what is outside: an HTTP server, a clock, names, and a log that is read.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfare_egress::{Clock, Counters, Egress, EgressConfig, GuardConfig, Lookup, Timeouts};
use fanfare_model::{Now, Timestamp};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const WALL: i64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A status line's end, more headers and a body; or nothing at all: the connection is cut.
pub(crate) type Reply = Option<(&'static str, String, String)>;

pub(crate) fn status(status: &'static str) -> Reply {
    Some((status, String::new(), String::new()))
}

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Receiver<Request>,
    connections: Arc<AtomicUsize>,
}

impl Double {
    pub(crate) fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    pub(crate) fn on(
        listener: TcpListener,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (tell, requests) = channel();
        let (connections, reply) = (Arc::new(AtomicUsize::new(0)), Arc::new(reply));
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let (tell, reply) = (tell.clone(), reply.clone());
                std::thread::spawn(move || answer(&stream.unwrap(), &tell, &*reply));
            }
        });
        Self { address, requests, connections }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }
}

fn answer(stream: &TcpStream, tell: &Sender<Request>, reply: &dyn Fn(&Request) -> Reply) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let _ = tell.send(request.clone());
        let Some((status, headers, body)) = reply(&request) else { return };
        let length = body.len();
        let mut stream = stream;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() || headers.contains("close") {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: HashMap<_, _> = lines[1..].iter().filter_map(header).collect();
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line: lines.swap_remove(0), headers, body })
}

/// A clock that the test moves.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicU64>);

impl Time {
    pub(crate) fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let seconds = self.0.clone();
        Arc::new(move || {
            let mono = Duration::from_secs(seconds.load(Ordering::SeqCst));
            Now { wall: Timestamp(WALL) + mono, mono }
        })
    }
}

/// Names by a table; each question takes the next answer, and the last one stays.
pub(crate) fn names(table: &[(&str, &[&[&str]])]) -> (Lookup, Arc<AtomicUsize>) {
    type Answers = Vec<Vec<IpAddr>>;
    let parse = |answers: &&[&[&str]]| -> Answers {
        answers.iter().map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect()).collect()
    };
    let table: HashMap<String, Answers> =
        table.iter().map(|(name, answers)| ((*name).to_owned(), parse(answers))).collect();
    let (table, asked) = (Arc::new(Mutex::new(table)), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let lookup: Lookup = Arc::new(move |name| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut table = table.lock().unwrap();
        let found = table
            .get_mut(&name)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        let found = found.ok_or_else(|| std::io::Error::other("no such name"));
        Box::pin(async move { found })
    });
    (lookup, asked)
}

pub(crate) fn egress(allowed: &[&str], lookup: Lookup, clock: Clock) -> Egress {
    Egress::start(EgressConfig {
        guard: GuardConfig::allowing(allowed).unwrap(),
        clock,
        lookup,
        timeouts: Timeouts { connect: Duration::from_secs(2), request: Duration::from_secs(5) },
    })
    .unwrap()
}

/// Allowed to ask this machine.
pub(crate) fn local() -> Egress {
    egress(&["127.0.0.0/8"], names(&[]).0, Time::default().clock())
}

pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Delivered, retried, failed, dropped.
pub(crate) fn counts(counters: &Counters) -> [u64; 4] {
    [&counters.delivered, &counters.retried, &counters.failed, &counters.dropped]
        .map(|counter| counter.load(Ordering::SeqCst))
}

/// All that the process logs, at every level.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    pub(crate) fn read() -> Self {
        let logs = Self::default();
        let writer = logs.clone();
        let level = tracing_subscriber::filter::LevelFilter::TRACE;
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        logs
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
