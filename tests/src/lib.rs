//! The harness of the test binaries: processes, upstreams and clients on free loopback ports.

pub mod attack;
pub mod chromium;
pub mod client;
pub mod count;
pub mod disk;
pub mod documents;
pub mod events;
pub mod fleet;
pub mod gateway;
pub mod hang;
pub mod http2;
pub mod installation;
pub mod kind;
pub mod kubectl;
pub mod kubernetes;
pub mod load;
pub mod manifests;
pub mod mmdb;
pub mod operator;
pub mod outages;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod steady;
pub mod traffic;
pub mod upstream;
