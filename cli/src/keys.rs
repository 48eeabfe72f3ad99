//! `postern keys create`: a new API key. Its Secret is written, the key itself is printed once.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use policy::api_key::{GeneratedKey, KEY_RANDOM_BYTES, generate};
use policy::units::DurationText;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use crate::out;

/// What can be done with keys.
#[derive(clap::Subcommand, Debug)]
pub enum KeysCommand {
    /// Makes a key: writes its Secret, prints the key once.
    #[command(after_help = "Examples:
  postern keys create initech --namespace acme --label postern.dev/api-key=partner --role partner > initech.yaml
  postern keys create initech --namespace acme --expires-in 180d --out initech.yaml

The Secret goes to standard output or --out, the key to standard error: it is shown nowhere again.")]
    Create(CreateArgs),
}

/// What a new key is to be.
#[derive(clap::Args, Debug)]
pub struct CreateArgs {
    /// The caller's name in logs, limits and audit.
    id: String,
    /// The namespace of the Secret: the one that the tenant's `secretSelector` names.
    #[arg(long)]
    namespace: String,
    /// The Secret's name; `api-key-<id>` when left out.
    #[arg(long)]
    name: Option<String>,
    /// A label of the Secret, as `key=value`; what the tenant's `secretSelector` asks for.
    #[arg(long = "label", value_parser = label, value_name = "KEY=VALUE")]
    labels: Vec<(String, String)>,
    /// A role of the caller; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// For how long the key is good, from now: `12h`, `180d`. For ever when left out.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    expires_in: Option<SignedDuration>,
    /// Writes the Secret to a new file, for its owner only, rather than to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed = DurationText::parse(text).map_err(|error| error.to_string())?;
    SignedDuration::try_from(parsed.duration()).map_err(|error| error.to_string())
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("the system has no random bytes to give")]
    Random,
    #[error("--expires-in reaches beyond the calendar")]
    Expiry(#[source] jiff::Error),
    #[error("could not write {0}")]
    Write(String, #[source] io::Error),
    #[error("could not write the Secret as YAML")]
    Yaml(#[source] serde_json::Error),
}

/// Runs the command.
#[must_use]
pub fn run(command: &KeysCommand) -> ExitCode {
    let KeysCommand::Create(args) = command;
    match create(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

fn create(args: &CreateArgs) -> Result<(), KeysError> {
    let mut random = [0; KEY_RANDOM_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| KeysError::Random)?;
    let key = generate(&random);
    let now = Timestamp::now();
    let expires_at =
        args.expires_in.map(|good_for| now.checked_add(good_for)).transpose().map_err(KeysError::Expiry)?;
    let text = secret(args, &key, now, expires_at)?;
    match &args.out {
        None => out::line(&text),
        Some(path) => {
            let mut options = OpenOptions::new();
            let written = options.write(true).create_new(true).mode(0o600).open(path);
            written
                .and_then(|mut file| writeln!(file, "{text}"))
                .map_err(|error| KeysError::Write(path.display().to_string(), error))?;
        }
    }
    out::note(format_args!("The key, shown this once: {}", key.reveal()));
    Ok(())
}

/// The Secret's text. JSON is YAML, and quotes every text: no id can break out of its place.
fn secret(
    args: &CreateArgs,
    key: &GeneratedKey,
    now: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<String, KeysError> {
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut data = serde_json::Map::new();
    data.insert("id".to_owned(), args.id.as_str().into());
    data.insert("prefix".to_owned(), key.prefix.as_str().into());
    data.insert("sha256".to_owned(), key.sha256_hex().into());
    data.insert("notBefore".to_owned(), time(now).into());
    data.insert("roles".to_owned(), args.roles.join(" ").into());
    if let Some(at) = expires_at {
        data.insert("expiresAt".to_owned(), time(at).into());
    }
    let name = args.name.clone().unwrap_or_else(|| format!("api-key-{}", args.id));
    let labels: serde_json::Map<_, _> = args.labels.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": args.namespace, "labels": labels},
        "type": "postern.dev/api-key",
        "stringData": data,
    });
    serde_json::to_string_pretty(&secret).map_err(KeysError::Yaml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_holds_the_digest_and_never_the_key() {
        let key = generate(&[7; KEY_RANDOM_BYTES]);
        let args = CreateArgs {
            id: "init\"\nech: {}".to_owned(),
            namespace: "acme".to_owned(),
            name: Some("partner".to_owned()),
            labels: vec![("postern.dev/api-key".to_owned(), "partner".to_owned())],
            roles: vec!["a".to_owned(), "b".to_owned()],
            expires_in: None,
            out: None,
        };
        let text = secret(&args, &key, Timestamp::UNIX_EPOCH, None).unwrap();
        assert!(!text.contains(key.reveal()));
        let read: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(read["stringData"]["id"], args.id);
        assert_eq!(read["stringData"]["sha256"], key.sha256_hex());
        assert_eq!(read["stringData"]["notBefore"], "1970-01-01T00:00:00Z");
    }
}
