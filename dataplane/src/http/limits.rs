//! What one connection may cost.

use std::time::Duration;

/// Bounds of a listener's connections. Each is a promise to everybody else on the same core.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// For how long a head may arrive.
    pub head_timeout: Duration,
    /// For how long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// For how long a body may make no progress, and an answer may not be taken.
    pub stall_timeout: Duration,
    /// For how long a body that is collected may arrive.
    pub body_timeout: Duration,
    /// How many bytes a second such a body must bring, once [`Self::body_grace`] is over.
    pub body_bytes_per_second: u64,
    /// For how long nothing is asked of such a body.
    pub body_grace: Duration,
    /// Bytes of request bodies that the process holds at once.
    pub body_memory: u64,
    /// For how long nothing may move in a WebSocket tunnel.
    pub tunnel_idle_timeout: Duration,
    /// How long a WebSocket tunnel may live.
    pub tunnel_lifetime: Duration,
    /// Streams at once on one HTTP/2 connection.
    pub h2_streams: u32,
    /// Bytes that one HTTP/2 stream, and one connection, may send ahead.
    pub h2_window_bytes: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            header_fields: 100,
            target_bytes: 8 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(60),
            body_bytes_per_second: 1024,
            body_grace: Duration::from_secs(10),
            body_memory: 128 * 1024 * 1024,
            tunnel_idle_timeout: Duration::from_secs(300),
            tunnel_lifetime: Duration::from_secs(24 * 3600),
            h2_streams: 100,
            h2_window_bytes: 256 * 1024,
        }
    }
}
