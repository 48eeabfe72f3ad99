//! The body of a request, under its limit, its clocks and the budget of the process.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use policy::refusal::{Extra, Reason, Refusal};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::HttpLimits;
use super::memory::{Account, CHARGED_WHOLE, Charge, NoRoom};

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It is larger than the rule takes.
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    /// It ended early, or its framing is malformed.
    #[error("the body ended early")]
    Incomplete(#[from] hyper::Error),
    /// It made no progress, arrived below the minimum rate, or not within its time.
    #[error("the body arrived too slowly")]
    TooSlow,
    /// The process holds as many bytes of bodies as it may.
    #[error("there is no memory for the body")]
    NoRoom(#[from] NoRoom),
}

impl RequestBodyError {
    /// The answer to it.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge(limit) => Refusal::new(
                Reason::BodyTooLarge,
                format!("the body has more than the {limit} bytes that are taken here"),
            ),
            Self::Incomplete(cause) => match bad_chunk(cause) {
                Some(why) => Refusal::new(Reason::MalformedRequest, format!("the body is malformed: {why}")),
                None => Refusal::new(Reason::BodyIncomplete, "the body did not arrive to its end, or too slowly"),
            },
            Self::TooSlow => Refusal::new(Reason::RequestTimeout, "the body arrived too slowly; send it faster"),
            Self::NoRoom(NoRoom { retry_after }) => {
                let detail = "the gateway holds as many bytes of request bodies as it may; send it again later";
                Refusal::new(Reason::Overloaded, detail).with(Extra::RetryAfter(*retry_after))
            }
        }
    }
}

/// Returns the fault of a chunk, if it ended the body.
fn bad_chunk(error: &hyper::Error) -> Option<String> {
    let cause = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    (cause.kind() == std::io::ErrorKind::InvalidData).then(|| cause.to_string())
}

/// Ends the wait for a body.
type Alarm = Option<Pin<Box<Sleep>>>;

fn poll_alarm(alarm: &mut Alarm, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
    let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
    if alarm.deadline() != until {
        alarm.as_mut().reset(until);
    }
    alarm.as_mut().poll(cx)
}

/// How fast a body that is collected must arrive.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second, once the grace is over.
    pub bytes_per_second: u64,
    /// From the first wait on, how long nothing is asked.
    pub grace: Duration,
    /// When all of it must be there.
    pub deadline: Instant,
}

impl Pace {
    /// The pace by the limits of a listener, from now on; the deadline is brought forward to `until`.
    #[must_use]
    pub fn new(limits: &HttpLimits, until: Option<Instant>) -> Self {
        let deadline = Instant::now() + limits.body_timeout;
        let deadline = until.map_or(deadline, |until| deadline.min(until));
        Self { bytes_per_second: limits.body_bytes_per_second.max(1), grace: limits.body_grace, deadline }
    }

    /// When a body of which so much has come is too slow.
    fn until(&self, began: Instant, read: u64) -> Instant {
        let earned = Duration::from_millis(read.saturating_mul(1000) / self.bytes_per_second);
        (began + self.grace + earned).min(self.deadline)
    }
}

