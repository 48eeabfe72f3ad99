//! Manifests from a directory, in place of an API server.
//!
//! Whatever is wrong with one object, or one file, leaves the others as they are. A file that cannot be read
//! is unknown, not empty: what it said before stays.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::names::{Kind, ObjectRef};
use policy::problem::Problems;
use serde_json::Value;

use super::place::{FileProblem, Place, Sources, Text};
use super::yaml::Document;
use super::{Gathered, Meta, Raw, schema, walk, yaml};

/// A directory as it was read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The objects.
    pub gathered: Gathered,
    /// Where they stand.
    pub sources: Sources,
    /// What is wrong with files, and with documents that are no objects.
    pub problems: Vec<FileProblem>,
    /// Objects of kinds that a gateway does not read, and that are left out.
    pub foreign: usize,
    read: BTreeMap<PathBuf, Arc<Content>>,
}

/// One file that could be read.
struct Content {
    text: Arc<Text>,
    documents: Vec<Document>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.text).finish()
    }
}

/// Reads every `*.yaml`, `*.yml` and `*.json` below `dir`; hidden ones are left out. What `previous` knew of a file that
/// cannot be read now stays.
///
/// # Errors
/// [`walk::WalkError`] when the directory itself cannot be read.
pub fn read(dir: &Path, previous: Option<&Files>) -> Result<Files, walk::WalkError> {
    let mut files = Files::default();
    for found in walk::manifests(dir)? {
        let content = match found.text {
            Ok(text) => parse(found.path.clone(), text, &mut files.problems),
            Err(message) => {
                let place = Place::whole(found.path.clone());
                files.problems.push(FileProblem::new(place, message, "make it a readable file of manifests"));
                None
            }
        };
        let before = || previous.and_then(|previous| previous.read.get(&found.path)).cloned();
        if let Some(content) = content.map(Arc::new).or_else(before) {
            files.read.insert(found.path, content);
        }
    }
    for content in files.read.clone().into_values() {
        for document in &content.documents {
            files.document(&content.text, document);
        }
    }
    Ok(files)
}

fn parse(path: PathBuf, text: String, problems: &mut Vec<FileProblem>) -> Option<Content> {
    let text = Arc::new(Text { path, text });
    match yaml::documents(&text.text) {
        Ok(documents) => Some(Content { documents: documents.into_iter().flat_map(unfolded).collect(), text }),
        Err(error) => {
            let place = Place::at(&text, error.at..error.at + 1);
            let help = "correct the YAML; until then the whole file counts as unread";
            problems.push(FileProblem::new(place, error.message, help));
            None
        }
    }
}

/// The items of a `List`, as `kubectl get -o yaml` writes several objects; any other document itself.
fn unfolded(document: Document) -> Vec<Document> {
    let text = |name: &str| document.value.get(name).and_then(Value::as_str);
    let is_list = (text("apiVersion"), text("kind")) == (Some("v1"), Some("List"));
    match document.items().filter(|_| is_list) {
        Some(items) => items,
        None => vec![document],
    }
}

