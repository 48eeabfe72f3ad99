//! The settings of an installation: one file, beside the manifests, for what is no resource.
//!
//! Broker, Redis, shards: who runs the installation sets them, and tenants never see them.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataplane::event::broker::{Address, BrokerSettings, Credentials};
use dataplane::event::claim::RedisSettings;
use dataplane::event::shards::{Identity, Role};
use dataplane::event::{BrokerPath, Delivers, ShardPlace};
use policy::units::{DurationText, SizeText};
use policy::upstream::ServicePort;
use serde::Deserialize;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file.
    #[error("could not read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// What is written in it.
    #[error("{file}: {1}", file = .0.display())]
    Invalid(PathBuf, String),
    /// A role that needs a broker has none.
    #[error(
        "the role {0} needs a broker: name a file with --settings that has a `broker` block, or use the role all, where the event store itself is the queue"
    )]
    NoBroker(&'static str),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    broker: Option<Broker>,
    redis: Option<Redis>,
    #[serde(default)]
    spool: Spool,
    #[serde(default)]
    deliver: Deliver,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Broker {
    addresses: Vec<String>,
    user: String,
    password_file: PathBuf,
    ca_file: Option<PathBuf>,
    vhost: Option<String>,
    prefix: Option<String>,
    partitions: Option<NonZeroU16>,
    prefetch: Option<NonZeroU16>,
    confirm_timeout: Option<String>,
    queue_max_bytes: Option<String>,
    replicas: Option<NonZeroU8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Switch {
    Enabled,
    #[default]
    Disabled,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Redis {
    addresses: Vec<String>,
    #[serde(default)]
    cluster: Switch,
    user: Option<String>,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    key_prefix: Option<String>,
    max_ids_per_tenant: Option<u64>,
    timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spool {
    name: Option<String>,
    listen: Option<SocketAddr>,
    #[serde(default)]
    shards: Vec<Shard>,
    tls: Option<Tls>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shard {
    name: String,
    address: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tls {
    ca_file: PathBuf,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Deliver {
    name: Option<String>,
    #[serde(default)]
    delivers: Vec<String>,
    service: Option<DeliverService>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeliverService {
    namespace: String,
    name: String,
    port: u16,
}

/// Who a process is, as the command line says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// It follows an operator.
    pub follows: bool,
}

/// The name of a shard or a deliver when there is only one.
const ONLY_SHARD: &str = "spool-0";
const ONLY_DELIVER: &str = "deliver-0";

/// Reads the settings for a process with a role; none means that the event store itself is the queue. One that its
/// settings do not name has its own name: so all of a role can share a file.
///
/// # Errors
/// [`SettingsError`]
pub fn read(path: Option<&Path>, role: Role, own: Own<'_>) -> Result<Option<BrokerPath>, SettingsError> {
    let no_broker = || if role == Role::All { Ok(None) } else { Err(SettingsError::NoBroker(role.word())) };
    let Some(path) = path else { return no_broker() };
    let invalid = |problem: String| SettingsError::Invalid(path.to_owned(), problem);
    let text = std::fs::read_to_string(path).map_err(|cause| SettingsError::Read(path.to_owned(), cause))?;
    let file: File = serde_yaml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let File { broker, redis, spool, deliver } = file;
    let Some(broker) = broker else {
        if redis.is_some() {
            return Err(invalid("redis: without a `broker` block nobody asks it; add one, or leave it out".to_owned()));
        }
        return no_broker();
    };
    let broker = broker_settings(broker).map_err(invalid)?;
    let redis = redis.map(redis_settings).transpose().map_err(invalid)?;
    let Spool { name, listen, shards, tls } = spool;
    if listen.is_some() && tls.is_none() {
        return Err(invalid(
            "spool.tls: a shard that listens needs a certificate; name caFile, certificateFile, keyFile".to_owned(),
        ));
    }
    let shard: Arc<str> = name.as_deref().or(own.name.filter(|_| role == Role::Spool)).unwrap_or(ONLY_SHARD).into();
    let place = |shard: Shard| ShardPlace { name: shard.name.into(), address: shard.address };
    let mut shards: Vec<_> = shards.into_iter().map(place).collect();
    if shards.is_empty() {
        if !role.keeps() {
            let problem = "spool.shards: this role holds no shard, so name at least one with its address";
            return Err(invalid(problem.to_owned()));
        }
        shards.push(ShardPlace { name: shard.clone(), address: None });
    }
    places_are_sound(&shards, listen, role).map_err(invalid)?;
    let identity =
        tls.map(|Tls { ca_file, certificate_file, key_file }| Identity { ca_file, certificate_file, key_file });
    let (deliver, delivers) = delivers(deliver, role, own).map_err(invalid)?;
    Ok(Some(BrokerPath { role, broker, redis, shards, shard, listen, identity, deliver, delivers }))
}

/// This deliver's name among the delivers, and those.
fn delivers(from: Deliver, role: Role, own: Own<'_>) -> Result<(Arc<str>, Delivers), String> {
    let Deliver { name, delivers, service } = from;
    let delivering = matches!(role, Role::Deliver | Role::All);
    if let Some(DeliverService { namespace, name: service, port }) = service {
        if name.is_some() || !delivers.is_empty() {
            return Err("deliver.service: leave name and delivers out: who lives is known by its address".to_owned());
        }
        if delivering && !own.follows {
            return Err("deliver.service: only an operator tells who lives: name it with --operator, or list the delivers with deliver.delivers".to_owned());
        }
        let address = match own.address {
            Some(address) => address.to_string(),
            None if delivering => {
                return Err("deliver.service: say this process's own address with --address".to_owned());
            }
            None => String::new(),
        };
        let service = ServicePort { namespace: namespace.into(), name: service.into(), port };
        return Ok((address.into(), Delivers::Live(service)));
    }
    let deliver = name.as_deref().or(own.name.filter(|_| role == Role::Deliver)).unwrap_or(ONLY_DELIVER);
    let deliver: Arc<str> = deliver.into();
    let mut delivers: Vec<Arc<str>> = delivers.into_iter().map(Arc::from).collect();
    if delivers.is_empty() {
        delivers.push(deliver.clone());
    }
    if delivering && !delivers.contains(&deliver) {
        return Err(format!("deliver.delivers: must name this one too, {deliver}"));
    }
    Ok((deliver, Delivers::Named(delivers)))
}

/// The shards that a settings file names, or those of them that are wanted, and the certificate to ask them with.
///
/// # Errors
/// [`SettingsError`]
pub fn shards(path: &Path, wanted: &[String]) -> Result<(Vec<(String, String)>, Identity), SettingsError> {
    let invalid = |problem: String| SettingsError::Invalid(path.to_owned(), problem);
    let text = std::fs::read_to_string(path).map_err(|cause| SettingsError::Read(path.to_owned(), cause))?;
    let file: File = serde_yaml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let Spool { shards, tls, .. } = file.spool;
    let Some(Tls { ca_file, certificate_file, key_file }) = tls else {
        return Err(invalid(
            "spool.tls: shards are asked with a certificate; name caFile, certificateFile, keyFile".into(),
        ));
    };
    let mut found = Vec::new();
    for Shard { name, address } in shards {
        if wanted.is_empty() || wanted.contains(&name) {
            let address = address.ok_or_else(|| invalid(format!("spool.shards: {name} has no address")))?;
            found.push((name, address));
        }
    }
    if let Some(unknown) = wanted.iter().find(|name| !found.iter().any(|(found, _)| found == *name)) {
        return Err(invalid(format!("spool.shards: none is named {unknown}")));
    }
    if found.is_empty() {
        return Err(invalid("spool.shards: name at least one with its address".to_owned()));
    }
    Ok((found, Identity { ca_file, certificate_file, key_file }))
}

fn places_are_sound(shards: &[ShardPlace], listen: Option<SocketAddr>, role: Role) -> Result<(), String> {
    if role == Role::Spool && listen.is_none() {
        return Err("spool.listen: a shard of its own must be reached; say where it listens".to_owned());
    }
    for (at, one) in shards.iter().enumerate() {
        if shards.iter().skip(at + 1).any(|other| other.name == one.name) {
            return Err(format!("spool.shards: two are named {}; each has a name of its own, for ever", one.name));
        }
        if one.address.as_ref().is_some_and(|address| !address.starts_with("https://")) {
            return Err(format!("spool.shards: write the address of {} as https://HOST:PORT", one.name));
        }
    }
    Ok(())
}

fn duration(field: &str, text: Option<&String>) -> Result<Option<std::time::Duration>, String> {
    let parsed = text.map(|text| DurationText::parse(text).map(|parsed| parsed.duration())).transpose();
    parsed.map_err(|error| format!("{field}: {error}"))
}

fn broker_settings(from: Broker) -> Result<BrokerSettings, String> {
    let address = |text: &String| text.parse::<Address>().map_err(|error| format!("broker.addresses: {error}"));
    let addresses = from.addresses.iter().map(address).collect::<Result<_, _>>()?;
    let credentials = Credentials { user: from.user, password_file: from.password_file };
    let mut settings = BrokerSettings::new(addresses, credentials);
    settings.ca_file = from.ca_file;
    settings.vhost = from.vhost.unwrap_or(settings.vhost);
    settings.prefix = from.prefix.unwrap_or(settings.prefix);
    settings.partitions = from.partitions.unwrap_or(settings.partitions);
    settings.prefetch = from.prefetch.unwrap_or(settings.prefetch);
    settings.replicas = from.replicas;
    let confirm = duration("broker.confirmTimeout", from.confirm_timeout.as_ref())?;
    settings.confirm_timeout = confirm.unwrap_or(settings.confirm_timeout);
    if let Some(text) = from.queue_max_bytes {
        let size = SizeText::parse(&text).map_err(|error| format!("broker.queueMaxBytes: {error}"))?;
        settings.queue_max_bytes = size.bytes();
    }
    Ok(settings)
}

fn redis_settings(from: Redis) -> Result<RedisSettings, String> {
    let mut settings = RedisSettings::new(from.addresses);
    settings.cluster = from.cluster == Switch::Enabled;
    settings.user = from.user;
    settings.password_file = from.password_file;
    settings.ca_file = from.ca_file;
    settings.key_prefix = from.key_prefix.unwrap_or(settings.key_prefix);
    settings.max_ids_per_tenant = from.max_ids_per_tenant.unwrap_or(settings.max_ids_per_tenant);
    let timeout = duration("redis.timeout", from.timeout.as_ref())?;
    settings.timeout = timeout.unwrap_or(settings.timeout);
    Ok(settings)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn written(text: &str, role: Role) -> Result<Option<BrokerPath>, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        std::fs::write(&path, text).unwrap();
        read(Some(&path), role, Own::default())
    }

    const BROKER: &str =
        "broker: {addresses: [amqp://rabbit:5672], user: postern, passwordFile: password, partitions: 16}\n";

    #[test]
    fn one_process_with_a_broker_needs_no_more_than_where_it_is() {
        let path = written(BROKER, Role::All).unwrap().unwrap();
        assert_eq!((path.broker.partitions.get(), path.shards.len(), path.redis.is_none()), (16, 1, true));
        assert!(written("", Role::All).is_err() || written("spool: {}", Role::All).unwrap().is_none());
    }

    #[test]
    fn all_of_a_role_can_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        let more = "spool:
  listen: 0.0.0.0:7443
  shards: [{name: spool-0, address: 'https://a:1'}, {name: spool-1, address: 'https://b:1'}]
  tls: {caFile: ca, certificateFile: certificate, keyFile: key}
deliver: {delivers: [deliver-0, deliver-1]}
";
        std::fs::write(&path, format!("{BROKER}{more}")).unwrap();
        let named = |role, name| {
            let own = Own { name: Some(name), ..Own::default() };
            read(Some(&path), role, own).map(Option::unwrap)
        };
        assert_eq!(&*named(Role::Spool, "spool-1").unwrap().shard, "spool-1");
        assert_eq!(&*named(Role::Deliver, "deliver-1").unwrap().deliver, "deliver-1");
        assert!(named(Role::Gateway, "gateway-5d9f").is_ok(), "a gateway is in no list");
        let stranger = named(Role::Deliver, "deliver-2").unwrap_err().to_string();
        assert!(stranger.contains("deliver.delivers") && stranger.contains("deliver-2"), "{stranger}");
    }

    #[test]
    fn delivers_that_live_are_known_by_their_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        let shards = "spool: {shards: [{name: spool-0, address: 'https://a:1'}], tls: {caFile: a, certificateFile: b, keyFile: c}}\n";
        let service = "service: {namespace: postern, name: deliver, port: 9901}";
        let as_written = |more: &str, own| {
            std::fs::write(&path, format!("{BROKER}{shards}deliver: {{{service}{more}}}\n")).unwrap();
            read(Some(&path), Role::Deliver, own).map(Option::unwrap)
        };
        let own = Own { name: Some("deliver-x"), address: Some([10, 0, 0, 7].into()), follows: true };
        let path = as_written("", own).unwrap();
        assert_eq!((&*path.deliver, path.deliver_service().unwrap().port), ("10.0.0.7", 9901));
        let said = |more, own| as_written(more, own).unwrap_err().to_string();
        assert!(said("", Own { address: None, ..own }).contains("--address"));
        assert!(said("", Own { follows: false, ..own }).contains("--operator"));
        assert!(said(", delivers: [a]", own).contains("leave name and delivers out"));
    }

    #[test]
    fn what_cannot_work_is_said_with_its_field() {
        let said = |text: &str, role| written(text, role).unwrap_err().to_string();
        assert!(said(BROKER, Role::Gateway).contains("spool.shards"));
        assert!(said("spool: {}", Role::Deliver).contains("needs a broker"));
        assert!(said("redis: {addresses: [redis://redis]}", Role::All).contains("broker"));
        assert!(said(&BROKER.replace("amqp:", "http:"), Role::All).contains("broker.addresses"));
        assert!(said(&format!("{BROKER}spool: {{listen: 127.0.0.1:1}}"), Role::All).contains("spool.tls"));
        assert!(said(&format!("{BROKER}deliver: {{delivers: [other]}}"), Role::All).contains("deliver.delivers"));
        assert!(
            said(&format!("{BROKER}redis: {{addresses: [redis://r], timeout: soon}}"), Role::All)
                .contains("redis.timeout")
        );
        assert!(said("brokers: {}", Role::All).contains("brokers"));
    }
}
