//! The gRPC services between processes of Postern: the code generated from `proto/`, and nothing else.

/// Between gateways, delivers and spool shards.
pub mod spool {
    tonic::include_proto!("postern.spool.v1");
}

/// Between the operator and dataplanes.
pub mod push {
    tonic::include_proto!("postern.push.v1");
}
