//! HTTP/2 peers that stop in the middle.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::frames::{Came, Frames, PREFACE};
use super::world::{HOST, World};
use super::{Scale, Seen};
use crate::upstream::{Reply, Upstream};

/// How long a stalled stream may be held, with all that it holds: the documented clocks, and room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", path)]
}

/// Uploads that never go on, answers that nobody takes, and connections that ask nothing.
pub(super) fn stalls(scale: Scale) -> io::Result<Seen> {
    let upstream = Upstream::start(|_| Reply::Status(200, "x".repeat(1_000_000)))?;
    let world = World::with(upstream, "", "", &[])?;
    let count = scale.of(5, 50);
    let mut stalled = Vec::new();
    for _ in 0..count {
        let mut upload = Frames::connect(world.gateway.address, 65_535)?;
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", HOST),
            (":path", "/hook"),
            ("content-length", "100000"),
        ];
        upload.request(1, &fields, false)?;
        upload.data(1, b"x")?;
        stalled.push(("an upload that does not go on", upload));

        let mut untaken = Frames::connect(world.gateway.address, 0)?;
        untaken.request(1, &get("/large"), true)?;
        stalled.push(("an answer that is not taken", untaken));

        stalled.push(("a connection without a request", Frames::connect(world.gateway.address, 65_535)?));
    }

    let began = Instant::now();
    let mut broken = Vec::new();
    let tried = stalled.len();
    for (what, mut frames) in stalled {
        let ended = loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            match frames.came(left.max(Duration::from_millis(1))) {
                Came::Closed | Came::GoAway => break true,
                Came::Nothing if left.is_zero() => break false,
                // An upload may be answered, and its stream be reset, on a connection that goes on.
                Came::Head(_) if what.contains("upload") => break true,
                Came::Reset(_) => break true,
                Came::Head(_) | Came::Data(..) | Came::Other | Came::Nothing => {}
            }
        };
        broken.extend((!ended).then(|| format!("{what} is held after {} s", began.elapsed().as_secs())));
    }
    let (neighbour, _) = world.neighbour();
    broken.extend((!neighbour).then(|| "the neighbour is not served".to_owned()));
    Ok(Seen {
        what: format!("{} within {} s", Seen::of(&broken, tried).what, began.elapsed().as_secs()),
        held: broken.is_empty(),
    })
}

/// Connections that end after a part of the preface, in both directions.
pub(super) fn preface(scale: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let mut half_open = Vec::new();
    for count in 0..scale.of(100, 400) {
        let mut stream = TcpStream::connect(world.gateway.address)?;
        let part = PREFACE.get(..1 + count % 3).unwrap_or_default();
        stream.write_all(part)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        half_open.push(stream);
    }

    let before = world.cpu_ticks()?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let spent = world.cpu_ticks()? - before;
    // An idle gateway spends next to nothing; polling for each of them adds up.
    Ok(Seen {
        held: spent < 6,
        what: format!("{} half-open connections cost {spent} % of two seconds", half_open.len()),
    })
}
