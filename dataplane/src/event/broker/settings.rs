//! Where the broker is, what is declared there, and the bounds on what is under way.

use std::fmt;
use std::fs;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::BrokerError;

/// No more partitions than this: each is a queue with a log of its own.
pub const MAX_PARTITIONS: u16 = 1024;
/// A bigger message is refused before it is sent: RabbitMQ 4 closes the channel on more than 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// What one place in the window holds; a bigger message takes as many places as it fills.
pub(super) const PLACE_BYTES: usize = 4096;

/// One broker node: `amqp://host[:port]` or `amqps://host[:port]`, without user, password or path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not repeated: it may hold a password.
        let wrong = |why: &str| Err(format!("{why}; write amqp://HOST:PORT or amqps://HOST:PORT"));
        let (tls, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            Some(_) | None => return wrong("a broker address starts with amqp:// or amqps://"),
        };
        if rest.contains('@') {
            return wrong("a broker address holds no user or password: those are settings of their own");
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return wrong("a broker address has no path and no parameters: the virtual host is a setting of its own");
        }
        let default = if tls { 5671 } else { 5672 };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(default), str::parse);
        match port {
            Ok(port) if !host.is_empty() && port != 0 => Ok(Self { tls, host: host.to_owned(), port }),
            Ok(_) | Err(_) => wrong("a broker address names a host and a port from 1 to 65535"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        let scheme = if *tls { "amqps" } else { "amqp" };
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

/// Who connects. The password is in a file that is read at each connection, so that it can be rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The file with the password; white space at its end is not part of it.
    pub password_file: PathBuf,
}

impl Credentials {
    pub(super) fn password(&self) -> Result<String, BrokerError> {
        let read = fs::read_to_string(&self.password_file);
        let text = read.map_err(|cause| BrokerError::File { path: self.password_file.clone(), cause })?;
        Ok(text.trim_end().to_owned())
    }
}

/// Everything that a publisher and a consumer need to know.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// The nodes, tried in turn.
    pub addresses: Vec<Address>,
    /// Who connects.
    pub credentials: Credentials,
    /// The certificates that `amqps` trusts, PEM; those of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// The virtual host.
    pub vhost: String,
    /// What every name on the broker starts with.
    pub prefix: String,
    /// How many partitions; fixed at install.
    pub partitions: NonZeroU16,
    /// Messages of up to 4 KiB that may be unconfirmed at once; a bigger one counts for as many as it fills.
    pub in_flight: NonZeroU32,
    /// How long a confirm may take, and how long a publish waits for room in the window.
    pub confirm_timeout: Duration,
    /// How many deliveries a partition may have unacknowledged.
    pub prefetch: NonZeroU16,
    /// How long a partition that is handed over waits for what is in flight.
    pub hand_over_timeout: Duration,
    /// What one queue holds before it refuses more.
    pub queue_max_bytes: u64,
    /// How often the broker delivers a message before it dead-letters it.
    pub delivery_limit: u32,
    /// Replicas of each queue; the broker's own choice when absent.
    pub replicas: Option<NonZeroU8>,
}

impl BrokerSettings {
    /// Settings that work, for these nodes.
    #[must_use]
    pub fn new(addresses: Vec<Address>, credentials: Credentials) -> Self {
        Self {
            addresses,
            credentials,
            ca_file: None,
            vhost: "/".to_owned(),
            prefix: "postern".to_owned(),
            partitions: NonZeroU16::MIN.saturating_add(7),
            in_flight: NonZeroU32::MIN.saturating_add(4095),
            confirm_timeout: Duration::from_secs(5),
            prefetch: NonZeroU16::MIN.saturating_add(127),
            hand_over_timeout: Duration::from_secs(60),
            queue_max_bytes: 1 << 30,
            delivery_limit: 10_000,
            replicas: None,
        }
    }

    /// All that is wrong with them, or nothing.
    pub(super) fn check(&self) -> Result<(), BrokerError> {
        let mut problems = Vec::new();
        if self.addresses.is_empty() {
            problems.push("addresses: name at least one broker node".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(plain) {
            problems.push("prefix: 1 to 64 letters, digits, '-', '_' and '.'".to_owned());
        }
        if self.partitions.get() > MAX_PARTITIONS {
            problems.push(format!("partitions: at most {MAX_PARTITIONS}"));
        }
        if places(MAX_MESSAGE_BYTES) > self.in_flight.get() {
            problems.push(format!("inFlight: at least {}, the room of one big message", places(MAX_MESSAGE_BYTES)));
        }
        // The broker keeps it as a signed number.
        if i64::try_from(self.queue_max_bytes).is_err() || self.queue_max_bytes == 0 {
            problems.push("queueMaxBytes: from 1 to 2^63 - 1".to_owned());
        }
        if self.confirm_timeout.is_zero() {
            problems.push("confirmTimeout: more than nothing".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(BrokerError::Settings(problems)) }
    }

    /// The name of something of ours on the broker.
    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }
}

/// How many places of the window a message takes.
pub(super) fn places(bytes: usize) -> u32 {
    u32::try_from(bytes / PLACE_BYTES).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_host_and_nothing_else() {
        for (text, shown) in [
            ("amqp://rabbit", "amqp://rabbit:5672"),
            ("amqps://rabbit.svc/", "amqps://rabbit.svc:5671"),
            ("amqp://10.0.0.1:6000", "amqp://10.0.0.1:6000"),
            ("amqps://[::1]:7", "amqps://[::1]:7"),
            ("amqp://[fe80::2]", "amqp://[fe80::2]:5672"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in
            ["", "rabbit", "http://rabbit", "amqp://", "amqp://:1", "amqp://a:0", "amqp://a:99999", "amqp://a/v"]
        {
            text.parse::<Address>().unwrap_err();
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let said = "amqp://user:hunter2@rabbit".parse::<Address>().unwrap_err();
        assert!(said.contains("no user or password") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn every_wrong_setting_is_said_at_once() {
        let credentials = Credentials { user: "postern".to_owned(), password_file: "password".into() };
        let mut settings = BrokerSettings::new(Vec::new(), credentials);
        settings.prefix = "a b".to_owned();
        settings.queue_max_bytes = 0;
        settings.in_flight = NonZeroU32::MIN;
        let said = settings.check().unwrap_err().to_string();
        for field in ["addresses", "prefix", "queueMaxBytes", "inFlight"] {
            assert!(said.contains(field), "{field}: {said}");
        }
    }
}
