//! Failures of one caller that another pays for.

use std::io;

use super::world::{HOST, SECRET, World, signed};
use super::{Scale, Seen};
use crate::client::{Client, get};

/// Many wrong signatures from an address; then a right one and an open rule from the same address.
pub(super) fn signatures(scale: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let wrong = scale.of(300, 5_000);
    let mut client = Client::connect(world.gateway.address)?;
    let mut refused = 0;
    for count in 0..wrong {
        let answer = signed("not-the-secret-of-this-source", &format!("{{\"wrong\":{count}}}")).send_on(&mut client)?;
        refused += usize::from((400..500).contains(&answer.status));
    }

    let right = signed(SECRET, "{\"right\":1}").send(world.gateway.address)?;
    let open = get(HOST, "/open").send(world.gateway.address)?;
    let held = refused == wrong && right.status == 200 && open.status == 200;
    let what = format!(
        "{refused} of {wrong} wrong ones refused; then a right one {}, an open rule {}",
        right.status, open.status
    );
    Ok(Seen { held, what })
}
