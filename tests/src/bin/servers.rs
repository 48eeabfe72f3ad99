//! Starts a RabbitMQ and a Redis on free ports, writes the settings files that lead to them (of one process, and of one
//! of each role), runs a command, and ends with it: for trying things out, and for benchmarks.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use tests::installation::{roles, settings};
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), Some(program)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err(io::Error::other("servers FOLDER COMMAND ...: settings.yaml is written into the folder"));
    };
    std::fs::create_dir_all(&folder)?;
    let mut out = io::stdout().lock();
    writeln!(out, "starting RabbitMQ and Redis")?;
    let (broker, redis) = (RabbitMq::start()?, Redis::start()?);
    let folder = folder.canonicalize()?;
    let path = settings(&folder, &broker, Some(&redis), "")?;
    writeln!(out, "RabbitMQ amqp://{}\nRedis    {}\nsettings {path}", broker.address, redis.url())?;
    for path in roles(&folder, &broker, &redis)? {
        writeln!(out, "         {path}")?;
    }
    out.flush()?;
    // Ctrl-C is for the command: when that has ended, the servers are ended too.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _heard = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?
    };
    let status = Command::new(program).args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
