//! One JSON line a request, written without ever holding a request up.
//!
//! Each core collects lines and hands them over in blocks; one thread writes. When the reader of the log
//! is too slow the blocks are dropped and their lines counted, because a slow log must not become a slow
//! gateway.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use prometheus::IntCounter;
use serde::Serialize;

/// Bytes that a core collects before it hands them over.
const BLOCK_BYTES: usize = 32 * 1024;
/// Blocks that may wait for the writer: with [`BLOCK_BYTES`] the log holds at most 4 MiB.
const MAX_BLOCKS: usize = 128;

/// What a line says. No header values, no query values, no body: nothing that could be a secret.
#[derive(Debug, Default, Serialize)]
pub struct Line<'a> {
    /// When the request was complete, RFC 3339 in UTC.
    pub time: String,
    /// The correlation id.
    pub request_id: &'a str,
    /// The trace id (W3C).
    pub trace_id: &'a str,
    /// The tenant, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    /// The object that answered: `Route acme/agents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<&'a str>,
    /// The rule in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The names of the query parameters; their values may be secrets.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub query: &'a str,
    /// The protocol: `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// The caller's address after trusted hops.
    pub address: Option<IpAddr>,
    /// Who the caller proved to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a str>,
    /// By which method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<&'a str>,
    /// The status that was answered.
    pub status: u16,
    /// Why the gateway said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What a policy in mode `Audit` would have refused, as `filter:reason`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub would_refuse: &'a [String],
    /// The upstream that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// Its endpoint of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<std::net::SocketAddr>,
    /// How many attempts were made.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Events that were accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub events: u32,
    /// Bytes of the answer's body that were sent.
    pub bytes_sent: u64,
    /// From the head's arrival to the body's end.
    pub duration_us: u64,
    /// The answer's body was not sent to its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub aborted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The writer's side; joined when the gateway ends.
#[derive(Debug)]
pub struct AccessLog {
    sender: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    dropped: IntCounter,
}

fn write_blocks(blocks: &Receiver<Vec<u8>>, mut out: impl Write) {
    for block in blocks {
        // A closed pipe must not end the gateway; the lines have nowhere to go then.
        if out.write_all(&block).and_then(|()| out.flush()).is_err() {
            tracing::warn!("the access log cannot be written");
        }
    }
}

impl AccessLog {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(out: impl Write + Send + 'static, dropped: IntCounter) -> std::io::Result<Self> {
        let (sender, blocks) = sync_channel(MAX_BLOCKS);
        let writer =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write_blocks(&blocks, out))?;
        Ok(Self { sender: Some(sender), writer: Some(writer), dropped })
    }

    /// The collector of one core.
    #[must_use]
    pub fn core(&self) -> CoreLog {
        CoreLog { collected: RefCell::default(), sender: self.sender.clone(), dropped: self.dropped.clone() }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            // The cores have ended by now and with them their senders, so this does not wait for more lines.
            let _ = writer.join();
        }
    }
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    lines: u64,
}

/// The lines of one core.
#[derive(Debug)]
pub struct CoreLog {
    collected: RefCell<Collected>,
    sender: Option<SyncSender<Vec<u8>>>,
    dropped: IntCounter,
}

impl CoreLog {
    /// Adds a line; hands the block over when it is full.
    pub fn write(&self, line: &Line<'_>) {
        let full = {
            let mut collected = self.collected.borrow_mut();
            if serde_json::to_writer(&mut collected.bytes, line).is_err() {
                return;
            }
            collected.bytes.push(b'\n');
            collected.lines += 1;
            collected.bytes.len() >= BLOCK_BYTES
        };
        if full {
            self.flush();
        }
    }

    /// Hands over what has been collected; a core calls this a few times a second.
    pub fn flush(&self) {
        let Collected { bytes, lines } = self.collected.take();
        let Some(sender) = self.sender.as_ref().filter(|_| lines > 0) else { return };
        if sender.try_send(bytes).is_err() {
            self.dropped.inc_by(lines);
        }
    }
}

impl Drop for CoreLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The names in a query, values left out: `token=abc&page=2` becomes `token&page`. Bounded.
#[must_use]
pub fn query_names(query: &str) -> String {
    const MAX_BYTES: usize = 256;
    let mut names = String::new();
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if names.len() + name.len() > MAX_BYTES {
            names.push_str("&..");
            break;
        }
        if !names.is_empty() {
            names.push('&');
        }
        names.push_str(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn hostile_text_stays_inside_its_json_string() {
        let out = Shared::default();
        let log = AccessLog::start(out.clone(), IntCounter::new("dropped", "dropped").unwrap()).unwrap();
        let core = log.core();
        core.write(&Line { path: "/\"\n{\u{1}", host: "h", ..Line::default() });
        drop(core);
        drop(log);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["path"], "/\"\n{\u{1}");
    }

    #[test]
    fn query_values_are_left_out() {
        assert_eq!(query_names("token=abc&page=2&flag"), "token&page&flag");
        assert!(query_names(&"a=b&".repeat(1000)).len() < 300);
    }
}
