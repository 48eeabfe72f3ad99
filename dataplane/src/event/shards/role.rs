//! What a process does for events, and what its certificate lets it ask.

use wire::ROLE_DOMAIN;

/// A role, as it stands in a certificate and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts events.
    Gateway,
    /// Takes events from the broker to their destinations.
    Deliver,
    /// Keeps what the broker does not take and what waits.
    Spool,
    /// All three in one process.
    All,
    /// Somebody who looks after events: no process.
    Operate,
}

impl Role {
    /// All that a process may have.
    pub const EVERY: [Self; 4] = [Self::Gateway, Self::Deliver, Self::Spool, Self::All];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Deliver => "deliver",
            Self::Spool => "spool",
            Self::All => "all",
            Self::Operate => "operate",
        }
    }

    /// The DNS name in the certificate of a process with this role. It is looked up nowhere.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}.{ROLE_DOMAIN}", self.word())
    }

    /// Whether it accepts requests.
    #[must_use]
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Gateway | Self::All)
    }

    /// Whether it takes events from the broker.
    #[must_use]
    pub const fn delivers(self) -> bool {
        matches!(self, Self::Deliver | Self::All)
    }

    /// Whether it holds a shard.
    #[must_use]
    pub const fn keeps(self) -> bool {
        matches!(self, Self::Spool | Self::All)
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::EVERY
            .into_iter()
            .find(|role| role.word() == text)
            .ok_or_else(|| format!("`{text}` is no role; use gateway, deliver, spool or all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_by_its_word_and_anything_else_is_refused_with_the_words() {
        for role in Role::EVERY {
            assert_eq!(role.word().parse(), Ok(role));
            assert!(role.name().starts_with(role.word()));
        }
        for text in ["", "Gateway", "gateway ", "worker"] {
            let refused = text.parse::<Role>().unwrap_err();
            assert!(Role::EVERY.iter().all(|role| refused.contains(role.word())), "{refused}");
        }
    }
}
