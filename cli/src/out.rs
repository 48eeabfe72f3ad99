//! What a command says to the person who called it: results on standard output, the rest on standard error.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use policy::error::chain;

/// The input is at fault.
pub const FAULT: u8 = 1;
/// The call or the machine is at fault.
pub const TROUBLE: u8 = 2;

/// Writes one line of result. A reader that has gone away (`| head`) is no trouble.
pub fn line(text: impl Display) {
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes one line about how it went.
pub fn note(text: impl Display) {
    let _gone = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says what went wrong, with every cause, and ends with `code`.
pub fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    wrong(error);
    ExitCode::from(code)
}

/// Says what went wrong, with every cause.
pub fn wrong(error: &dyn std::error::Error) {
    note(format_args!("postern: {}", chain(error)));
}
