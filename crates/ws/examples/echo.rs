//! An echo server for conformance suites: a thread for each connection, compression when the client offers it.
//!
//! `cargo run --release -p fanfare-ws --example echo -- 9001`

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use fanfare_ws::handshake::{accept_key, negotiate_deflate};
use fanfare_ws::{
    CloseCode, Config, Decoder, DeflateParams, Deflater, Event, Opcode, Role, Scratch, begin_frame,
    close_frame, end_frame, end_frame_deflated, write_frame,
};

/// Autobahn's largest message is 16 MiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
const READ_BYTES: usize = 64 * 1024;
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Compress whatever shrinks, so that the suite sees as much compression as possible.
const DEFLATE_FROM_BYTES: usize = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: echo PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    eprintln!("echo on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("connection ended: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let (request, early) = read_request(&mut stream)?;
    let deflate = answer(&mut stream, &request)?;
    let mut echo = Echo::new(deflate);
    let mut buffer = vec![0; READ_BYTES];
    buffer[..early.len()].copy_from_slice(&early);
    let mut received = early.len();
    loop {
        let flow = echo.take(&mut buffer[..received]);
        stream.write_all(&echo.out)?;
        echo.out.clear();
        if flow == Flow::Close {
            stream.shutdown(std::net::Shutdown::Write)?;
            // Read to the end, so that the close frame is not lost in a reset.
            while stream.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        received = stream.read(&mut buffer)?;
        if received == 0 {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Flow {
    Continue,
    Close,
}

/// The protocol of one connection, apart from its socket.
struct Echo {
    decoder: Decoder,
    scratch: Scratch,
    deflater: Option<Deflater>,
    out: Vec<u8>,
}

impl Echo {
    fn new(deflate: Option<DeflateParams>) -> Self {
        let config = Config { max_message_bytes: MAX_MESSAGE_BYTES, role: Role::Server, deflate };
        Self {
            decoder: Decoder::new(&config),
            scratch: Scratch::new(),
            deflater: deflate.map(|params| Deflater::new(6, params.send_window, DEFLATE_FROM_BYTES)),
            out: Vec::new(),
        }
    }

    fn take(&mut self, mut input: &mut [u8]) -> Flow {
        loop {
            match self.decoder.next(&mut input, &mut self.scratch) {
                Ok(Some(Event::Text(text))) => {
                    message(&mut self.out, Opcode::Text, text.as_bytes(), &mut self.deflater);
                }
                Ok(Some(Event::Binary(bytes))) => {
                    message(&mut self.out, Opcode::Binary, bytes, &mut self.deflater);
                }
                Ok(Some(Event::Ping(payload))) => write_frame(&mut self.out, Opcode::Pong, payload),
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close { code, reason })) => {
                    close_frame(&mut self.out, code.unwrap_or(CloseCode::NORMAL), reason);
                    return Flow::Close;
                }
                Ok(None) => return Flow::Continue,
                Err(error) => {
                    close_frame(&mut self.out, error.close_code(), &error.to_string());
                    return Flow::Close;
                }
            }
        }
    }
}

fn message(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], deflater: &mut Option<Deflater>) {
    let mark = begin_frame(out);
    out.extend_from_slice(payload);
    match deflater {
        Some(deflater) => {
            end_frame_deflated(out, mark, opcode, deflater);
        }
        None => end_frame(out, mark, opcode),
    }
}

/// The request's head, and what the client sent after it.
fn read_request(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Box<dyn Error>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes)?, early));
        }
        let received = stream.read(&mut chunk)?;
        if received == 0 || bytes.len() > MAX_REQUEST_BYTES {
            return Err("no whole request".into());
        }
        bytes.extend_from_slice(&chunk[..received]);
    }
}

fn answer(stream: &mut TcpStream, request: &str) -> Result<Option<DeflateParams>, Box<dyn Error>> {
    let headers = |name: &'static str| {
        request.lines().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let key = headers("sec-websocket-key").next().ok_or("not a WebSocket request")?;
    let deflate = negotiate_deflate(headers("sec-websocket-extensions"), true);
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(key)
    );
    if let Some(params) = deflate {
        response.push_str(&format!("Sec-WebSocket-Extensions: {}\r\n", params.to_header()));
    }
    response.push_str("\r\n");
    stream.write_all(response.as_bytes())?;
    Ok(deflate)
}
