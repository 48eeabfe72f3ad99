//! Durations and sizes as people write them. The text is kept, so that an object reads back as it was
//! written; the number was parsed once.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a duration must look like (Gateway API, with days).
pub const DURATION_PATTERN: &str = "^([0-9]{1,5}(d|h|m|s|ms)){1,4}$";
/// What a size must look like (a Kubernetes quantity without fraction or exponent).
pub const SIZE_PATTERN: &str = "^[0-9]{1,15}(Ki|Mi|Gi|Ti|k|M|G|T)?$";

/// Why a text is not the unit it should be; the message is the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("write a duration such as 250ms, 10s, 1h30m or 7d")]
    Duration,
    /// Not a size.
    #[error("write a size such as 512, 64Ki, 4Mi or 2Gi")]
    Size,
}

fn split_digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// A duration: `250ms`, `10s`, `1h30m`, `7d`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationText {
    text: String,
    millis: u64,
}

impl DurationText {
    /// Parses one to four numbers of up to five digits, each with its unit.
    ///
    /// # Errors
    /// [`UnitError::Duration`]
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let mut rest = text;
        let mut millis = 0_u64;
        let mut parts = 0;
        while !rest.is_empty() {
            let (number, unit) = split_digits(rest).ok_or(UnitError::Duration)?;
            let digits = rest.len() - unit.len();
            let (scale, left) = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
                .iter()
                .find_map(|(name, scale)| unit.strip_prefix(name).map(|left| (*scale, left)))
                .ok_or(UnitError::Duration)?;
            parts += 1;
            if digits > 5 || parts > 4 {
                return Err(UnitError::Duration);
            }
            millis += number * scale;
            rest = left;
        }
        if parts == 0 { Err(UnitError::Duration) } else { Ok(Self { text: text.to_owned(), millis }) }
    }

    /// In milliseconds.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.millis
    }

    /// As the standard library has it.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A number of bytes: `512`, `64Ki`, `4Mi`, `2Gi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeText {
    text: String,
    bytes: u64,
}

impl SizeText {
    /// Parses a whole number with an optional binary or decimal suffix.
    ///
    /// # Errors
    /// [`UnitError::Size`]
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (number, suffix) = split_digits(text).ok_or(UnitError::Size)?;
        let scale: u64 = match suffix {
            "" => 1,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            _ => return Err(UnitError::Size),
        };
        if text.len() - suffix.len() > 15 {
            return Err(UnitError::Size);
        }
        let bytes = number.checked_mul(scale).ok_or(UnitError::Size)?;
        Ok(Self { text: text.to_owned(), bytes })
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Both units are strings to serde, and strings with a pattern to the schema.
macro_rules! unit {
    ($name:ident, $pattern:expr, $length:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(unit: $name) -> Self {
                unit.text
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": $length, "pattern": $pattern})
            }
        }
    };
}

unit!(DurationText, DURATION_PATTERN, 32);
unit!(SizeText, SIZE_PATTERN, 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up_their_parts() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1m30s500ms", 90_500),
            ("0s", 0),
        ] {
            assert_eq!(DurationText::parse(text).unwrap().millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "s", "10 s", "1.5s", "-1s", "100000s", "1s1s1s1s1s", "1w", "１s"] {
            assert_eq!(DurationText::parse(text), Err(UnitError::Duration), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_suffixes() {
        for (text, bytes) in
            [("512", 512), ("64Ki", 65_536), ("4Mi", 4_194_304), ("2Gi", 2_147_483_648), ("5M", 5_000_000)]
        {
            assert_eq!(SizeText::parse(text).unwrap().bytes(), bytes, "{text}");
        }
        for text in ["", "Ki", "1.5Mi", "-1", "4MiB", "1e3", "9999999999999999", "999999999999999Ti"] {
            assert_eq!(SizeText::parse(text), Err(UnitError::Size), "{text}");
        }
    }

    #[test]
    fn units_read_back_as_they_were_written() {
        let unit: DurationText = serde_json::from_str("\"1h30m\"").unwrap();
        assert_eq!(serde_json::to_string(&unit).unwrap(), "\"1h30m\"");
    }
}
