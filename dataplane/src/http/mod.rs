//! One downstream connection: strict parsing, limits, hygiene.
