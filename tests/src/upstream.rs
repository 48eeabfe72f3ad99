//! Upstreams that do what a test says: echo, fail, hang; and receivers that remember what they got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an upstream was asked.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Method and target, as in the request line.
    pub line: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The status that it was answered with; 0 when it was not.
    pub answered: u16,
    /// Its place among all that this upstream did: when it had come, and when it was answered or given up.
    pub steps: (u64, u64),
    /// When it was answered or given up.
    pub ended: Option<Instant>,
}

impl Received {
    /// The first field of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All fields of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status with a body.
    Status(u16, String),
    /// These bytes, whatever they are, and then the connection closes.
    Raw(Vec<u8>),
    /// Nothing; the connection closes.
    Close,
    /// Nothing, until the other side gives up.
    Hang,
    /// Another protocol, in which it says nothing until the other side ends it.
    Tunnel,
}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    received: Mutex<Vec<Received>>,
    more: Condvar,
    steps: AtomicU64,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) -> u64 {
        self.steps.fetch_add(1, Ordering::AcqRel)
    }
}

/// An upstream on a free port; it ends when it is dropped.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers each request by the script.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> std::io::Result<Self> {
        Self::start_at("127.0.0.1:0", script)
    }

    /// The same at an address, to come back where one was.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start_at(
        address: &str,
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (log, stop): (Arc<Log>, Arc<AtomicBool>) = Default::default();
        let script: Arc<Script> = Arc::new(script);
        let (accept_log, accept_stop) = (log.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accept_stop.load(Ordering::Acquire) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (script, log, stop) = (script.clone(), accept_log.clone(), accept_stop.clone());
                std::thread::spawn(move || serve(stream, &*script, &log, &stop));
            }
        });
        Ok(Self { address, log, stop })
    }

    /// Answers 200 with the request line, and remembers.
    ///
    /// # Errors
    /// When no port is free.
    pub fn echo() -> std::io::Result<Self> {
        Self::start(|received| Reply::Status(200, received.line.clone()))
    }

    /// What came so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.log.lock().clone()
    }

    /// What came after the first so many.
    #[must_use]
    pub fn received_after(&self, count: usize) -> Vec<Received> {
        self.log.lock().get(count..).unwrap_or_default().to_vec()
    }

    /// Waits until at least `count` requests came, or patience ends; what came.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let _ = self.wait_for_within(count, PATIENCE);
        self.received()
    }

    /// The same with another patience; whether they came.
    #[must_use]
    pub fn wait_for_within(&self, count: usize, patience: Duration) -> bool {
        let fewer = |received: &mut Vec<Received>| received.len() < count;
        let waited = self.log.more.wait_timeout_while(self.log.lock(), patience, fewer);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, script: &Script, log: &Log, stop: &AtomicBool) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    while let Some(received) = read_request(&mut input) {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let came = log.step();
        let reply = script(&received);
        let answered = if let Reply::Status(status, _) = &reply { *status } else { 0 };
        let (steps, ended) = ((came, log.step()), Some(Instant::now()));
        log.lock().push(Received { answered, steps, ended, ..received });
        log.more.notify_all();
        let sent = match reply {
            Reply::Status(status, body) => {
                write!(out, "HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            }
            Reply::Raw(bytes) => {
                let _ = out.write_all(&bytes);
                return;
            }
            Reply::Close => return,
            Reply::Hang => {
                let _ = input.fill_buf();
                return;
            }
            Reply::Tunnel => {
                let _ = out.write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                );
                let _ = std::io::copy(&mut input, &mut std::io::sink());
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn read_request(input: &mut impl BufRead) -> Option<Received> {
    let mut received = Received { line: line(input)?, ..Received::default() };
    loop {
        let text = line(input)?;
        let Some((name, value)) = text.split_once(':') else { break };
        received.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if received.header("transfer-encoding").is_some() {
        loop {
            let size = u64::from_str_radix(&line(input)?, 16).ok()?;
            input.take(size).read_to_end(&mut received.body).ok()?;
            line(input)?;
            if size == 0 {
                return Some(received);
            }
        }
    }
    let length: u64 = received.header("content-length").unwrap_or("0").parse().ok()?;
    input.take(length).read_to_end(&mut received.body).ok()?;
    Some(received)
}

fn line(input: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}
