//! The harness of the test binaries: processes, upstreams and clients on free loopback ports.

pub mod client;
pub mod gateway;
pub mod manifests;
pub mod rabbitmq;
pub mod upstream;
