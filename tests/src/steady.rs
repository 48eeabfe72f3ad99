//! Events at a steady rate, whatever the answers take: what is late is sent at once, and counts from when it was due.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::traffic::{Acknowledged, Sent, notice};

/// Connections, each with a conversation of its own at a time.
const SENDERS: u32 = 32;
/// Conversations of one sender.
const CONVERSATIONS: u64 = 32;
/// The pause before what was refused is sent again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long what is refused is sent again when nothing new is.
const PATIENCE: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When its event was due.
    pub due: Instant,
    /// From then to the answer.
    pub took: Duration,
    /// Why it was not accepted, and is sent again; nothing when it was.
    pub refused: Option<String>,
}

/// What was sent and answered.
#[derive(Debug, Default)]
pub struct Steady {
    run: u32,
    answers: Mutex<Vec<Answered>>,
    acknowledged: Mutex<Acknowledged>,
}

impl Steady {
    /// With conversations that no other run on the same installation has.
    #[must_use]
    pub fn run(run: u32) -> Self {
        Self { run, ..Self::default() }
    }

    /// Sends at so many events a second to the gateways in turn until this says to stop.
    pub fn send(&self, gateways: &[SocketAddr], rate: u32, stop: &(dyn Fn() -> bool + Sync)) {
        let pace = Duration::from_secs(1) * SENDERS / rate.max(1);
        std::thread::scope(|scope| {
            for (number, gateway) in (0..SENDERS).zip(gateways.iter().cycle()) {
                let begin = Instant::now() + pace * number / SENDERS;
                scope.spawn(move || self.sender(number, *gateway, (begin, pace), stop));
            }
        });
    }

    fn sender(
        &self,
        number: u32,
        gateway: SocketAddr,
        (begin, pace): (Instant, Duration),
        stop: &(dyn Fn() -> bool + Sync),
    ) {
        let (mut due, mut client) = (begin, None);
        for next in 0_u64.. {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop() {
                break;
            }
            let conversation = format!("49{}{number:02}{:02}", self.run, next % CONVERSATIONS);
            let id = format!("wamid.{conversation}.{next}");
            let request = notice(&conversation, &id);
            let first = Instant::now();
            loop {
                let answer = match &mut client {
                    Some(client) => request.send_on(client),
                    None => Client::connect(gateway).and_then(|new| request.send_on(client.insert(new))),
                };
                let refused = match answer {
                    Ok(answer) if answer.status == 200 => None,
                    Ok(answer) => Some(format!("{} {}", answer.status, answer.reason())),
                    Err(error) => Some(error.to_string()),
                };
                let accepted = refused.is_none();
                let answered = Answered { due, took: due.elapsed(), refused };
                self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
                if accepted {
                    break;
                }
                if stop() && due.elapsed() > PATIENCE {
                    return;
                }
                client = None;
                std::thread::sleep(PAUSE);
            }
            let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.entry(conversation).or_default().push(Sent { id, first, acknowledged: Instant::now() });
            due += pace;
        }
    }

    /// Every answer so far.
    #[must_use]
    pub fn answers(&self) -> Vec<Answered> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What got its 2xx, in order, by conversation.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
