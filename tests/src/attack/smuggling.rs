//! Requests that two parsers end at different bytes, and manifests that hold line ends.

use std::fs;
use std::io;
use std::process::Command;

use super::world::{HOST, World, manifests};
use super::{Scale, Seen};
use crate::client::Client;
use crate::gateway::binary;
use crate::upstream::Upstream;

/// Framing that servers have disagreed about (RFC 9112, 6 and 7): the head's fields, and the body.
const FRAMINGS: &[(&str, &str)] = &[
    ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"),
    ("Content-Length: 0\r\nContent-Length: 44\r\n", ""),
    ("Content-Length: +0\r\n", ""),
    ("Content-Length: 0, 0\r\n", ""),
    ("Content-Length: 0x0\r\n", ""),
    ("Content-Length : 0\r\n", ""),
    ("Content-Length:\u{b}0\r\n", ""),
    ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding:\u{b}chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding\r\n : chunked\r\n", "0\r\n\r\n"),
    ("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5;\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\nX: a\r\n b\r\n\r\n"),
];

/// Each framing with a request behind it that only a second parser would see.
pub(super) fn hidden(_: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let mut broken = Vec::new();

    for (fields, body) in FRAMINGS {
        let mut client = Client::connect(world.gateway.address)?;
        let head = format!("POST /outer HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.send(format!("{head}{body}{hidden}").as_bytes())?;
        let first = client.answer(false).map_or(0, |answer| answer.status);
        if first != 400 {
            broken.push(format!("{fields:?} {body:?} was answered with {first}"));
        }
    }
    let received = world.upstream.received();
    broken
        .extend(received.iter().filter(|one| one.line.contains("hidden")).map(|one| format!("reached: {}", one.line)));
    Ok(Seen::of(&broken, FRAMINGS.len()))
}

/// Line ends in what a manifest writes into a request: compile refuses each, with the field.
pub(super) fn splitting(_: Scale) -> io::Result<Seen> {
    let upstream = Upstream::echo()?;
    let good = manifests(&upstream, "", "");
    let splits = [
        ("path: /events}", "path: \"/events HTTP/1.1\\r\\nX-Injected: 1\\r\\nX: \"}", "destination.path"),
        ("path: /events}", "path: \"/events\\nx\"}", "destination.path"),
        ("path: /events}", "path: \"/eve nts\"}", "destination.path"),
        (
            "{backendRef: {name: echo, port: 8080}, path: /events}",
            "{url: \"http://a.example/x\\r\\nX-Injected: 1\"}",
            "destination.url",
        ),
    ];
    let folder = tempfile::tempdir()?;
    let mut broken = Vec::new();

    for (from, to, field) in splits {
        fs::write(folder.path().join("manifests.yaml"), good.replace(from, to))?;
        let check = Command::new(binary()?).arg("check").arg(folder.path()).output()?;
        let printed = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
        if check.status.success() || !printed.contains(field) {
            broken.push(format!("{to}: check ends with {} and does not name {field}", check.status));
        }
    }
    Ok(Seen::of(&broken, splits.len()))
}
