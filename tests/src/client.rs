//! A client that says exactly what a test wrote, and reads exactly what came back.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

thread_local! {
    static PROTOCOL: Cell<Protocol> = const { Cell::new(Protocol::Http1) };
}

/// Runs a test over HTTP/1.1 and again over HTTP/2: [`Request::send`] of this thread uses the protocol.
pub fn both(test: impl Fn(Protocol)) {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        PROTOCOL.set(protocol);
        test(protocol);
    }
    PROTOCOL.set(Protocol::Http1);
}

/// How long a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header fields, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `reason` of a problem document.
    #[must_use]
    pub fn reason(&self) -> String {
        self.json().get("reason").and_then(|reason| reason.as_str()).unwrap_or_default().to_owned()
    }
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer. `head` says that it answers a HEAD request, which has no body.
    ///
    /// # Errors
    /// When the connection ends first, or what comes is no HTTP.
    pub fn answer(&mut self, head: bool) -> io::Result<Answer> {
        let mut answer = Answer::default();
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        answer.status = status.ok_or_else(|| invalid(&first))?;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if !head && answer.status != 204 && answer.status != 304 && answer.status >= 200 {
            self.body(&mut answer)?;
        }
        Ok(answer)
    }

    /// Whether the other side has closed the connection (waits for it to say anything).
    #[must_use]
    pub fn closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    /// Exactly so many bytes, whatever they are.
    ///
    /// # Errors
    /// When the connection ends first.
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn body(&mut self, answer: &mut Answer) -> io::Result<()> {
        if answer.header("transfer-encoding").is_some() {
            return self.chunks(answer);
        }
        match answer.header("content-length").map(str::parse::<u64>) {
            Some(Ok(length)) => (&mut self.stream).take(length).read_to_end(&mut answer.body).map(drop),
            Some(Err(_)) => Err(invalid("content-length")),
            None => self.stream.read_to_end(&mut answer.body).map(drop),
        }
    }

    fn chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = u64::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
            (&mut self.stream).take(size).read_to_end(&mut answer.body)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(());
            }
            self.line()?;
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}

/// A request to be, for a test that names only what it is about.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request for `http://host/target`.
#[must_use]
pub fn request(method: &str, host: &str, target: &str) -> Request {
    Request {
        method: method.to_owned(),
        host: host.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// A GET.
#[must_use]
pub fn get(host: &str, target: &str) -> Request {
    request("GET", host, target)
}

/// A POST.
#[must_use]
pub fn post(host: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..request("POST", host, target) }
}

impl Request {
    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { method, host, target, headers, body } = self;
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        bytes
    }

    /// Sends it on a connection of its own and reads the answer, over the protocol that [`both`] has set.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, address: SocketAddr) -> io::Result<Answer> {
        match PROTOCOL.get() {
            Protocol::Http1 => self.send_http1(address),
            Protocol::Http2 => crate::http2::exchange(address, self.http2()?),
        }
    }

    /// Sends it over HTTP/1.1, whatever the test's protocol.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send_http1(&self, address: SocketAddr) -> io::Result<Answer> {
        let mut client = Client::connect(address)?;
        self.send_on(&mut client)
    }

    /// The request as HTTP/2 sends it: the host is `:authority`.
    fn http2(&self) -> io::Result<http::Request<bytes::Bytes>> {
        let Self { method, host, target, headers, body } = self;
        let uri = format!("http://{host}{target}");
        let builder = http::Request::builder().method(method.as_str()).uri(uri).version(http::Version::HTTP_2);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        builder.body(bytes::Bytes::from(body.clone())).map_err(io::Error::other)
    }

    /// Sends it on a connection that is kept.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send_on(&self, client: &mut Client) -> io::Result<Answer> {
        client.send(&self.bytes())?;
        client.answer(self.method == "HEAD")
    }
}

/// Now, in seconds since the epoch: the time that an event of today carries.
#[must_use]
pub fn now_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
