//! The command line as a client, for any server that speaks the same protocol.

mod link;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_ws::{Config, Decoder, Event, MaskKey, Opcode, Role, Scratch, handshake, write_masked_frame};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::args::{ChannelArgs, ChannelsArgs, PublishArgs, ServerArgs, SubscribeArgs};
use crate::config::say;
use link::{Address, Link};

/// An answer larger than this is not what we asked for.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Of the protocol's actions, those that a subscriber meets.
const ERROR: u64 = 9;
const ATTACHED: u64 = 11;
const MESSAGE: u64 = 15;
const CONNECTED: u64 = 4;
const ATTACH: u64 = 10;
const DISCONNECTED: u64 = 6;

pub(crate) fn publish(args: &PublishArgs) -> anyhow::Result<()> {
    let body = json!({ "name": args.name, "data": args.data });
    let path = format!("/channels/{}/messages", encode(&args.channel));
    let answer = request(&args.server, "POST", &path, Some(&body))?;
    say(&answer.to_string());
    Ok(())
}

pub(crate) fn history(args: &ChannelArgs) -> anyhow::Result<()> {
    list(&args.server, &format!("/channels/{}/messages?limit={}", encode(&args.channel), args.limit))
}

pub(crate) fn presence(args: &ChannelArgs) -> anyhow::Result<()> {
    list(&args.server, &format!("/channels/{}/presence?limit={}", encode(&args.channel), args.limit))
}

pub(crate) fn channels(args: &ChannelsArgs) -> anyhow::Result<()> {
    list(&args.server, &format!("/channels?prefix={}", encode(&args.prefix)))
}

fn list(server: &ServerArgs, path: &str) -> anyhow::Result<()> {
    let answer = request(server, "GET", path, None)?;
    for item in answer.as_array().context("the server did not answer with a list")? {
        say(&item.as_str().map_or_else(|| item.to_string(), str::to_owned));
    }
    Ok(())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn request(server: &ServerArgs, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    use http_body_util::{BodyExt as _, Full, Limited};
    use hyper::body::Bytes;
    let address = Address::parse(&server.url)?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.authority)
        .header("authorization", format!("Basic {}", STANDARD.encode(&server.key)))
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("x-ably-version", "6")
        .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, bytes) = runtime.block_on(async {
        let io = hyper_util::rt::TokioIo::new(link::open_async(server, &address).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes();
        connection.abort();
        anyhow::Ok((status, bytes))
    })?;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !status.is_success() {
        bail!("{}", refusal(&answer["error"], status.as_u16()));
    }
    Ok(answer)
}

fn refusal(error: &Value, status: u16) -> String {
    match error["message"].as_str() {
        Some(message) => format!("the server refused: {message} (code {})", error["code"]),
        None => format!("the server answered with HTTP status {status}"),
    }
}

pub(crate) fn subscribe(args: &SubscribeArgs) -> anyhow::Result<()> {
    let mut socket = Socket::open(&args.server)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let frame = socket.next()?;
        match frame["action"].as_u64() {
            Some(CONNECTED) => {
                let params = args.rewind.map(|n| json!({ "rewind": n.to_string() }));
                socket.send(&json!({ "action": ATTACH, "channel": args.channel, "params": params }))?;
            }
            Some(ATTACHED) if frame["error"].is_object() => {
                #[allow(clippy::print_stderr)]
                {
                    eprintln!("{}", refusal(&frame["error"], 0));
                }
            }
            Some(ERROR | DISCONNECTED) => bail!("{}", refusal(&frame["error"], 0)),
            Some(MESSAGE) => {
                for message in frame["messages"].as_array().into_iter().flatten().take(left as usize) {
                    say(&line(message));
                    left -= 1;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The data alone when there is only data, else the message.
fn line(message: &Value) -> String {
    match (&message["data"], message.get("name").is_some() || message.get("encoding").is_some()) {
        (Value::String(data), false) => data.clone(),
        _ => message.to_string(),
    }
}

struct Socket {
    stream: Link,
    decoder: Decoder,
    scratch: Scratch,
    buffer: Vec<u8>,
    frames: std::collections::VecDeque<Value>,
}

impl Socket {
    fn open(server: &ServerArgs) -> anyhow::Result<Self> {
        let address = Address::parse(&server.url)?;
        let mut stream = Link::open(server, &address)?;
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).context("the system has no randomness")?;
        let key = handshake::client_key(nonce);
        let basic = STANDARD.encode(&server.key);
        write!(
            stream,
            "GET /?v=6&format=json&heartbeats=true HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Authorization: Basic {basic}\r\n\r\n",
            address.authority
        )?;
        stream.flush()?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > 16 * 1024 || stream.read(&mut byte)? == 0 {
                bail!("the server did not answer as a WebSocket server does");
            }
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!(
                "the server refused: {}",
                String::from_utf8_lossy(&head).lines().next().unwrap_or_default()
            );
        }
        let config = Config { max_message_bytes: FRAME_BYTES_MAX, role: Role::Client, deflate: None };
        Ok(Self {
            stream,
            decoder: Decoder::new(&config),
            scratch: Scratch::new(),
            buffer: vec![0; 64 * 1024],
            frames: std::collections::VecDeque::new(),
        })
    }

    fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        self.write(Opcode::Text, frame.to_string().as_bytes())
    }

    fn write(&mut self, opcode: Opcode, payload: &[u8]) -> anyhow::Result<()> {
        let mut mask = [0; 4];
        rand::fill(&mut mask).context("the system has no randomness")?;
        let mut out = Vec::new();
        write_masked_frame(&mut out, opcode, payload, MaskKey(mask));
        self.stream.write_all(&out)?;
        Ok(self.stream.flush()?)
    }

    fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            let read = self.stream.read(&mut self.buffer)?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            let mut pings = Vec::new();
            let mut input = &mut self.buffer[..read];
            while let Some(event) = self.decoder.next(&mut input, &mut self.scratch)? {
                match event {
                    Event::Text(text) => self.frames.push_back(serde_json::from_str(text)?),
                    Event::Ping(payload) => pings.push(payload.to_vec()),
                    Event::Close { .. } => bail!("the server closed the connection"),
                    Event::Binary(_) | Event::Pong(_) => {}
                }
            }
            for ping in pings {
                self.write(Opcode::Pong, &ping)?;
            }
        }
    }
}
