//! A real RabbitMQ, started on free ports and ended with the test.
//!
//! It is asked and told through `erl_call`, which takes Erlang and answers in milliseconds.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::free_address;
use crate::hang::Hang;

/// How long a broker may take to be ready, and a condition to hold.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(10);
/// With an Erlang port mapper of its own a name need not be unique.
const NODE: &str = "postern@localhost";
const COOKIE: &str = "postern";

/// An authority and a server that it vouches for. RabbitMQ reads the files only when it listens for TLS.
const CERTIFICATES: &str = "
  Options = [{key, {rsa, 2048, 65537}}, {digest, sha256}],
  Names = {'Extension', {2,5,29,17}, false, [{dNSName, \"localhost\"}]},
  Chain = fun(Peer) -> #{root => Options, intermediates => [], peer => Options ++ Peer} end,
  #{server_config := Server, client_config := Client} =
    public_key:pkix_test_data(#{server_chain => Chain([{extensions, [Names]}]), client_chain => Chain([])}),
  Write = fun(File, Entries) -> ok = file:write_file(File, public_key:pem_encode(Entries)) end,
  {KeyType, Key} = proplists:get_value(key, Server),
  Write(\"ca.pem\", [{'Certificate', One, not_encrypted} || One <- proplists:get_value(cacerts, Client)]),
  Write(\"server.pem\", [{'Certificate', proplists:get_value(cert, Server), not_encrypted}]),
  Write(\"server.key\", [{KeyType, Key, not_encrypted}]),
  halt().";

/// Where RabbitMQ and its Erlang are, fetched when they are not there.
///
/// # Errors
/// When they cannot be had; the error holds what to do.
pub fn server() -> io::Result<PathBuf> {
    static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fetch-rabbitmq");
        let output = Command::new(fetch).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    });
    FOUND.clone().map_err(io::Error::other)
}

/// A broker in a process of its own.
#[derive(Debug)]
pub struct RabbitMq {
    /// Where it takes AMQP.
    pub address: SocketAddr,
    home: PathBuf,
    folder: tempfile::TempDir,
    mapper: SocketAddr,
    distribution: SocketAddr,
    // The mapper outlives the broker's restarts.
    mapper_process: Option<Child>,
    broker: Mutex<Option<Child>>,
}

impl RabbitMq {
    /// Starts one and waits until it takes AMQP.
    ///
    /// # Errors
    /// When it does not become ready; the error holds what it printed.
    pub fn start() -> io::Result<Self> {
        Self::start_as("tcp")
    }

    /// One that takes AMQP over TLS only, as `localhost`; `ca.pem` of its folder says who vouches for it.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_tls() -> io::Result<Self> {
        Self::start_as("ssl")
    }

    fn start_as(protocol: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postern-rabbitmq").tempdir()?;
        let mut broker = Self {
            address: free_address()?,
            home: server()?,
            folder,
            mapper: free_address()?,
            distribution: free_address()?,
            mapper_process: None,
            broker: Mutex::new(None),
        };
        let mut configuration = format!(
            "listeners.{protocol}.1 = {}\nlog.file = false\nlog.console = true\n\
             log.console.level = warning\ndisk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 2GB\n\
             raft.wal_max_size_bytes = 64000000\n",
            broker.address
        );
        if protocol == "ssl" {
            broker.make_certificates()?;
            configuration.push_str("listeners.tcp = none\n");
            for (option, file) in [("cacertfile", "ca.pem"), ("certfile", "server.pem"), ("keyfile", "server.key")] {
                configuration.push_str(&format!("ssl_options.{option} = {}\n", broker.path(file).display()));
            }
        }
        fs::write(broker.path("rabbitmq.conf"), configuration)?;
        fs::write(broker.path("plugins"), "[].\n")?;
        let cookie = broker.path(".erlang.cookie");
        fs::write(&cookie, COOKIE)?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        broker.mapper_process = Some(broker.command("usr/lib/erlang/bin/epmd").stdout(Stdio::null()).spawn()?);
        broker.restart()?;
        Ok(broker)
    }

    /// A file of its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of its, that finds its Erlang, its configuration and its port mapper, and nobody else's.
    fn command(&self, program: &str) -> Command {
        let erlang = self.home.join("usr/lib/erlang/bin");
        let mut path = OsString::from(erlang);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(self.home.join(program));
        command.stdin(Stdio::null()).stderr(Stdio::null()).current_dir(self.folder.path());
        command.env("PATH", path).env("HOME", self.folder.path());
        command.env("ERL_EPMD_PORT", self.mapper.port().to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command
    }

    fn make_certificates(&self) -> io::Result<()> {
        let mut erlang = self.command("usr/lib/erlang/bin/erl");
        let made = erlang.args(["-noshell", "-eval", CERTIFICATES]).stdout(Stdio::null()).status()?;
        if made.success() { Ok(()) } else { Err(io::Error::other("Erlang made no certificates")) }
    }

    /// Starts it with the data that it has.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&self) -> io::Result<()> {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut command = self.command("usr/lib/rabbitmq/server/sbin/rabbitmq-server");
        command.env("RABBITMQ_NODENAME", NODE).env("RABBITMQ_DIST_PORT", self.distribution.port().to_string());
        command.env("RABBITMQ_CONFIG_FILE", self.path("rabbitmq.conf"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("plugins"));
        command.env("RABBITMQ_CONF_ENV_FILE", self.path("none"));
        command.env("RABBITMQ_MNESIA_BASE", self.path("data")).env("RABBITMQ_LOG_BASE", self.path("logs"));
        // One process, ours to end, instead of a shell that waits for it.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        let arguments = "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        *self.broker.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let ready = || TcpStream::connect(self.address).is_ok() && self.eval("rabbit:is_running().").is_ok();
        if wait_until(|| self.ended() || ready()) && !self.ended() {
            return Ok(());
        }
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        Err(io::Error::other(format!("RabbitMQ did not become ready:\n{log}")))
    }

    fn ended(&self) -> bool {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(broker.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// SIGKILL: no chance to write anything more.
    pub fn kill(&self) {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = broker {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = broker {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    /// What Erlang says to this, which ends with a full stop.
    ///
    /// # Errors
    /// When the broker is away, or Erlang says that it is an error.
    pub fn eval(&self, code: &str) -> io::Result<String> {
        // A busy broker may refuse the connection; then nothing was said and nothing done.
        let said = self.call(code)?;
        let said = if said.is_empty() { self.call(code)? } else { said };
        let fine = said.strip_prefix("{ok, ").and_then(|rest| rest.strip_suffix('}'));
        fine.map(str::to_owned).ok_or_else(|| io::Error::other(format!("{code}\nsaid: {said}")))
    }

    fn call(&self, code: &str) -> io::Result<String> {
        let mut command = self.command("usr/lib/erlang/bin/erl_call");
        command.args(["-c", COOKIE, "-n", NODE, "-r", "-e"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Without the end of the line it waits for more of the form.
            writeln!(stdin, "{code}")?;
        }
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Raises the alarm of memory: publishers are blocked.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn block(&self) -> io::Result<()> {
        self.eval(&format!("rabbit_alarm:set_alarm({{{{resource_limit, memory, '{NODE}'}}, []}}).")).map(drop)
    }

    /// Ends the alarm.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn unblock(&self) -> io::Result<()> {
        self.eval(&format!("rabbit_alarm:clear_alarm({{resource_limit, memory, '{NODE}'}}).")).map(drop)
    }

    /// Adds a user who may do everything, or gives one another password.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn user(&self, name: &str, password: &str) -> io::Result<()> {
        let users = "rabbit_auth_backend_internal";
        let text = format!(
            "case {users}:exists(<<\"{name}\">>) of \
               true -> {users}:change_password(<<\"{name}\">>, <<\"{password}\">>, <<\"test\">>); \
               false -> {users}:add_user(<<\"{name}\">>, <<\"{password}\">>, <<\"test\">>) end, \
             {users}:set_permissions(<<\"{name}\">>, <<\"/\">>, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)."
        );
        // A node that has just started may not have its table of users yet.
        let until = Instant::now() + PATIENCE;
        loop {
            match self.eval(&text) {
                Err(_) if Instant::now() < until => {}
                evaluated => return evaluated.map(drop),
            }
        }
    }

    /// Closes every connection, as an operator or a proxy does.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn close_connections(&self) -> io::Result<()> {
        // One whose channels take too long to end is ended all the same, and says so by failing.
        self.eval("[catch rabbit_networking:close_connection(P, \"test\") || P <- rabbit_networking:connections()].")
            .map(drop)
    }

    /// How many messages a queue has that are ready or unacknowledged.
    ///
    /// # Errors
    /// When the broker is away, or the queue.
    pub fn depth(&self, queue: &str) -> io::Result<u64> {
        let said = self.eval(&format!(
            "rabbit_amqqueue:with(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>), \
               fun(Q) -> [{{messages, N}}] = rabbit_amqqueue:info(Q, [messages]), N end)."
        ))?;
        said.parse().map_err(|_| io::Error::other(said))
    }

    /// How many consumers a queue has.
    ///
    /// # Errors
    /// When the broker is away, or the queue.
    pub fn consumers(&self, queue: &str) -> io::Result<u64> {
        let said = self.eval(&format!(
            "rabbit_amqqueue:with(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>), \
               fun(Q) -> length(rabbit_amqqueue:consumers(Q)) end)."
        ))?;
        said.parse().map_err(|_| io::Error::other(said))
    }

    /// Takes a queue's binding to an exchange away.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn unbind(&self, exchange: &str, queue: &str, key: &str) -> io::Result<()> {
        self.eval(&format!(
            "rabbit_binding:remove({{binding, rabbit_misc:r(<<\"/\">>, exchange, <<\"{exchange}\">>), <<\"{key}\">>, \
               rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>), []}}, <<\"test\">>)."
        ))
        .map(drop)
    }

    /// Deletes a queue, whatever it holds.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn delete_queue(&self, queue: &str) -> io::Result<()> {
        self.eval(&format!(
            "rabbit_amqqueue:with(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>), \
               fun(Q) -> rabbit_amqqueue:delete(Q, false, false, <<\"test\">>) end)."
        ))
        .map(drop)
    }

    /// Gives an exchange an alternate exchange by a policy, or takes the policy away.
    ///
    /// # Errors
    /// When the broker is away.
    pub fn alternate_exchange(&self, exchange: &str, alternate: Option<&str>) -> io::Result<()> {
        let code = match alternate {
            Some(alternate) => format!(
                "rabbit_policy:set(<<\"/\">>, <<\"swallow\">>, <<\"^{exchange}$\">>, \
                   [{{<<\"alternate-exchange\">>, <<\"{alternate}\">>}}], 0, <<\"exchanges\">>, <<\"test\">>)."
            ),
            None => "rabbit_policy:delete(<<\"/\">>, <<\"swallow\">>, <<\"test\">>).".to_owned(),
        };
        self.eval(&code).map(drop)
    }
}

impl Hang for RabbitMq {
    fn pid(&self) -> Option<u32> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Child::id)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut child) = self.mapper_process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until a condition holds; false when patience ends first.
pub fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if holds() {
            return true;
        }
        // Asking takes a process each time; the broker needs the core more.
        std::thread::sleep(PACE);
    }
    false
}
