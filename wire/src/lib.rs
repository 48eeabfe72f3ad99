//! The gRPC services between processes of Postern: the code generated from `proto/`, and the one name that
//! stands in no message.

/// Between gateways, delivers and spool shards.
pub mod spool {
    tonic::include_proto!("postern.spool.v1");
}

/// Between the operator and dataplanes.
pub mod push {
    tonic::include_proto!("postern.push.v1");
}

/// Who holds the certificate for `ROLE.` and this may ask a shard what `spool.proto` lets that role ask.
pub const ROLE_DOMAIN: &str = "role.postern.internal";
