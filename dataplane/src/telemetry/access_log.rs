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

use policy::refusal::Reason;
use prometheus::IntCounter;

/// Bytes that a core collects before it hands them over.
const BLOCK_BYTES: usize = 32 * 1024;
/// Blocks that may wait for the writer: with [`BLOCK_BYTES`] the log holds at most 4 MiB.
const MAX_BLOCKS: usize = 128;

/// The longest detail of a refusal that a line has.
const MAX_DETAIL_BYTES: usize = 512;

/// What a line says. No header values, no query values, no body: nothing that could be a secret.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// When the request was complete, RFC 3339 in UTC.
    pub time: String,
    /// The correlation id.
    pub request_id: &'a str,
    /// The trace id (W3C), when the caller sent one.
    pub trace_id: Option<&'a str>,
    /// The tenant, once it is known.
    pub tenant: Option<&'a str>,
    /// The object that answered: `Route acme/agents`.
    pub object: Option<&'a str>,
    /// The rule in it.
    pub rule: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The names of the query parameters; their values may be secrets.
    pub query: &'a str,
    /// The protocol: `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// The caller's address after trusted hops.
    pub address: Option<IpAddr>,
    /// Who the caller proved to be.
    pub caller: Option<&'a str>,
    /// By which method.
    pub authentication: Option<&'a str>,
    /// The status that was answered.
    pub status: u16,
    /// Why the gateway said no.
    pub reason: Option<&'a str>,
    /// The sentence to that, with the causes; cut at [`MAX_DETAIL_BYTES`].
    pub detail: Option<&'a str>,
    /// What a policy in mode `Audit` would have refused, as `filter:reason`.
    pub would_refuse: &'a [String],
    /// What a policy in mode `Audit` that refuses nothing would have done, as `filter:reason`.
    pub would_act: &'a [String],
    /// The upstream that was asked.
    pub upstream: Option<&'a str>,
    /// Its endpoint of the last attempt.
    pub endpoint: Option<std::net::SocketAddr>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Events that were accepted.
    pub events: u32,
    /// Why some of them are dead letters, or were left out.
    pub entries_refused: &'a [Reason],
    /// Bytes of the answer's body that were sent.
    pub bytes_sent: u64,
    /// From the head's arrival to the body's end.
    pub duration_us: u64,
    /// Of that, from the first attempt to the head of the upstream's answer.
    pub upstream_us: Option<u64>,
    /// The answer's body was not sent to its end.
    pub aborted: bool,
}

impl Line<'_> {
    /// The line as JSON, member by member: a general serializer looks for escapes byte by byte, which was an
    /// eighth of a plain request's instructions.
    fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let mut members = Members { out, before: b'{' };
        members.text("time", &self.time)?;
        members.text("request_id", self.request_id)?;
        members.some("trace_id", self.trace_id)?;
        members.some("tenant", self.tenant)?;
        members.some("object", self.object)?;
        members.some("rule", self.rule)?;
        members.text("method", self.method)?;
        members.text("host", self.host)?;
        members.text("path", self.path)?;
        members.some("query", Some(self.query).filter(|query| !query.is_empty()))?;
        members.text("protocol", self.protocol)?;
        match self.address {
            Some(address) => write!(members.name("address"), "\"{address}\"")?,
            None => write!(members.name("address"), "null")?,
        }
        members.some("caller", self.caller)?;
        members.some("authentication", self.authentication)?;
        members.number("status", self.status.into())?;
        members.some("reason", self.reason)?;
        members.some("detail", self.detail.map(shortened))?;
        if !self.would_refuse.is_empty() {
            serde_json::to_writer(members.name("would_refuse"), self.would_refuse)?;
        }
        if !self.would_act.is_empty() {
            serde_json::to_writer(members.name("would_act"), self.would_act)?;
        }
        members.some("upstream", self.upstream)?;
        if let Some(endpoint) = self.endpoint {
            write!(members.name("endpoint"), "\"{endpoint}\"")?;
        }
        for (name, count) in [("attempts", self.attempts), ("events", self.events)] {
            if count > 0 {
                members.number(name, count.into())?;
            }
        }
        if !self.entries_refused.is_empty() {
            let words: Vec<&str> = self.entries_refused.iter().map(|reason| reason.word()).collect();
            serde_json::to_writer(members.name("entries_refused"), &words)?;
        }
        members.number("bytes_sent", self.bytes_sent)?;
        members.number("duration_us", self.duration_us)?;
        if let Some(upstream_us) = self.upstream_us {
            members.number("upstream_us", upstream_us)?;
        }
        if self.aborted {
            members.name("aborted").extend_from_slice(b"true");
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn shortened(detail: &str) -> &str {
    detail.get(..detail.floor_char_boundary(MAX_DETAIL_BYTES)).unwrap_or_default()
}

/// The members of a JSON object as they are written.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    before: u8,
}

