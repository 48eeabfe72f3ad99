//! WebSockets that nobody counts.

use std::io;

use super::world::{HOST, World};
use super::{Scale, Seen};
use crate::client::Client;
use crate::upstream::{Reply, Upstream};

/// As many tunnels as `maxConnections` allows, and not one more.
pub(super) fn count(scale: Scale) -> io::Result<Seen> {
    const MOST: usize = 5;
    let upstream = Upstream::start(|received| {
        let socket = received.line.contains("/socket");
        if socket { Reply::Tunnel } else { Reply::Status(200, String::new()) }
    })?;
    let world = World::with(upstream, &format!("  ceilings: {{maxConnections: {MOST}}}\n"), "", &[])?;
    let tried = scale.of(20, 200);
    let mut open = Vec::new();
    for _ in 0..tried {
        let mut client = Client::connect(world.gateway.address)?;
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        client.send(format!("GET /socket HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}\r\n\r\n").as_bytes())?;
        if client.answer(false)?.status == 101 {
            open.push(client);
        }
    }

    let (neighbour, _) = world.neighbour();
    let opened = open.len();
    drop(open);
    let what = format!("{opened} of {tried} opened where {MOST} are allowed; the neighbour was served: {neighbour}");
    Ok(Seen { held: opened == MOST && neighbour, what })
}
