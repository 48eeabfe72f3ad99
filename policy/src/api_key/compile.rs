//! API-key methods, and the Secrets that hold their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use jiff::Timestamp;

use super::{ApiKeyEntryIr, ApiKeyIr, ApiKeySpec};
use crate::problem::Problems;
use crate::refs::{Refs, SelectedSecret, resolved};
use crate::secret::Secret;

/// The most keys of one method.
pub const MAX_KEYS: usize = 10_000;

/// The most roles of one key.
const MAX_ROLES: usize = 64;

/// Header fields that carry something else.
const TAKEN: &[&str] = &["authorization", "cookie", "host", "content-length", "transfer-encoding", "connection"];

/// The method of a block; `None` when a problem was recorded. A Secret that is no key is left out with a
/// warning: its key opens nothing, and the others go on working.
pub fn compile(spec: &ApiKeySpec, refs: &dyn Refs, mut problems: Problems<'_>) -> Option<ApiKeyIr> {
    let ApiKeySpec { name, header, secret_selector, lookup } = spec;
    let before = problems.errors();
    if lookup.is_some() {
        problems.at("lookup").not_enforced("leave it out, and keep the keys in Secrets that secretSelector names");
    }
    let lower = header.to_ascii_lowercase();
    if HeaderName::from_bytes(lower.as_bytes()).is_err() || TAKEN.contains(&lower.as_str()) {
        problems.at("header").invalid(
            format!("{header:?} cannot carry an API key"),
            "name a header field of its own, such as X-API-Key",
        );
    }
    let mut keys: Vec<ApiKeyEntryIr> = Vec::new();
    if let Some(selector) = secret_selector {
        let mut problems = problems.at("secretSelector");
        let secrets = resolved(refs.secrets(selector), &mut problems).unwrap_or_default();
        if secrets.len() > MAX_KEYS {
            let message = format!("selects {} Secrets; {MAX_KEYS} keys are taken", secrets.len());
            problems.invalid(message, "split the keys over two methods");
        }
        for secret in secrets.iter().take(MAX_KEYS) {
            keys.extend(entry(secret, &mut problems));
        }
        leave_out_repeated(&mut keys, &mut problems);
    } else if lookup.is_none() {
        problems.invalid("names no keys", "add secretSelector: {matchLabels: {...}}");
    }
    let ir = ApiKeyIr { name: name.as_str().into(), header: lower.into(), keys };
    (problems.errors() == before).then_some(ir)
}

/// Two Secrets with one digest would make one key speak for two callers.
fn leave_out_repeated(keys: &mut Vec<ApiKeyEntryIr>, problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<[u8; 32], Arc<str>> = BTreeMap::new();
    keys.retain(|key| match seen.get(&key.sha256) {
        Some(first) => {
            problems.warn(
                format!("the keys {first} and {} have the same sha256; the second is left out", key.id),
                "give each caller a key of its own: postern keys create",
            );
            false
        }
        None => {
            seen.insert(key.sha256, Arc::clone(&key.id));
            true
        }
    });
}

fn entry(secret: &SelectedSecret, problems: &mut Problems<'_>) -> Option<ApiKeyEntryIr> {
    match parse_secret(&secret.data) {
        Ok(entry) => Some(entry),
        Err(wrongs) => {
            let message = format!("{} is left out, its key opens nothing: {}", secret.object, wrongs.join("; "));
            problems.warn(message, "write the Secret as postern keys create does");
            None
        }
    }
}

/// Reads the data of a Secret as one key: `id`, `prefix`, `sha256`, and optionally `notBefore`, `expiresAt`
/// (RFC 3339) and `roles` (separated by commas or spaces). The error is all that is wrong with it, and shows
/// no value but times.
///
/// # Errors
/// What is wrong, one text each.
pub fn parse_secret(data: &BTreeMap<String, Secret>) -> Result<ApiKeyEntryIr, Vec<String>> {
    let mut wrongs = Vec::new();
    let id = required(data, "id", 253, &mut wrongs);
    let prefix = required(data, "prefix", 32, &mut wrongs);
    let hex = required(data, "sha256", 64, &mut wrongs);
    let sha256 = hex.as_deref().and_then(digest_of_hex);
    if hex.is_some() && sha256.is_none() {
        wrongs.push("sha256 is not 64 hexadecimal digits".to_owned());
    }
    let not_before_secs = time(data, "notBefore", &mut wrongs);
    let expires_at_secs = time(data, "expiresAt", &mut wrongs);
    if let (Some(from), Some(until)) = (not_before_secs, expires_at_secs)
        && from >= until
    {
        wrongs.push("expiresAt is not after notBefore".to_owned());
    }
    let roles = text(data, "roles", &mut wrongs).unwrap_or_default();
    let roles: Vec<Arc<str>> =
        roles.split([',', ' ', '\n', '\t', '\r']).filter(|role| !role.is_empty()).map(Arc::from).collect();
    if roles.len() > MAX_ROLES {
        wrongs.push(format!("roles names more than {MAX_ROLES}"));
    }
    match (id, prefix, sha256) {
        (Some(id), Some(prefix), Some(sha256)) if wrongs.is_empty() => {
            Ok(ApiKeyEntryIr { id: id.into(), prefix: prefix.into(), sha256, not_before_secs, expires_at_secs, roles })
        }
        (_, _, _) => Err(wrongs),
    }
}

/// The text of a key without the white space around it: editors and `echo` leave newlines.
fn text(data: &BTreeMap<String, Secret>, name: &str, wrongs: &mut Vec<String>) -> Option<String> {
    let value = data.get(name)?;
    match std::str::from_utf8(value.reveal()) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(_) => {
            wrongs.push(format!("{name} is not UTF-8"));
            None
        }
    }
}

fn required(data: &BTreeMap<String, Secret>, name: &str, max: usize, wrongs: &mut Vec<String>) -> Option<String> {
    let before = wrongs.len();
    match text(data, name, wrongs) {
        Some(text) if text.is_empty() || text.len() > max => {
            wrongs.push(format!("{name} has not 1 to {max} characters"))
        }
        Some(text) if text.chars().any(char::is_control) => wrongs.push(format!("{name} has control characters")),
        Some(text) => return Some(text),
        None if wrongs.len() == before => wrongs.push(format!("{name} is missing")),
        None => {}
    }
    None
}

fn time(data: &BTreeMap<String, Secret>, name: &str, wrongs: &mut Vec<String>) -> Option<i64> {
    let text = text(data, name, wrongs)?;
    match text.parse::<Timestamp>() {
        Ok(time) => Some(time.as_second()),
        Err(_) => {
            wrongs.push(format!("{name} is no time such as 2026-11-01T00:00:00Z"));
            None
        }
    }
}

fn digest_of_hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("api_key", |spec: &ApiKeySpec, refs, problems| compile(spec, refs, problems));
        golden::check_page("api_key", "/authentication/apiKeys/0", |spec: &ApiKeySpec, refs, problems| {
            compile(spec, refs, problems)
        });
    }
}