/// Bytes as they come from the caller; never more than the limit.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    limit: u64,
    read: u64,
    /// For how long nothing may come; without it the body has no clock of its own.
    stall_timeout: Option<Duration>,
    /// Since when the next bytes are waited for.
    waiting_since: Option<Instant>,
    alarm: Alarm,
    account: Option<Box<Account>>,
    charge: Option<Charge>,
    /// Charged as they arrive, because all of them are held.
    collects: bool,
    /// Bytes that came and for which there is no room yet.
    held: Option<Bytes>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self {
            incoming,
            limit: u64::MAX,
            read: 0,
            stall_timeout: None,
            waiting_since: None,
            alarm: None,
            account: None,
            charge: None,
            collects: false,
            held: None,
        }
    }

    /// Sets the limit. A length that was announced is held against it before a byte is read.
    ///
    /// # Errors
    /// [`RequestBodyError::TooLarge`]
    pub fn limit(&mut self, bytes: u64) -> Result<(), RequestBodyError> {
        self.limit = bytes;
        if self.incoming.size_hint().lower() > bytes { Err(RequestBodyError::TooLarge(bytes)) } else { Ok(()) }
    }

    /// Names who pays for the bytes, and for how long none may come. Costs nothing for a request without a body.
    pub fn account(&mut self, stall_timeout: Duration, account: impl FnOnce() -> Account) {
        if !self.incoming.is_end_stream() {
            self.account = Some(Box::new(account()));
            self.stall_timeout = Some(stall_timeout);
        }
    }

    /// Returns the account that a copy of the bytes is charged to.
    #[must_use]
    pub fn payer(&self) -> Option<Account> {
        self.account.as_deref().cloned()
    }

    /// Takes the charge of the bytes, for their next holder.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    /// Marks the sender as known.
    pub fn authenticated(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.authenticated();
        }
    }

    /// Reads to the end, at a pace. A body that comes in one piece is not copied.
    ///
    /// # Errors
    /// [`RequestBodyError`]
    pub async fn collect(&mut self, pace: &Pace) -> Result<Bytes, RequestBodyError> {
        let (mut began, mut alarm) = (None, None);
        let (mut first, mut more) = (None::<Bytes>, BytesMut::new());
        self.collects = true;

        while let Some(frame) = std::future::poll_fn(|cx| self.poll_paced(cx, pace, &mut began, &mut alarm)).await {
            let Ok(data) = frame?.into_data() else { continue };
            match first.take() {
                None if more.is_empty() => first = Some(data),
                None => more.extend_from_slice(&data),
                Some(before) => {
                    let announced = usize::try_from(self.incoming.size_hint().lower()).unwrap_or_default();
                    more.reserve(before.len() + data.len() + announced.min(1024 * 1024));
                    more.extend_from_slice(&before);
                    more.extend_from_slice(&data);
                }
            }
        }

        if self.collects {
            self.account_paid();
        }
        Ok(first.unwrap_or_else(|| more.freeze()))
    }

    /// The next frame, or the error when it is too late for it.
    fn poll_paced(
        &mut self,
        cx: &mut Context<'_>,
        pace: &Pace,
        began: &mut Option<Instant>,
        alarm: &mut Alarm,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut *self).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.held.is_some() {
            *began = None;
            // The gateway makes the caller wait: only the deadline counts, and the pace begins anew afterwards.
            ready!(poll_alarm(alarm, cx, pace.deadline));
            let no_room = NoRoom { retry_after: Duration::from_secs(5) };
            return Poll::Ready(Some(Err(no_room.into())));
        }
        let began = *began.get_or_insert_with(Instant::now);
        ready!(poll_alarm(alarm, cx, pace.until(began, self.read)));
        Poll::Ready(Some(Err(RequestBodyError::TooSlow)))
    }

    /// Waits for more bytes no longer than the stall timeout.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(timeout) = self.stall_timeout else { return Poll::Pending };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        poll_alarm(&mut self.alarm, cx, since + timeout)
    }

    /// Charges bytes that came. A body that passes holds one piece at a time, and is charged once.
    fn poll_charge(&mut self, cx: &mut Context<'_>, bytes: u64) -> Poll<Result<(), RequestBodyError>> {
        let Some(account) = &self.account else { return Poll::Ready(Ok(())) };
        match &mut self.charge {
            None => {
                let rest = self.incoming.size_hint();
                let whole = rest.upper().map(|rest| rest.saturating_add(bytes)).filter(|whole| *whole <= CHARGED_WHOLE);
                let first = match (whole, self.collects) {
                    (Some(whole), _) => whole,
                    (None, true) => bytes,
                    (None, false) => CHARGED_WHOLE,
                };
                self.charge = Some(account.begin(first)?);
                if whole.is_some() || !self.collects {
                    // Paid to its end.
                    self.account_paid();
                }
                Poll::Ready(Ok(()))
            }
            Some(charge) if self.collects => charge.poll_grow(cx, bytes).map(Ok),
            Some(_) => Poll::Ready(Ok(())),
        }
    }

    fn account_paid(&mut self) {
        self.collects = false;
        if let Some(charge) = &mut self.charge {
            charge.complete();
        }
    }

    /// Bytes that came, once there is room for them.
    fn poll_room(&mut self, cx: &mut Context<'_>, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        match self.poll_charge(cx, data.len() as u64) {
            Poll::Ready(Ok(())) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
            Poll::Pending => {
                self.held = Some(data);
                Poll::Pending
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        if let Some(data) = self.held.take() {
            return self.poll_room(cx, data);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                ready!(self.poll_stalled(cx));
                return Poll::Ready(Some(Err(RequestBodyError::TooSlow)));
            };
            self.waiting_since = None;
            let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
            // Trailers of a request end here: nothing behind the gateway expects them, and some would merge them.
            let Ok(data) = frame.into_data() else { continue };
            self.read += data.len() as u64;
            if self.read > self.limit {
                return Poll::Ready(Some(Err(RequestBodyError::TooLarge(self.limit))));
            }
            return self.poll_room(cx, data);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
