//! I/O that a decision needs: done beside requests, so that a request only looks at the outcome.

mod country_database;
pub mod fetch;

pub use country_database::{CountryDatabase, CountryDatabaseError, LookupError};
