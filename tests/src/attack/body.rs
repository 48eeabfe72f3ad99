//! Bodies of peers that nobody has authenticated.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::frames::{Came, Frames};
use super::world::{HOST, SECRET, World, signed};
use super::{Scale, Seen};

/// The memory limit of the chart's gateway, in MiB.
const LIMIT_MEBIBYTES: u64 = 512;
/// The largest body that the tenant under attack may send.
const BODY: usize = 8 * 1024 * 1024;
const CEILINGS: &str = "  ceilings: {maxBodySize: 8Mi}\n";

fn unfinished(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// All but the last byte of many bodies: two HTTP/2 connections with all their streams, and many of HTTP/1.1.
pub(super) fn memory(scale: Scale) -> io::Result<Seen> {
    let source = "verification: {secretRefs: [{name: hook, key: secret}]}\n  maxBodySize: 8Mi";
    let world = World::start(CEILINGS, "", &[])?;
    let edited = super::world::manifests(&world.upstream, CEILINGS, "")
        .replace("verification: {secretRefs: [{name: hook, key: secret}]}", source);
    let applied = world.gateway.snapshots_applied();
    world.gateway.edit("manifests.yaml", &edited)?;
    world.gateway.wait_until(|| world.gateway.snapshots_applied() > applied);

    let until = Instant::now() + Duration::from_secs(if scale == Scale::Short { 15 } else { 60 });
    let part = vec![b'x'; 64 * 1024];
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut frames = Frames::connect(world.gateway.address, 65_535)?;
        frames.widen(0, 1 << 24)?;
        for stream in 0..100 {
            let fields = [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/hook")];
            let _ = frames.request(stream * 2 + 1, &fields, false);
        }
        // As much as the gateway lets each stream send.
        let mut sent = 0;
        while sent < 100 && Instant::now() < until {
            let _ = frames.data(sent * 2 + 1, &part);
            while frames.came(Duration::from_millis(1)) == Came::Other {}
            sent += 1;
        }
        connections.push(frames);
    }
    let mut sockets = Vec::new();
    for _ in 0..scale.of(150, 400) {
        let mut stream = TcpStream::connect(world.gateway.address)?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        stream.write_all(unfinished("/hook", BODY).as_bytes())?;
        let mut sent = 0;
        while sent + part.len() < BODY && Instant::now() < until && stream.write_all(&part).is_ok() {
            sent += part.len();
        }
        sockets.push(stream);
    }

    let peak = world.peak_mebibytes()?;
    let (neighbour, took) = world.neighbour();
    let held = peak < LIMIT_MEBIBYTES * 3 / 4 && neighbour;
    let what = format!(
        "{} bodies: at most {peak} MiB; the neighbour was served: {neighbour}, in {took} ms",
        sockets.len() + 200
    );
    drop((connections, sockets));
    Ok(Seen { held, what })
}

/// Bodies of which a byte comes now and then, more than the tenant has slots.
pub(super) fn slow(scale: Scale) -> io::Result<Seen> {
    let world = World::start("  ceilings: {maxConnections: 10}\n", "", &[])?;
    let mut sockets = Vec::new();
    for _ in 0..scale.of(30, 200) {
        let mut stream = TcpStream::connect(world.gateway.address)?;
        stream.write_all(unfinished("/hook", 1000).as_bytes())?;
        sockets.push(stream);
    }
    // Those who are right are served beside them.
    let beside = signed(SECRET, "{\"beside\":1}").send(world.gateway.address)?.status;

    let began = Instant::now();
    let patience = Duration::from_secs(120);
    let mut open: Vec<TcpStream> = sockets;
    let tried = open.len();
    while !open.is_empty() && began.elapsed() < patience {
        std::thread::sleep(Duration::from_secs(1));
        open.retain_mut(|stream| stream.write_all(b"x").is_ok());
    }
    let held = open.is_empty() && beside == 200;
    let what = format!(
        "{} of {tried} held after {} s; a right one beside them: {beside}",
        open.len(),
        began.elapsed().as_secs()
    );
    Ok(Seen { held, what })
}
