//! Steady API calls, each of whose answers is looked at.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, get};

/// Callers at once: every other one keeps its connection, as a pool does.
const CALLERS: usize = 8;
/// Between two calls of one of them.
const PACE: Duration = Duration::from_millis(20);
/// Failures that are told whole.
const TOLD: usize = 20;

/// What came of the calls.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Answered as they should be.
    pub answered: usize,
    /// Answered by another connection because the kept one had been closed meanwhile, which HTTP allows.
    pub reconnected: usize,
    /// When each of the others was made, and what came instead.
    pub failed: Vec<(Duration, String)>,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered {}, reconnected {}, failed {}", self.answered, self.reconnected, self.failed.len())?;
        for (at, what) in self.failed.iter().take(TOLD) {
            write!(f, "\n  {at:.1?}: {what}")?;
        }
        Ok(())
    }
}

/// Calls that go on until they are counted.
pub struct Load {
    stop: std::sync::Arc<AtomicBool>,
    callers: Vec<JoinHandle<Counted>>,
}

impl Load {
    /// Begins to call a path of a host; every answer must be 200 with the request line as its body.
    #[must_use]
    pub fn start(address: SocketAddr, host: &str, path: &str) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let callers = (0..CALLERS)
            .map(|caller| {
                let (stop, host, path) = (stop.clone(), host.to_owned(), format!("{path}?caller={caller}"));
                std::thread::spawn(move || call(address, &host, &path, caller % 2 == 0, &stop))
            })
            .collect();
        Self { stop, callers }
    }

    /// Ends it; what came of it.
    #[must_use]
    pub fn counted(self) -> Counted {
        self.stop.store(true, Ordering::Release);
        let mut all = Counted::default();
        for caller in self.callers {
            match caller.join() {
                Ok(one) => {
                    all.answered += one.answered;
                    all.reconnected += one.reconnected;
                    all.failed.extend(one.failed);
                }
                Err(_) => all.failed.push((Duration::ZERO, "a caller panicked".to_owned())),
            }
        }
        all.failed.sort();
        all
    }
}

fn call(address: SocketAddr, host: &str, path: &str, keeps: bool, stop: &AtomicBool) -> Counted {
    let (mut counted, mut kept) = (Counted::default(), None);
    let (begin, request, wanted) = (Instant::now(), get(host, path), format!("GET {path}"));
    while !stop.load(Ordering::Acquire) {
        let (at, before) = (begin.elapsed(), kept.take());
        let fresh = || -> io::Result<(Answer, Client)> {
            let mut client = Client::connect(address)?;
            Ok((request.send_on(&mut client)?, client))
        };
        let answer = match before {
            Some(client) => match again(client, &request) {
                Err(error) if was_closed(&error) => {
                    counted.reconnected += 1;
                    fresh()
                }
                answer => answer,
            },
            None => fresh(),
        };
        match answer {
            Ok((answer, client)) if answer.status == 200 && answer.text().starts_with(&wanted) => {
                counted.answered += 1;
                let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                kept = (keeps && !closes).then_some(client);
            }
            Ok((answer, _)) => counted.failed.push((at, format!("{} {}", answer.status, answer.text()))),
            Err(error) => counted.failed.push((at, error.to_string())),
        }
        sleep(PACE);
    }
    counted
}

/// As an idle connection that the other side ended looks to who sends on it.
fn was_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn again(mut client: Client, request: &crate::client::Request) -> io::Result<(Answer, Client)> {
    Ok((request.send_on(&mut client)?, client))
}
