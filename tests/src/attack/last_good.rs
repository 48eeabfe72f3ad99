//! Revocations beside a fault: the object that holds both keeps serving, and keeps nothing that was taken back.

use std::io;

use super::world::{HOST, SECRET, World, manifests, signed};
use super::{Scale, Seen};
use crate::client::get;

/// The secret that replaces the source's.
const NEXT: &str = "the-next-secret-of-this-source";
/// A fault of the traffic part of the source, and of the open rule.
const SOURCE_FAULT: (&str, &str) = ("path: /events}", "path: 'events without a slash'}");

/// Rotates a secret and closes a rule to this address while another field of the same object is broken.
pub(super) fn revoked(_: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let mut broken = Vec::new();
    let before = signed(SECRET, "{\"n\":1}").send(world.gateway.address)?.status;
    broken.extend((before != 200).then(|| format!("before the edit the source answers {before}")));

    let edited = manifests(
        &world.upstream,
        "",
        "      sourceAddresses: {allow: [203.0.113.0/24]}\n      timeouts: {request: 5 parsecs}",
    )
    .replace(SECRET, NEXT)
    .replace(SOURCE_FAULT.0, SOURCE_FAULT.1);
    let applied = world.gateway.snapshots_applied();
    world.gateway.edit("manifests.yaml", &edited)?;
    world.gateway.wait_until(|| world.gateway.snapshots_applied() > applied);

    // A secret that was replaced is withdrawn within two seconds; until then both states are right.
    world.gateway.wait_until(|| {
        signed(SECRET, "{\"n\":2}").send(world.gateway.address).is_ok_and(|answer| !(200..300).contains(&answer.status))
    });
    let old = signed(SECRET, "{\"n\":3}").send(world.gateway.address)?.status;
    broken.extend((200..300).contains(&old).then(|| format!("the old secret is answered with {old}")));
    let next = signed(NEXT, "{\"n\":4}").send(world.gateway.address)?.status;
    broken.extend((next == 401 || next == 403).then(|| format!("the new secret is answered with {next}")));
    let open = get(HOST, "/open").send(world.gateway.address)?.status;
    broken.extend((open == 200).then(|| "an address that was closed out is answered with 200".to_owned()));
    let (neighbour, _) = world.neighbour();
    broken.extend((!neighbour).then(|| "the neighbour is not served".to_owned()));
    Ok(Seen::of(&broken, 5))
}
