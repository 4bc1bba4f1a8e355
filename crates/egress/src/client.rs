//! One request out and its answer in, through the guard and under caps.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use crate::Timeouts;
use crate::guard::{Denied, Guard, GuardedDns};

const USER_AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
/// An answer is read so far and no further.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

pub(crate) struct Client {
    http: reqwest::Client,
    guard: Arc<Guard>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Denied(#[from] Denied),
    /// With its causes, without the URL.
    #[error("{0}")]
    Transport(String),
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong(StatusCode),
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(guard: Arc<Guard>, timeouts: Timeouts) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .dns_resolver(GuardedDns(guard.clone()))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would resolve names itself, past the guard.
            .no_proxy()
            .retry(reqwest::retry::never())
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            .build();
        http.map(|http| Self { http, guard }).map_err(|failure| causes(&failure))
    }

    /// A URL that requests may be made to; its host is judged again at each connection.
    pub(crate) fn admit(&self, url: &str) -> Result<Url, Denied> {
        self.guard.admit(url)
    }

    pub(crate) async fn get(&self, url: &Url) -> Result<Answer, Failure> {
        self.ask(Method::GET, url, HeaderMap::new(), Bytes::new()).await
    }

    pub(crate) async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        self.ask(Method::POST, url, headers, body).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let request = self.http.request(method, url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::TooLong(response.status()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), body })
    }
}

fn transport(failure: reqwest::Error) -> Failure {
    let failure = failure.without_url();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&failure);
    while let Some(cause) = source {
        if let Some(denied) = cause.downcast_ref::<Denied>() {
            return Failure::Denied(denied.clone());
        }
        source = cause.source();
    }
    Failure::Transport(causes(&failure))
}

fn causes(failure: &reqwest::Error) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A header whose value is ours or was checked when the destination was made.
pub(crate) fn header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
