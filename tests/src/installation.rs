//! A whole installation: gateways, delivers and spools as processes of their own, with certificates.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dataplane::event::spool::operate::{Filter, Listed, list};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::disk::Disk;
use crate::gateway::{Gateway, free_address};
use crate::proxy::{Network, Proxy};
use crate::rabbitmq::RabbitMq;
use crate::redis::Redis;

/// How large the volume is that can be full: the log of a shard, several times over.
const DISK_MEBIBYTES: u32 = 64;

/// Writes the settings file of one process into a folder; its path.
///
/// # Errors
/// When a file cannot be written.
pub fn settings(folder: &Path, broker: &RabbitMq, redis: Option<&Redis>, more: &str) -> io::Result<String> {
    settings_at(folder, broker.address, redis.map(|redis| redis.address), more)
}

fn settings_at(folder: &Path, broker: SocketAddr, redis: Option<SocketAddr>, more: &str) -> io::Result<String> {
    let password = folder.join("broker-password");
    std::fs::write(&password, "guest")?;
    let redis = redis.map(|redis| format!("redis: {{addresses: ['redis://{redis}']}}\n")).unwrap_or_default();
    let text = format!(
        "broker: {{addresses: ['amqp://{broker}'], user: guest, passwordFile: {}, partitions: 4, confirmTimeout: 2s}}\n{redis}{more}",
        password.display()
    );
    let path = folder.join("settings.yaml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// The authority of an installation.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)? })
    }

    /// Writes a certificate for a role; the `tls` block that names it.
    fn issue(&self, role: &str, folder: &Path) -> io::Result<String> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new([format!("{role}.role.postern.internal")]).map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let file = |name: &str, text: String| -> io::Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(format!(
            "{{caFile: {}, certificateFile: {}, keyFile: {}}}",
            file("ca.pem", self.issuer.pem())?.display(),
            file("certificate.pem", certificate.pem())?.display(),
            file("key.pem", key.serialize_pem())?.display()
        ))
    }
}

/// Writes a settings file for a process of each role beside one shard, each into a folder named for its role.
///
/// # Errors
/// When a file cannot be written, or no port is free.
pub fn roles(folder: &Path, broker: &RabbitMq, redis: &Redis) -> io::Result<Vec<String>> {
    let (authority, address) = (Authority::new()?, free_address()?);
    let write = |role: &str| {
        let own = folder.join(role);
        std::fs::create_dir_all(&own)?;
        let held = if role == "spool" { format!("name: spool-0, listen: '{address}', ") } else { String::new() };
        let tls = authority.issue(role, &own)?;
        let more = format!("spool: {{{held}shards: [{{name: spool-0, address: 'https://{address}'}}], tls: {tls}}}\n");
        settings(&own, broker, Some(redis), &more)
    };
    ["gateway", "deliver", "spool"].into_iter().map(write).collect()
}

/// The network between one process and what it depends on.
#[derive(Debug)]
pub struct Link {
    /// Which process, and what it reaches.
    pub name: String,
    proxy: Proxy,
}

impl Link {
    fn start(name: String, target: SocketAddr) -> io::Result<Self> {
        Ok(Self { name, proxy: Proxy::start(target)? })
    }

    /// Makes the network so, from now on.
    pub fn set(&self, network: Network) {
        self.proxy.set(network);
    }
}

/// The processes of an installation.
pub struct Installation {
    /// Those that accept.
    pub gateways: Vec<Gateway>,
    /// Those that take from the broker.
    pub delivers: Vec<Gateway>,
    /// Those that keep.
    pub spools: Vec<Gateway>,
    /// The settings of whoever looks after events.
    pub operate: PathBuf,
    /// From each of them to the broker, Redis and the shards.
    pub links: Vec<Link>,
    /// The volume of the last shard, when this user may mount one; else why not.
    pub disk: Result<Disk, String>,
    _folder: tempfile::TempDir,
}

const GATEWAY: &[&str] = &["dataplane", "--role", "gateway"];
const DELIVER: &[&str] = &["dataplane", "--role", "deliver"];
const SPOOL: &[&str] = &["dataplane", "--role", "spool"];
/// Of each role.
const EACH: usize = 2;

