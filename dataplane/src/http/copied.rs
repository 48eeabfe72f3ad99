//! A request body that is copied while it passes, so that it can still be had when forwarding it failed.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::body::RequestBody;
use super::memory::{Account, Charge};

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCopied {
    /// It is larger than what is copied.
    TooLarge,
    /// It did not arrive to its end.
    Incomplete,
    /// The process holds as many bytes of bodies as it may.
    NoRoom,
}

struct Shared<B: Body> {
    body: B,
    most: u64,
    /// The account that the copy is charged to.
    account: Option<Account>,
    charge: Option<Charge>,
    /// From the first byte on; given up when it is too large.
    copy: BytesMut,
    /// How much of the copy has passed.
    passed: usize,
    not_copied: Option<NotCopied>,
    /// Met while it was read ahead; still to be passed.
    failed: Option<B::Error>,
}

/// The body as it passes: each byte once, whoever read it first.
pub struct Passing<B: Body = RequestBody>(Rc<RefCell<Shared<B>>>);

/// The copy.
pub struct Copied<B: Body = RequestBody>(Rc<RefCell<Shared<B>>>);

impl<B: Body> fmt::Debug for Passing<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").finish_non_exhaustive()
    }
}

impl<B: Body> fmt::Debug for Copied<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copied").finish_non_exhaustive()
    }
}

/// Copies a body of at most so many bytes while it passes. One that announces more is not copied at all.
pub fn copied<B: Body>(body: B, most: u64, account: Option<Account>) -> (Passing<B>, Copied<B>) {
    let not_copied = (body.size_hint().lower() > most).then_some(NotCopied::TooLarge);
    let shared =
        Shared { body, most, account, charge: None, copy: BytesMut::new(), passed: 0, not_copied, failed: None };
    let shared = Rc::new(RefCell::new(shared));
    (Passing(shared.clone()), Copied(shared))
}

impl<B: Body<Data = Bytes> + Unpin> Shared<B> {
    /// The next bytes of the body; they are in the copy, unless there is none.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => None,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.keep(&data);
                        Some(Ok(data))
                    }
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    self.not_copied = self.not_copied.or(Some(NotCopied::Incomplete));
                    Some(Err(error))
                }
            });
        }
    }

    fn keep(&mut self, data: &Bytes) {
        if self.not_copied.is_none() && !self.pay(data.len() as u64) {
            self.not_copied = Some(NotCopied::NoRoom);
        }
        if self.not_copied.is_none() {
            self.copy.extend_from_slice(data);
        }
        if self.copy.len() as u64 > self.most {
            self.not_copied = Some(NotCopied::TooLarge);
        }
    }

    /// Charges the copy for more bytes. Whether there was room.
    fn pay(&mut self, bytes: u64) -> bool {
        match (&mut self.charge, &self.account) {
            (Some(charge), _) => charge.grow(bytes),
            (None, Some(account)) => {
                self.charge = account.begin(bytes).ok();
                self.charge.is_some()
            }
            (None, None) => true,
        }
    }

    /// What of the copy has not passed yet.
    fn left(&self) -> u64 {
        (self.copy.len() - self.passed) as u64
    }
}

impl<B: Body<Data = Bytes> + Unpin> Copied<B> {
    /// Reads what has not passed, and gives the whole with what it is charged to.
    ///
    /// # Errors
    /// [`NotCopied`]; what passes is whole nevertheless.
    pub async fn whole(self) -> Result<(Bytes, Option<Charge>), NotCopied> {
        loop {
            if let Some(why) = self.0.borrow().not_copied {
                return Err(why);
            }
            match std::future::poll_fn(|cx| self.0.borrow_mut().poll_next(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => self.0.borrow_mut().failed = Some(error),
                None => break,
            }
        }
        Ok(match Rc::try_unwrap(self.0) {
            Ok(shared) => {
                let Shared { copy, charge, .. } = shared.into_inner();
                (copy.freeze(), charge)
            }
            Err(passes_still) => {
                let mut shared = passes_still.borrow_mut();
                (Bytes::copy_from_slice(&shared.copy), shared.charge.take())
            }
        })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Passing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut shared = self.0.borrow_mut();
        let shared = &mut *shared;
        if shared.left() > 0 {
            let data = shared.copy.get(shared.passed..).map(Bytes::copy_from_slice).unwrap_or_default();
            shared.passed = shared.copy.len();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(error) = shared.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let next = ready!(shared.poll_next(cx));
        shared.passed = shared.copy.len();
        if shared.not_copied.is_some() {
            shared.charge = None;
            shared.copy = BytesMut::new();
            shared.passed = 0;
        }
        Poll::Ready(next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.0.borrow();
        shared.left() == 0 && shared.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.0.borrow();
        let (left, ahead) = (shared.left(), shared.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(ahead.lower().saturating_add(left));
        if let Some(upper) = ahead.upper() {
            hint.set_upper(upper.saturating_add(left));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(parts: &[&'static str]) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin + use<> {
        let frames: Vec<_> = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
        http_body_util::StreamBody::new(futures_util::stream::iter(frames))
    }

    async fn next<B: Body<Data = Bytes> + Unpin>(passing: &mut Passing<B>) -> Option<Bytes> {
        passing.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok())
    }

    #[tokio::test]
    async fn the_copy_is_whole_however_much_has_passed() {
        for reads in 0..=3 {
            let (mut passing, copied) = copied(body(&["ab", "cd", "ef"]), 6, None);
            let mut passed = BytesMut::new();
            for _ in 0..reads {
                passed.extend_from_slice(&next(&mut passing).await.unwrap_or_default());
            }
            assert_eq!(copied.whole().await.unwrap().0, "abcdef", "{reads} reads");
            while let Some(data) = next(&mut passing).await {
                passed.extend_from_slice(&data);
            }
            assert_eq!(passed, "abcdef", "what was read ahead still passes, once, after {reads} reads");
        }
    }

    #[tokio::test]
    async fn what_is_too_large_passes_whole_and_is_not_held() {
        for ahead in [false, true] {
            let (mut passing, copied) = copied(body(&["ab", "cd", "ef"]), 3, None);
            let mut copied = Some(copied);
            if let Some(copied) = copied.take_if(|_| ahead) {
                assert_eq!(copied.whole().await.unwrap_err(), NotCopied::TooLarge);
            }
            let mut passed = BytesMut::new();
            while let Some(data) = next(&mut passing).await {
                passed.extend_from_slice(&data);
            }
            assert_eq!(passed, "abcdef");
            assert!(passing.0.borrow().copy.is_empty());
            if let Some(copied) = copied {
                assert_eq!(copied.whole().await.unwrap_err(), NotCopied::TooLarge);
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_arrive_is_not_whole() {
        let parts = [Ok(Frame::data(Bytes::from_static(b"ab"))), Err(std::io::Error::other("gone"))];
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(parts));
        let (mut passing, copied) = copied(body, 9, None);
        assert_eq!(copied.whole().await.unwrap_err(), NotCopied::Incomplete);
        assert_eq!(next(&mut passing).await, Some(Bytes::from_static(b"ab")));
        assert!(passing.frame().await.unwrap().is_err(), "what is cut off must not pass as an end");
    }
}
