//! Attacks on the real binary, from outside: each is what an unauthenticated peer, or one tenant, could try against
//! everybody else. An attack reports what it saw, and whether the promise held.
//!
//! Load is bounded in count and time, and stays on this machine. [`Scale::Short`] is what the tests run.

mod admin;
mod body;
pub mod frames;
mod http2;
mod last_good;
mod lockout;
mod paths;
mod smuggling;
mod tunnels;
mod world;

use std::fmt;
use std::io;

/// How much load an attack makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Seconds in all: enough to see that a bound exists.
    Short,
    /// Minutes in all.
    Full,
}

impl Scale {
    /// Returns the count for this scale.
    #[must_use]
    pub fn of(self, short: usize, full: usize) -> usize {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// The observation of an attack.
#[derive(Clone, Debug)]
pub struct Seen {
    /// True when the promise held.
    pub held: bool,
    /// The numbers, or the inputs that broke the promise.
    pub what: String,
}

impl Seen {
    /// The promise held where nothing is in the list of what broke it.
    #[must_use]
    pub fn of(broken: &[String], tried: usize) -> Self {
        let what = match broken.first() {
            None => format!("{tried} tried"),
            Some(_) => format!("{} of {tried} broke it: {}", broken.len(), broken.join("; ")),
        };
        Self { held: broken.is_empty(), what }
    }
}

type Run = fn(Scale) -> io::Result<Seen>;

/// One attack.
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// The promise.
    pub promise: &'static str,
    run: Run,
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attack").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Attack {
    /// Runs it on a gateway of its own.
    ///
    /// # Errors
    /// When the gateway does not start, or ends.
    pub fn run(&self, scale: Scale) -> io::Result<Seen> {
        (self.run)(scale)
    }
}

/// All attacks.
pub const ALL: &[Attack] = &[
    Attack {
        name: "memory",
        promise: "unauthenticated bodies leave a gateway below its memory limit, and the neighbour is served",
        run: body::memory,
    },
    Attack {
        name: "slow-bodies",
        promise: "a body that arrives a byte at a time ends at its deadline, and holds no slot of the tenant",
        run: body::slow,
    },
    Attack {
        name: "http2-stalls",
        promise: "streams that upload nothing, or take nothing of their answer, are ended",
        run: http2::stalls,
    },
    Attack {
        name: "http2-preface",
        promise: "a connection that ends within the HTTP/2 preface costs nothing",
        run: http2::preface,
    },
    Attack { name: "tunnels", promise: "WebSocket tunnels count in maxConnections", run: tunnels::count },
    Attack {
        name: "lock-out",
        promise: "wrong signatures stop neither right ones from the same address nor open rules",
        run: lockout::signatures,
    },
    Attack { name: "paths", promise: "no spelling of a path passes a rule that guards it", run: paths::guarded },
    Attack {
        name: "identity",
        promise: "no header field of a caller reaches a service as identity or address",
        run: paths::identity,
    },
    Attack { name: "smuggling", promise: "no request hides in another", run: smuggling::hidden },
    Attack { name: "splitting", promise: "no manifest writes a line into a request", run: smuggling::splitting },
    Attack {
        name: "last-good",
        promise: "a fault elsewhere in an object keeps no revoked secret, address or role in force",
        run: last_good::revoked,
    },
    Attack {
        name: "admin",
        promise: "the admin port shows no event to a peer that only looks local",
        run: admin::local,
    },
];