impl Installation {
    /// Starts two of each on the same manifests; waits until all are ready.
    ///
    /// # Errors
    /// When one does not become ready.
    pub fn start(manifests: &str, broker: &RabbitMq, redis: &Redis) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new()?;
        let listen = [free_address()?, free_address()?];
        let disk = Disk::mount(DISK_MEBIBYTES).map_err(|error| error.to_string());
        let mut links = Vec::new();
        let mut start = |command: &'static [&'static str], role: &str, at: usize| {
            let process = format!("{role}-{at}");
            let own = folder.path().join(&process);
            std::fs::create_dir(&own)?;
            let tls = authority.issue(role, &own)?;
            let mut lead = |to: &str, target: SocketAddr| -> io::Result<SocketAddr> {
                let link = Link::start(format!("{process} to {to}"), target)?;
                let address = link.proxy.address;
                links.push(link);
                Ok(address)
            };
            let (broker, redis) = (lead("broker", broker.address)?, lead("redis", redis.address)?);
            let mut shards = Vec::new();
            for (at, address) in listen.iter().enumerate() {
                let address = lead(&format!("spool-{at}"), *address)?;
                shards.push(format!("{{name: spool-{at}, address: 'https://{address}'}}"));
            }
            let held = match listen.get(at) {
                Some(address) if role == "spool" => format!("name: spool-{at}, listen: '{address}', "),
                Some(_) | None => String::new(),
            };
            let more = format!(
                "spool: {{{held}shards: [{}], tls: {tls}}}\ndeliver: {{name: deliver-{at}, delivers: [deliver-0, deliver-1]}}\n",
                shards.join(", ")
            );
            let settings = settings_at(&own, broker, Some(redis), &more)?;
            let last_shard = role == "spool" && at + 1 == EACH;
            let data = disk.as_ref().ok().filter(|_| last_shard).map(Disk::path);
            Gateway::start_on(data, command, manifests, &["--cores", "1", "--settings", &settings])
        };
        let mut each = |command: &'static [&'static str], role: &'static str| -> io::Result<Vec<Gateway>> {
            (0..EACH).map(|at| start(command, role, at)).collect()
        };
        let (spools, delivers, gateways) =
            (each(SPOOL, "spool")?, each(DELIVER, "deliver")?, each(GATEWAY, "gateway")?);
        let own = folder.path().join("operate");
        std::fs::create_dir(&own)?;
        let (tls, operate) = (authority.issue("operate", &own)?, own.join("settings.yaml"));
        let shard = |(at, address): (usize, &SocketAddr)| format!("{{name: spool-{at}, address: 'https://{address}'}}");
        let shards = listen.iter().enumerate().map(shard).collect::<Vec<_>>().join(", ");
        std::fs::write(&operate, format!("spool: {{shards: [{shards}], tls: {tls}}}\n"))?;
        Ok(Self { gateways, delivers, spools, operate, links, disk, _folder: folder })
    }

    /// Waits until all are connected to the broker and Redis.
    pub fn wait_connected(&self) {
        for process in self.gateways.iter().chain(&self.delivers).chain(&self.spools) {
            process.wait_connected(&["broker_publisher", "redis"]);
        }
        for deliver in &self.delivers {
            deliver.wait_connected(&["broker_consumer"]);
        }
    }

    /// What the shards hold, a line each.
    #[must_use]
    pub fn held(&self) -> String {
        let list = |spool: &Gateway| list(&spool.data().join("spool"), &Filter::default(), 0, 1000).unwrap_or_default();
        let line = |at: usize, one: Listed| {
            let Listed { row, conversation, id, sequence, state, attempts, due_ms, last_answer, .. } = one;
            format!("spool-{at} {row} {conversation} {sequence} {id} {state:?} {attempts} {due_ms} {last_answer:?}")
        };
        let all = self.spools.iter().enumerate();
        all.flat_map(|(at, spool)| list(spool).into_iter().map(move |one| line(at, one))).collect::<Vec<_>>().join("\n")
    }

    /// What all of them printed.
    #[must_use]
    pub fn printed(&self) -> String {
        let all = self.gateways.iter().chain(&self.delivers).chain(&self.spools);
        all.map(Gateway::printed).collect::<Vec<_>>().join("\n--\n")
    }

    /// Writes what each of them printed into a folder, a file each.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep_logs(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (role, processes) in [("gateway", &self.gateways), ("deliver", &self.delivers), ("spool", &self.spools)] {
            for (at, process) in processes.iter().enumerate() {
                std::fs::write(folder.join(format!("{role}-{at}.log")), process.printed())?;
            }
        }
        Ok(())
    }
}
