//! Follows chunked bytes as they pass, and stops where two parties could read them in two ways.

/// Bytes of one size line, extensions included.
const MAX_LINE_BYTES: u32 = 256;
/// Bytes of a trailer section.
const MAX_TRAILER_BYTES: u32 = 8 * 1024;
/// Hexadecimal digits of a chunk's size: 2^60 bytes, more than any limit allows.
const MAX_DIGITS: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        digits: u32,
        value: u64,
    },
    /// The name of a chunk extension, or its value, which may be in quotes (RFC 9112, 7.1.1).
    ExtensionName {
        any: bool,
    },
    ExtensionValue {
        any: bool,
    },
    Quoted {
        escaped: bool,
    },
    QuotedEnd,
    SizeEnd,
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
    /// Two parties could read the bytes in two ways: nothing more is read.
    Bad(&'static str),
}

/// Where in the chunked bytes of one body the reader is.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    at: At,
    size: u64,
    /// Bytes of the current line, or of the trailers.
    spent: u32,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { at: At::Size { digits: 0, value: 0 }, size: 0, spent: 0 }
    }
}

impl Chunks {
    /// Follows `bytes`; how many of them belong to this body. Fewer than all: the body has ended there, or is bad.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            if let At::Data(left) = self.at {
                let here = u64::try_from(bytes.len() - used).unwrap_or(u64::MAX).min(left);
                used += usize::try_from(here).unwrap_or(usize::MAX);
                self.at = if here == left { At::DataCr } else { At::Data(left - here) };
                continue;
            }
            if self.at == At::Done {
                break;
            }
            self.at = self.step(byte).unwrap_or_else(At::Bad);
            if self.error().is_some() {
                break;
            }
            used += 1;
        }
        used
    }

    /// Returns the fault of the bytes, if they have one.
    #[must_use]
    pub(crate) fn error(&self) -> Option<&'static str> {
        if let At::Bad(why) = self.at { Some(why) } else { None }
    }

    /// Whether the body has ended.
    #[must_use]
    pub(crate) fn done(&self) -> bool {
        self.at == At::Done
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        match self.at {
            At::Size { digits, value } => self.size_digit(byte, digits, value),
            At::ExtensionName { .. } | At::ExtensionValue { .. } | At::Quoted { .. } | At::QuotedEnd => {
                let next = self.extension(byte)?;
                self.spend(MAX_LINE_BYTES, "a chunk's extensions are too long", next)
            }
            At::SizeEnd if byte == b'\n' => {
                self.spent = 0;
                Ok(if self.size == 0 { At::TrailerStart } else { At::Data(self.size) })
            }
            At::DataCr if byte == b'\r' => Ok(At::DataLf),
            At::DataLf if byte == b'\n' => Ok(At::Size { digits: 0, value: 0 }),
            At::TrailerStart if byte == b'\r' => Ok(At::LastLf),
            At::TrailerStart | At::Trailer => match byte {
                b'\r' if self.at == At::Trailer => Ok(At::TrailerLf),
                b' ' | b'\t' if self.at == At::TrailerStart => Err("a trailer line starts with a space"),
                b'\n' | b'\r' | 0 => Err("a trailer line ends with a bare CR or LF"),
                _ => self.spend(MAX_TRAILER_BYTES, "the trailers are too long", At::Trailer),
            },
            At::TrailerLf if byte == b'\n' => Ok(At::TrailerStart),
            At::LastLf if byte == b'\n' => Ok(At::Done),
            At::SizeEnd | At::DataCr | At::DataLf | At::TrailerLf | At::LastLf => {
                Err("a chunk does not end with CR LF where its size says")
            }
            At::Data(_) | At::Done | At::Bad(_) => Ok(self.at),
        }
    }

    fn size_digit(&mut self, byte: u8, digits: u32, value: u64) -> Result<At, &'static str> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == MAX_DIGITS {
                return Err("a chunk's size is too large");
            }
            return Ok(At::Size { digits: digits + 1, value: value * 16 + u64::from(digit) });
        }
        self.size = value;
        match byte {
            _ if digits == 0 => Err("a chunk's size must be a hexadecimal number"),
            b'\r' => Ok(At::SizeEnd),
            b';' => Ok(At::ExtensionName { any: false }),
            _ => Err("a chunk's size must end with CR LF or a semicolon"),
        }
    }

    /// One byte of `;name`, `;name=value` or `;name="value"`, without the spaces that recipients may read either way.
    fn extension(&self, byte: u8) -> Result<At, &'static str> {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match (self.at, byte) {
            (At::ExtensionName { .. }, _) if token => Ok(At::ExtensionName { any: true }),
            (At::ExtensionName { any: true }, b'=') => Ok(At::ExtensionValue { any: false }),
            (At::ExtensionValue { any: false }, b'"') => Ok(At::Quoted { escaped: false }),
            (At::ExtensionValue { .. }, _) if token => Ok(At::ExtensionValue { any: true }),
            (At::Quoted { escaped: false }, b'\\') => Ok(At::Quoted { escaped: true }),
            (At::Quoted { escaped: false }, b'"') => Ok(At::QuotedEnd),
            (At::Quoted { .. }, b'\t' | b' '..=b'~') => Ok(At::Quoted { escaped: false }),
            (At::ExtensionName { any: true } | At::ExtensionValue { any: true } | At::QuotedEnd, b';') => {
                Ok(At::ExtensionName { any: false })
            }
            (At::ExtensionName { any: true } | At::ExtensionValue { any: true } | At::QuotedEnd, b'\r') => {
                Ok(At::SizeEnd)
            }
            _ => Err("a chunk's extension must be ;name, ;name=value or ;name=\"value\""),
        }
    }

    fn spend(&mut self, most: u32, error: &'static str, next: At) -> Result<At, &'static str> {
        self.spent += 1;
        if self.spent > most { Err(error) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn follow(text: &str) -> Result<(usize, bool), &'static str> {
        let mut chunks = Chunks::default();
        let used = chunks.follow(text.as_bytes());
        chunks.error().map_or(Ok((used, chunks.done())), Err)
    }

    #[test]
    fn a_body_ends_where_it_says() {
        assert_eq!(follow("3\r\nabc\r\n0\r\n\r\nGET /"), Ok((13, true)));
        assert_eq!(follow("3;name=value\r\nabc\r\n0\r\nX: y\r\n\r\n"), Ok((30, true)));
        assert_eq!(follow("A\r\n01234567"), Ok((11, false)));
        for extension in ["a", "a=b", "a=\"b; \\\" c\"", "a;b=c;d=\"\""] {
            let text = format!("3;{extension}\r\nabc\r\n0\r\n\r\n");
            assert_eq!(follow(&text), Ok((text.len(), true)), "{extension}");
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        for text in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n",
            "-3\r\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "\r\n",
            "3;a\nb\r\nabc\r\n",
            "3;\u{0}\r\nabc\r\n",
            "3;\r\nabc\r\n",
            "3;;a\r\nabc\r\n",
            "3;=b\r\nabc\r\n",
            "3;a=\r\nabc\r\n",
            "3;a=\"b\r\nabc\r\n",
            "3;a=\"b\"c\r\nabc\r\n",
            "3; a\r\nabc\r\n",
            "3;a b\r\nabc\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\n X: y\r\n\r\n",
        ] {
            assert!(follow(text).is_err(), "{text:?}");
        }
        assert!(follow(&format!("3;{}\r\n", "a".repeat(300))).is_err());
    }

    proptest! {
        #[test]
        fn the_verdict_is_the_same_however_the_bytes_are_split(
            sizes in prop::collection::vec(1_usize..20, 0..5), cuts in prop::collection::vec(1_usize..7, 1..80),
            tail in "[ -~]{0,9}", damage in prop::option::of((0_usize..60, any::<u8>())),
        ) {
            let mut bytes: Vec<u8> = sizes.iter()
                .flat_map(|size| format!("{size:x}\r\n{}\r\n", "x".repeat(*size)).into_bytes()).collect();
            bytes.extend_from_slice(b"0\r\n\r\n");
            bytes.extend_from_slice(tail.as_bytes());
            if let Some((at, byte)) = damage && let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let mut whole = Chunks::default();
            let at_once = whole.follow(&bytes);
            let (mut parts, mut in_parts, mut cuts) = (Chunks::default(), 0, cuts.iter().cycle());
            loop {
                let end = bytes.len().min(in_parts + cuts.next().unwrap());
                let count = parts.follow(&bytes[in_parts..end]);
                in_parts += count;
                if in_parts < end || end == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!((parts.error(), parts.done()), (whole.error(), whole.done()));
            prop_assert_eq!(at_once, in_parts);
        }
    }
}
