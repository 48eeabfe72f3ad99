//! The proxies: which binary, which configuration, how to start and stop each.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use clap::ValueEnum;

use crate::scenario::{Scenario, WEBHOOK_SECRET, webhook_secret_base64};
use crate::token::Issuer;

/// A proxy under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Ours.
    Postern,
}

impl Peer {
    pub(crate) const ALL: &'static [Self] = &[Self::Nginx, Self::Haproxy, Self::Envoy, Self::Postern];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Postern => "Postern",
        }
    }

    /// Whether it can do the scenario with what it ships.
    pub(crate) const fn can(self, scenario: Scenario) -> bool {
        match (self, scenario) {
            (Self::Postern, _) | (_, Scenario::Get | Scenario::Post) => true,
            (Self::Haproxy, Scenario::Jwt | Scenario::Hmac) | (Self::Envoy, Scenario::Jwt) => true,
            (
                Self::Nginx | Self::Haproxy | Self::Envoy,
                Scenario::Jwt | Scenario::Hmac | Scenario::Typical | Scenario::Events,
            ) => false,
        }
    }
}

/// Where things are, and the words that the configurations leave open.
pub(crate) struct Site {
    /// `bench/` of the repository: the configurations.
    pub(crate) sources: PathBuf,
    /// What `fetch-peers` printed.
    pub(crate) cache: PathBuf,
    pub(crate) postern: PathBuf,
    /// Scratch; every proxy gets a folder of its own.
    pub(crate) scratch: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) origin: SocketAddr,
    /// The cores that the proxies are pinned to, as taskset wants them.
    pub(crate) cores: String,
}

