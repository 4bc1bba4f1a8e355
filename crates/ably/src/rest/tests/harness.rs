//! A server without sockets: the router, and an engine whose workers have threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_engine::{Directory, EngineConfig, Worker};
use fanfare_model::{Epoch, Limits, Now, Timestamp};
use fanfare_store::Memory;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::auth::{Authenticator, BasicOverPlain};
use crate::rest::{Address, LocalSandbox, RestState, Transport};
use crate::wire::{self, Format};

const WORKERS: usize = 2;

pub(super) struct Rest {
    pub(super) router: Router,
    pub(super) app: Value,
    pub(super) format: Format,
    pub(super) version: &'static str,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    pub(super) body: Value,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The query of the link with this relation.
    pub(super) fn link(&self, rel: &str) -> Option<String> {
        let wanted = format!("; rel=\"{rel}\"");
        let links = self.headers.get_all("link").iter().map(|link| link.to_str().unwrap());
        let link = links.filter_map(|link| link.strip_suffix(&wanted)).next()?;
        let address = link.strip_prefix("<./").unwrap().strip_suffix('>').unwrap();
        assert!(!address.contains(','), "SDKs split at commas: {address}");
        Some(address.split_once('?').unwrap().1.to_owned())
    }

    #[track_caller]
    pub(super) fn assert(&self, status: u16, code: u32) {
        let got = (self.status, &self.body["error"]["code"], self.header("x-ably-errorcode"));
        assert_eq!(got, (status, &json!(code), &*code.to_string()), "{}", self.body);
    }
}

fn clock() -> Arc<dyn Fn() -> Now + Send + Sync> {
    let started = Instant::now();
    Arc::new(move || {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        Now { wall: Timestamp(wall), mono: started.elapsed() }
    })
}

impl Rest {
    /// With one app, made as SDKs' suites make theirs.
    pub(super) async fn start() -> Self {
        let clock = clock();
        let stop = Arc::new(AtomicBool::new(false));
        let wake: Vec<Arc<AtomicBool>> = (0..WORKERS).map(|_| Arc::default()).collect();
        let (engine, seeds) = Worker::all(EngineConfig {
            directory: Arc::new(Directory::default()),
            store: Arc::new(Memory::new(Epoch::parse("disk").unwrap())),
            blocking: Box::new(|work| drop(std::thread::spawn(work))),
            memory_epoch: Epoch::parse("memory").unwrap(),
            wake: wake
                .iter()
                .cloned()
                .map(|flag| Box::new(move || flag.store(true, Ordering::Release)) as _)
                .collect(),
        });
        let workers = seeds.into_iter().zip(wake).map(|(seed, wake)| {
            let (clock, stop) = (clock.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut worker = seed.grow();
                while !stop.load(Ordering::Acquire) {
                    let more = worker.turn(clock());
                    worker.tick(clock());
                    if !more && !wake.swap(false, Ordering::AcqRel) {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
            })
        });
        let workers = workers.collect();
        let address = Address { endpoint: "127.0.0.1".into(), port: 8080, tls: false };
        let sandbox = LocalSandbox::new(engine.clone(), clock.clone(), address, Limits::default());
        let started = Timestamp(clock().wall.0 - 60_000);
        let router = crate::rest::router(RestState {
            engine,
            auth: Arc::new(Authenticator::new(started)),
            clock,
            basic_over_plain: BasicOverPlain::Refused,
            server_id: "server-1".into(),
            sandbox: Some(Arc::new(sandbox)),
        });
        let (format, version) = (Format::Json, "6");
        let mut rest = Self { router, app: Value::Null, format, version, stop, workers };
        let spec: Value = serde_json::from_str(include_str!("post_apps.json")).unwrap();
        let made = rest.send("POST", "/apps", None, &[], Some(&spec)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        rest.app = made.body;
        rest
    }

    pub(super) fn key(&self, index: usize) -> String {
        self.app["keys"][index]["keyStr"].as_str().unwrap().to_owned()
    }

    pub(super) fn key_name(&self, index: usize) -> String {
        self.app["keys"][index]["keyName"].as_str().unwrap().to_owned()
    }

    pub(super) async fn get(&self, path: &str) -> Got {
        self.send("GET", path, Some(&self.key(0)), &[], None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Got {
        self.send("POST", path, Some(&self.key(0)), &[], Some(body)).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        credential: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Got {
        let body = body.map(|body| wire::to_format(body, self.format)).unwrap_or_default();
        let mut all = vec![
            ("accept".to_owned(), self.format.content_type().to_owned()),
            ("content-type".to_owned(), self.format.content_type().to_owned()),
            ("x-ably-version".to_owned(), self.version.to_owned()),
        ];
        if let Some(key) = credential {
            all.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(key))));
        }
        for (name, value) in headers {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.raw(method, path, &all, body).await
    }

    pub(super) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: impl Into<Body>,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(path).extension(Transport { secure: true });
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        let format = match parts.headers.get("content-type").map(|t| t.as_bytes()) {
            Some(b"application/json") => Some(Format::Json),
            Some(b"application/x-msgpack") => Some(Format::Msgpack),
            _ => None,
        };
        let body = format.map_or(Value::Null, |format| wire::from_format(&bytes, format).unwrap());
        Got { status: parts.status.as_u16(), headers: parts.headers, bytes, body }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            // A worker's panic must fail the test, unless it fails already.
            assert!(worker.join().is_ok() || std::thread::panicking());
        }
    }
}
