//! What a process says of itself: a metric of ours, a counter of Redis.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A metric, named with its labels; 0 while it has none.
pub(crate) async fn metric(admin: SocketAddr, name: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(after(&text, name, ' '))
}

/// How many events became this.
pub(crate) async fn events(admin: SocketAddr, outcome: &str) -> io::Result<u64> {
    metric(admin, &format!("postern_events_total{{outcome=\"{outcome}\"}}")).await
}

/// What Redis has served since it started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Served {
    pub(crate) scripts: u64,
    pub(crate) bytes: u64,
}

pub(crate) async fn redis(address: SocketAddr) -> io::Result<Served> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"INFO everything\r\nQUIT\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let bytes = after(&text, "total_net_input_bytes", ':') + after(&text, "total_net_output_bytes", ':');
    Ok(Served { scripts: after(&text, "cmdstat_evalsha:calls", '='), bytes })
}

/// The number behind a name at the beginning of a line.
fn after(text: &str, name: &str, sign: char) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(sign));
    let digits = line.map(|rest| rest.trim_start_matches(|c: char| !c.is_ascii_digit())).unwrap_or_default();
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_that_of_its_own_name() {
        let text = "postern_a_total 7\npostern_a 3\r\ncmdstat_evalsha:calls=12,usec=5\r\n";
        assert_eq!(after(text, "postern_a", ' '), 3);
        assert_eq!(after(text, "cmdstat_evalsha:calls", '='), 12);
        assert_eq!(after(text, "postern_b", ' '), 0);
    }
}
