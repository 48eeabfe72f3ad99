//! Starts a RabbitMQ and a Redis on free ports, writes the settings file that leads to them, and ends them with
//! itself: for trying things out, and for benchmarks.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use tests::installation::settings;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("name the folder for settings.yaml"));
    };
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let mut out = io::stdout().lock();
    writeln!(out, "starting RabbitMQ and Redis")?;
    let (broker, redis) = (RabbitMq::start()?, Redis::start()?);
    let path = settings(&folder, &broker, Some(&redis), "")?;
    writeln!(out, "RabbitMQ amqp://{}\nRedis    {}\nsettings {path}", broker.address, redis.url())?;
    writeln!(out, "they end when the standard input of this program does")?;
    out.flush()?;
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}
