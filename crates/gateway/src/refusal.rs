//! The answer for whom there is no room, given without a look at what was asked: which protocol it would
//! have been is not known, and finding out would cost what is to be saved.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::admission::Refused;

/// How long one who is refused may take to ask and to hear it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Refusals under way on one worker; the next ones are cut off without a word. Each has a file.
const UNDER_WAY_MAX: usize = 64;

/// What one who is refused is told. The body is a protocol's, so it comes from outside.
#[derive(Clone, Debug)]
pub struct RefusalAnswer {
    /// Of HTTP.
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// All refusals, ready to be written.
pub(crate) struct Answers([(Refused, Bytes); Refused::ALL.len()]);

impl Answers {
    pub(crate) fn new(answer: impl Fn(Refused) -> RefusalAnswer) -> Self {
        Self(Refused::ALL.map(|reason| (reason, written(&answer(reason)))))
    }

    fn of(&self, reason: Refused) -> Bytes {
        self.0.iter().find(|(r, _)| *r == reason).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }
}

fn written(answer: &RefusalAnswer) -> Bytes {
    let status = http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", status.as_str());
    for (name, value) in &answer.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str(&format!("content-length: {}\r\n\r\n{}", answer.body.len(), answer.body));
    out.into()
}

/// Counts refusals under way on a worker.
#[derive(Clone, Default)]
pub(crate) struct Desk(Rc<Cell<usize>>);

impl Desk {
    /// Answers once something was asked: an answer before the question may be taken back by the reset
    /// that follows a socket closed with unread bytes in it.
    pub(crate) fn refuse(&self, mut stream: TcpStream, answers: &Answers, reason: Refused) {
        if self.0.get() >= UNDER_WAY_MAX {
            return;
        }
        self.0.set(self.0.get() + 1);
        let (desk, answer) = (self.clone(), answers.of(reason));
        tokio::task::spawn_local(async move {
            let _ = tokio::time::timeout(PATIENCE, async {
                let mut unread = [0; 1024];
                if stream.read(&mut unread).await? == 0 {
                    return Ok(());
                }
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                while stream.read(&mut unread).await? > 0 {}
                Ok::<_, std::io::Error>(())
            })
            .await;
            desk.0.set(desk.0.get() - 1);
        });
    }
}