impl Site {
    /// The binary, from the cache or from PATH; `None` when the machine does not have it.
    pub(crate) fn binary(&self, peer: Peer) -> Option<PathBuf> {
        let (cached, name) = match peer {
            Peer::Nginx => (self.cache.join("debian/usr/sbin/nginx"), "nginx"),
            Peer::Haproxy => (self.cache.join("debian/usr/sbin/haproxy"), "haproxy"),
            Peer::Envoy => (self.cache.join("envoy/envoy"), "envoy"),
            Peer::Postern => (self.postern.clone(), "postern"),
        };
        if cached.is_file() {
            return Some(cached);
        }
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// Starts a proxy, pinned to its core, for one scenario.
    pub(crate) fn start(&self, peer: Peer, scenario: Scenario, issuer: &Issuer) -> io::Result<Running> {
        let folder = self.scratch.join(format!("{}-{}", peer.title().to_lowercase(), scenario.word()));
        empty(&folder)?;
        let arguments = self.arguments(peer, scenario, issuer, &folder)?;
        self.spawn(peer, &arguments, &folder)
    }

    /// Starts Postern on the examples.
    pub(crate) fn start_examples(&self) -> io::Result<Running> {
        let folder = self.scratch.join("postern-examples");
        empty(&folder)?;
        let arguments = self.postern_arguments(&self.sources.join("../examples"), &folder);
        self.spawn(Peer::Postern, &arguments, &folder)
    }

    fn spawn(&self, peer: Peer, arguments: &[String], folder: &Path) -> io::Result<Running> {
        let binary = self.binary(peer).ok_or_else(|| io::Error::other(format!("{} is not here", peer.title())))?;
        let log = folder.join("log");
        let child = Command::new("taskset")
            .args(["-c", &self.cores])
            .arg(binary)
            .args(arguments)
            .env("LD_LIBRARY_PATH", self.cache.join("debian/usr/lib/x86_64-linux-gnu"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        Ok(Running { child, log })
    }

    fn postern_arguments(&self, manifests: &Path, folder: &Path) -> Vec<String> {
        let flags = format!("run --cores 1 --listen {} --admin {} --config", self.listen, self.admin);
        line(&flags, &[manifests, Path::new("--data"), &folder.join("data")])
    }

    fn manifests(&self, scenario: Scenario, words: &[(&str, String)], folder: &Path) -> io::Result<PathBuf> {
        let manifests = folder.join("manifests");
        fs::create_dir_all(&manifests)?;
        for file in ["base.yaml", &format!("{}.yaml", scenario.word())] {
            self.write(&format!("ours/{file}"), words, &manifests.join(file))?;
        }
        Ok(manifests)
    }

    /// Starts a process of an installation on the manifests of the events; its admin port is the one given.
    pub(crate) fn start_role(&self, role: &str, settings: &Path, admin: SocketAddr) -> io::Result<Running> {
        let folder = self.scratch.join(format!("role-{role}"));
        fs::create_dir_all(&folder)?;
        let manifests = self.manifests(Scenario::Events, &self.words(&Issuer::new()?, &folder), &folder)?;
        let flags = format!("dataplane --role {role} --cores 1 --listen {} --admin {admin} --config", self.listen);
        let data = folder.join("data");
        let arguments = line(&flags, &[&manifests, Path::new("--data"), &data, Path::new("--settings"), settings]);
        self.spawn(Peer::Postern, &arguments, &folder)
    }

    /// Writes the configuration and says how the proxy is told of it.
    fn arguments(&self, peer: Peer, scenario: Scenario, issuer: &Issuer, folder: &Path) -> io::Result<Vec<String>> {
        let mut words = self.words(issuer, folder);
        let config = folder.join("config.yaml");
        match peer {
            Peer::Nginx => {
                self.write("peers/nginx.conf", &words, &config)?;
                Ok(line("-e stderr -p", &[folder, Path::new("-c"), &config]))
            }
            Peer::Haproxy => {
                let file = match scenario {
                    Scenario::Jwt => "peers/haproxy-jwt.cfg",
                    Scenario::Hmac => "peers/haproxy-hmac.cfg",
                    Scenario::Get | Scenario::Post | Scenario::Typical | Scenario::Events => "peers/haproxy.cfg",
                };
                fs::write(folder.join("jwt.pem"), issuer.public_pem())?;
                self.write(file, &words, &config)?;
                Ok(line("-db -f", &[&config]))
            }
            Peer::Envoy => {
                let filter = match scenario {
                    Scenario::Jwt => fill(&self.read("peers/envoy-jwt-filter.yaml")?, &words),
                    Scenario::Get | Scenario::Post | Scenario::Hmac | Scenario::Typical | Scenario::Events => {
                        String::new()
                    }
                };
                words.push(("JWT_FILTER", filter));
                self.write("peers/envoy.yaml", &words, &config)?;
                Ok(line("--concurrency 1 --log-level error --disable-hot-restart -c", &[&config]))
            }
            Peer::Postern => Ok(self.postern_arguments(&self.manifests(scenario, &words, folder)?, folder)),
        }
    }

    /// What the configurations leave open.
    fn words(&self, issuer: &Issuer, folder: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("DIR", folder.to_string_lossy().into_owned()),
            ("LISTEN", self.listen.to_string()),
            ("LISTEN_PORT", self.listen.port().to_string()),
            ("ORIGIN", self.origin.to_string()),
            ("ORIGIN_PORT", self.origin.port().to_string()),
            ("SECRET", WEBHOOK_SECRET.to_owned()),
            ("SECRET_BASE64", webhook_secret_base64()),
            ("JWKS", issuer.jwks()),
        ]
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let path = self.sources.join(file);
        fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn write(&self, file: &str, words: &[(&str, String)], to: &Path) -> io::Result<()> {
        fs::write(to, fill(&self.read(file)?, words))
    }
}

/// What an earlier round left would be measured as well.
fn empty(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)
}

/// Flags, then paths.
fn line(flags: &str, paths: &[&Path]) -> Vec<String> {
    flags.split(' ').map(str::to_owned).chain(paths.iter().map(|path| path.to_string_lossy().into_owned())).collect()
}

/// Puts words in the place of `${NAME}`.
fn fill(text: &str, words: &[(&str, String)]) -> String {
    words.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

/// A started process; killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn new(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        Some(format!("it ended with {status}: {}", last.into_iter().rev().collect::<Vec<_>>().join(" | ")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A master that is killed outright leaves its workers: ask first.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_every_configuration_is_filled() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let known =
            ["DIR", "LISTEN", "LISTEN_PORT", "ORIGIN", "ORIGIN_PORT", "SECRET", "SECRET_BASE64", "JWKS", "JWT_FILTER"];
        for folder in ["peers", "ours"] {
            for entry in fs::read_dir(sources.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let words = known.map(|name| (name, "filled".to_owned()));
                assert!(!fill(&fs::read_to_string(&path).unwrap(), &words).contains("${"), "{}", path.display());
            }
        }
    }
}
