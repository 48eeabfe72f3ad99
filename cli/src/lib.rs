//! The library half of the `postern` binary, so that tests can call its commands.

pub mod demo;
