//! One downstream connection: strict parsing, limits, hygiene.

pub mod address;
mod answered;
mod body;
mod chunks;
mod copied;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gate;
mod head;
mod host;
mod hygiene;
mod inbound;
mod limits;
mod linger;
pub mod memory;
mod path;
mod trace;
mod watch;

pub use address::TrustedHops;
pub(crate) use answered::Answered;
pub use body::{Pace, RequestBody, RequestBodyError};
pub use copied::{Copied, NotCopied, Passing, copied};
pub use gate::Gate;
pub(crate) use head::check_h2;
pub(crate) use hygiene::of_whole_path;
pub use hygiene::{Family, FieldRules};
pub use inbound::{Connection, Inbound, Parsed, Slots};
pub use limits::HttpLimits;
pub use trace::Ids;
pub(crate) use trace::X_REQUEST_ID;
pub use watch::{Ticks, Watch};
