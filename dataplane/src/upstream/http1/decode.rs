//! Decodes response bodies from a buffer; and whole answers, for tests and fuzzing.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use super::chunked::{Chunked, take_up_to};
use super::error::Malformed;
use super::exchange::MAX_INTERIM;
use super::framing::{Framing, frame};
use super::head::{HeadScan, ResponseHead, take_head};

/// The next piece of a body.
#[derive(Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More bytes are needed.
    More,
}

/// The place in a response body.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(n) => Self::Length(n),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(crate) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Malformed> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Length(_) | Self::UntilClose if buffer.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let data = take_up_to(buffer, *left);
                *left -= data.len() as u64;
                Ok(Step::Data(data))
            }
            Self::Chunked(chunked) => chunked.step(buffer),
            Self::UntilClose => Ok(Step::Data(buffer.split().freeze())),
        }
    }

    /// Whether all of the body was taken.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_end(),
            Self::UntilClose => false,
        }
    }

    /// Whether a body may end with the connection here.
    pub(crate) fn may_close(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_end(),
            Self::UntilClose => true,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head, after interim ones.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: HeaderMap,
}

/// An answer that comes in pieces.
struct Incoming<'a> {
    buffer: BytesMut,
    to_come: &'a [u8],
    piece: usize,
}

impl Incoming<'_> {
    /// Takes in another piece; no when the upstream has closed.
    fn fill(&mut self) -> bool {
        let length = self.piece.max(1).min(self.to_come.len());
        let (piece, to_come) = self.to_come.split_at(length);
        self.buffer.extend_from_slice(piece);
        self.to_come = to_come;
        !piece.is_empty()
    }

    fn final_head(&mut self) -> Result<ResponseHead, Malformed> {
        let mut scan = HeadScan::default();
        let mut interim = 0;
        loop {
            let Some(head) = take_head(&mut scan, &mut self.buffer)? else {
                if self.fill() {
                    continue;
                }
                return Err(Malformed::EarlyEnd);
            };
            match head.status.as_u16() {
                101 => return Err(Malformed::UnaskedUpgrade),
                100..200 if interim == MAX_INTERIM => return Err(Malformed::TooManyInterim),
                100..200 => interim += 1,
                _ => return Ok(head),
            }
        }
    }
}

/// Reads all that an upstream sent before it closed the connection, as the exchange would, when it comes so
/// many bytes at a time.
///
/// # Errors
/// The rule that the answer breaks.
pub fn decode_answer(method: &Method, bytes: &[u8], piece: usize) -> Result<Answer, Malformed> {
    let mut incoming = Incoming { buffer: BytesMut::new(), to_come: bytes, piece };
    let head = incoming.final_head()?;
    let mut decoder = Decoder::new(frame(&head, method)?.framing);
    let mut body = Vec::new();
    let mut trailers = HeaderMap::new();
    loop {
        match decoder.step(&mut incoming.buffer)? {
            Step::Data(data) => body.extend_from_slice(&data),
            Step::Trailers(fields) => trailers = fields,
            Step::End => break,
            Step::More if incoming.fill() => {}
            Step::More if decoder.may_close() => break,
            Step::More => return Err(Malformed::EarlyEnd),
        }
    }
    Ok(Answer { head, body, trailers })
}