impl Members<'_> {
    /// The next member's name; its value comes behind it.
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.out.extend_from_slice(&[self.before, b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.before = b',';
        self.out
    }

    fn text(&mut self, name: &'static str, text: &str) -> std::io::Result<()> {
        let out = self.name(name);
        // Hardly any text needs an escape; all bytes are looked at, so that it takes no branch for each.
        let escapes = text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
        if escapes {
            return Ok(serde_json::to_writer(out, text)?);
        }
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        Ok(())
    }

    fn some(&mut self, name: &'static str, text: Option<&str>) -> std::io::Result<()> {
        text.map_or(Ok(()), |text| self.text(name, text))
    }

    fn number(&mut self, name: &'static str, number: u64) -> std::io::Result<()> {
        Ok(serde_json::to_writer(self.name(name), &number)?)
    }
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
            let before = collected.bytes.len();
            if line.write(&mut collected.bytes).is_err() {
                collected.bytes.truncate(before);
                return;
            }
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

/// The names in a query, values left out: `token=abc&page=2` becomes `token&page`. Text without `=` is left out too: it
/// may be a secret by itself. Bounded.
#[must_use]
pub fn query_names(query: &str) -> String {
    const MAX_BYTES: usize = 256;
    let mut names = String::new();
    for (name, _) in query.split('&').filter_map(|pair| pair.split_once('=')) {
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

    fn written(line: &Line<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        line.write(&mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_says_all_that_is_known_and_nothing_else() {
        let would_refuse = ["rate_limit:rate_limited".to_owned()];
        let would_act = ["fallback:upstream_failed".to_owned()];
        let full = Line {
            time: "2026-01-02T03:04:05.006Z".to_owned(),
            request_id: "r",
            trace_id: Some("t"),
            tenant: Some("acme"),
            object: Some("Route acme/agents"),
            rule: Some("all"),
            method: "GET",
            host: "h",
            path: "/p",
            query: "a&b",
            protocol: "HTTP/1.1",
            address: Some([192, 0, 2, 1].into()),
            caller: Some("somebody"),
            authentication: Some("auth-service"),
            status: 429,
            reason: Some("rate_limited"),
            detail: Some("the limit is spent"),
            would_refuse: &would_refuse,
            would_act: &would_act,
            upstream: Some("acme/agents:80"),
            endpoint: Some(([192, 0, 2, 2], 80).into()),
            attempts: 2,
            events: 3,
            entries_refused: &[Reason::Unclaimed],
            bytes_sent: u64::MAX,
            duration_us: 5,
            upstream_us: Some(4),
            aborted: true,
        };
        let expected = serde_json::json!({
            "time": "2026-01-02T03:04:05.006Z", "request_id": "r", "trace_id": "t", "tenant": "acme",
            "object": "Route acme/agents", "rule": "all", "method": "GET", "host": "h", "path": "/p", "query": "a&b",
            "protocol": "HTTP/1.1", "address": "192.0.2.1", "caller": "somebody", "authentication": "auth-service",
            "status": 429, "reason": "rate_limited", "detail": "the limit is spent",
            "would_refuse": ["rate_limit:rate_limited"], "would_act": ["fallback:upstream_failed"],
            "upstream": "acme/agents:80", "endpoint": "192.0.2.2:80", "attempts": 2, "events": 3,
            "entries_refused": ["unclaimed"], "bytes_sent": u64::MAX, "duration_us": 5, "upstream_us": 4, "aborted": true,
        });
        assert_eq!(written(&full), expected);
        let known_at_once = serde_json::json!({
            "time": "", "request_id": "", "method": "", "host": "", "path": "", "protocol": "",
            "address": null, "status": 0, "bytes_sent": 0, "duration_us": 0,
        });
        assert_eq!(written(&Line::default()), known_at_once);
    }

    #[test]
    fn query_values_are_left_out() {
        assert_eq!(query_names("token=abc&page=2&flag"), "token&page");
        assert_eq!(query_names("eyJhbGciOiJIUzI1NiJ9"), "");
        assert!(query_names(&"a=b&".repeat(1000)).len() < 300);
    }
}
