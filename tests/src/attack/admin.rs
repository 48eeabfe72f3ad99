//! The admin port, as a page, a proxy beside the gateway or another name would ask it.

use std::io;

use super::world::World;
use super::{Scale, Seen};
use crate::client::get;

/// Every path that shows or does something, asked in ways that only look local.
pub(super) fn local(_: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let mut broken = Vec::new();
    let ways = [
        ("admin.attacker.example", None),
        ("localhost", Some(("x-forwarded-for", "203.0.113.9"))),
        ("localhost", Some(("forwarded", "for=203.0.113.9"))),
        ("localhost", Some(("x-forwarded-host", "attacker.example"))),
        ("localhost", Some(("via", "1.1 sidecar"))),
    ];
    let paths = ["/events", "/snapshot", "/breakers"];

    for path in paths {
        for (host, field) in ways {
            let request = get(host, path);
            let request = field.map_or(request.clone(), |(name, value)| request.header(name, value));
            let status = request.send(world.gateway.admin)?.status;
            if status < 400 {
                broken.push(format!("GET {path} with host {host} and {field:?} was answered with {status}"));
            }
        }
    }
    let plain = get("localhost", "/events").send(world.gateway.admin)?.status;
    broken.extend((plain != 200).then(|| format!("a plain local request was answered with {plain}")));
    Ok(Seen::of(&broken, paths.len() * ways.len() + 1))
}
