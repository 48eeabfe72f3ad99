//! The harness of the test binaries.