/// What a document says it is.
enum Said {
    Known(Kind),
    /// An object of others; not ours to judge.
    Foreign,
    Wrong(&'static str, String, String),
}

fn kind_of(value: &Value) -> Said {
    use Kind::{
        ConfigMap, EndpointSlice, Namespace, RateLimitPolicy, ReferenceGrant, Route, Secret, Service, Tenant,
        WebhookSource,
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    let known: &[(Kind, &str, &[&str])] = &[
        (Tenant, policy::crd::GROUP, &[policy::crd::VERSION]),
        (Route, policy::crd::GROUP, &[policy::crd::VERSION]),
        (RateLimitPolicy, policy::crd::GROUP, &[policy::crd::VERSION]),
        (WebhookSource, policy::crd::GROUP, &[policy::crd::VERSION]),
        (Secret, "", &["v1"]),
        (ConfigMap, "", &["v1"]),
        (Service, "", &["v1"]),
        (Namespace, "", &["v1"]),
        (EndpointSlice, "discovery.k8s.io", &["v1"]),
        (ReferenceGrant, "gateway.networking.k8s.io", &["v1", "v1beta1"]),
    ];
    if !value.is_object() || (api.is_empty() && kind.is_empty()) {
        let help = "write apiVersion, kind, metadata and spec, or move it out of the directory".to_owned();
        return Said::Wrong("", "is no Kubernetes object".to_owned(), help);
    }
    // Lists of one kind are what the API server answers; `kubectl get` writes `List`.
    let of_known =
        kind.strip_suffix("List").and_then(|item| known.iter().find(|(known, ..)| known.to_string() == item));
    if kind == "List" || of_known.is_some_and(|(_, wanted, _)| *wanted == group) {
        let help = "write `apiVersion: v1`, `kind: List` and whole objects in `items`, or the objects themselves";
        return Said::Wrong("kind", format!("`{kind}` is not read"), help.to_owned());
    }
    let named = known.iter().find(|(known, ..)| known.to_string() == kind);
    match named {
        Some((kind, wanted, versions)) if *wanted == group && versions.contains(&version) => Said::Known(*kind),
        Some((kind, wanted, versions)) if *wanted == group || api.is_empty() => {
            let newest = versions.first().copied().unwrap_or_default();
            let whole = if wanted.is_empty() { newest.to_owned() } else { format!("{wanted}/{newest}") };
            let message = format!("`{api}` is not the version in which {kind} is read");
            Said::Wrong("apiVersion", message, format!("write apiVersion: {whole}"))
        }
        Some(_) | None if group != policy::crd::GROUP => Said::Foreign,
        Some(_) | None => {
            let ours = ["Tenant", "Route", "RateLimitPolicy", "WebhookSource"].map(str::to_owned);
            let help = match schema::nearest(kind, ours.iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("write one of {}", ours.join(", ")),
            };
            Said::Wrong("kind", format!("`{kind}` is no kind of {group}"), help)
        }
    }
}

impl Files {
    fn document(&mut self, text: &Arc<Text>, document: &Document) {
        let kind = match kind_of(&document.value) {
            Said::Known(kind) => kind,
            Said::Foreign => {
                self.foreign += 1;
                return;
            }
            Said::Wrong(field, message, help) => {
                let place = Place::of(text, document, field);
                self.problems.push(FileProblem::new(place, message, help));
                return;
            }
        };
        let mut problems = Vec::new();
        let Some(meta) = self.meta(kind, text, document) else { return };
        if self.sources.contains(&meta.object) {
            let place = Place::of(text, document, "metadata.name");
            let help = "keep one of them; the first one counts, in the order of file names";
            self.problems.push(FileProblem::new(place, format!("{} is declared twice", meta.object), help));
            return;
        }
        self.sources.insert(meta.object.clone(), text, document);
        {
            let mut collector = Problems::of(&meta.object, &mut problems);
            for fault in &document.faults {
                collector.at(&fault.field).invalid(fault.message.clone(), fault.help);
            }
        }
        let raw = Raw { meta, value: document.value.clone() };
        self.gathered.take(raw, problems);
    }

    fn meta(&mut self, kind: Kind, text: &Arc<Text>, document: &Document) -> Option<Meta> {
        let metadata = document.value.get("metadata").unwrap_or(&Value::Null);
        let part = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default();
        let cluster_scoped = matches!(kind, Kind::Tenant | Kind::Namespace);
        let (name, namespace) = (part("name"), if cluster_scoped { "" } else { part("namespace") });
        let missing = match () {
            () if !is_name(name) => Some(("metadata.name", "write a name of a-z, 0-9, '-' and '.'")),
            () if !cluster_scoped && !is_name(namespace) => {
                Some(("metadata.namespace", "write the namespace: files have no current one"))
            }
            () => None,
        };
        if let Some((field, help)) = missing {
            let message = format!("{kind} has no valid {field}");
            self.problems.push(FileProblem::new(Place::of(text, document, field), message, help));
            return None;
        }
        let object = ObjectRef::new(kind, namespace, name);
        let created = part("creationTimestamp").parse::<jiff::Timestamp>();
        let labels = metadata.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        Some(Meta {
            uid: match part("uid") {
                "" => stable_uid(&object),
                uid => Arc::from(uid),
            },
            created_secs: created.map(jiff::Timestamp::as_second).unwrap_or_default(),
            generation: None,
            labels: labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
            object,
        })
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
        })
}

/// Files give no UIDs: the same object has the same one in every run.
fn stable_uid(object: &ObjectRef) -> Arc<str> {
    let digest = ring::digest::digest(&ring::digest::SHA256, object.to_string().as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
