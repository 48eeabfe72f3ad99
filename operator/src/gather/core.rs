//! Kubernetes' own kinds, as far as a gateway reads them. Fields that it does not read may be anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use policy::problem::Problems;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Meta, Raw};

/// A Secret: its keys with their bytes.
#[derive(Clone, Debug)]
pub struct Secret {
    /// What every object has.
    pub meta: Meta,
    /// Its data.
    pub data: BTreeMap<String, policy::secret::Secret>,
}

/// A ConfigMap: its keys with their texts.
#[derive(Clone, Debug)]
pub struct ConfigMap {
    /// What every object has.
    pub meta: Meta,
    /// Its data.
    pub data: BTreeMap<String, Arc<str>>,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What every object has.
    pub meta: Meta,
    /// Whether it is only another name for a host outside.
    pub external_name: bool,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name; empty when it has none.
    #[serde(default)]
    pub name: String,
    /// The number by which it is referred to.
    pub port: u16,
    /// The pod's port.
    pub target_port: Option<PortRef>,
}

/// A pod's port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

/// An EndpointSlice.
#[derive(Clone, Debug)]
pub struct EndpointSlice {
    /// What every object has.
    pub meta: Meta,
    /// The Service whose endpoints these are.
    pub service: String,
    /// Its ports.
    pub ports: Vec<EndpointPort>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EndpointPort {
    /// The name of the Service port that it serves; empty when it has none.
    #[serde(default)]
    pub name: String,
    /// The pod's port.
    pub port: u16,
}

/// An endpoint of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Its conditions.
    #[serde(default)]
    pub conditions: EndpointConditions,
}

/// The conditions of an endpoint; unknown means ready (Kubernetes API, EndpointConditions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EndpointConditions {
    /// Ready for new requests.
    pub ready: Option<bool>,
    /// Able to serve, terminating or not.
    pub serving: Option<bool>,
    /// On its way out.
    pub terminating: Option<bool>,
}

/// A ReferenceGrant (Gateway API).
#[derive(Clone, Debug)]
pub struct ReferenceGrant {
    /// What every object has.
    pub meta: Meta,
    /// Who may refer.
    pub from: Vec<GrantFrom>,
    /// To what.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GrantFrom {
    /// The referrer's API group.
    pub group: String,
    /// The referrer's kind.
    pub kind: String,
    /// The referrer's namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GrantTo {
    /// The API group; empty for Secrets, ConfigMaps and Services.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The name; every one when left out.
    pub name: Option<String>,
}

/// A field that is there. Null means that it is not, as the API server writes empty lists.
fn there<'r>(raw: &'r Raw, field: &str) -> Option<&'r Value> {
    raw.value.get(field).filter(|value| !value.is_null())
}

/// The value without members that are null; lists keep their places.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Reads the part of an object that matters, or records why it cannot be read. Not for Secrets: a message may
/// quote a value.
fn part<T: DeserializeOwned>(raw: &Raw, field: &str, problems: &mut Problems<'_>) -> Option<T> {
    let value = without_nulls(there(raw, field)?);
    match serde_path_to_error::deserialize::<_, T>(value) {
        Ok(part) => Some(part),
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { field.to_owned() } else { format!("{field}.{path}") };
            problems.at(field).invalid(error.inner().to_string(), "correct it as the Kubernetes API has it");
            None
        }
    }
}

impl Secret {
    /// Reads `data` and `stringData`, which wins as in the API server.
    pub fn read(raw: &Raw, problems: &mut Problems<'_>) -> Option<Self> {
        let mut data = BTreeMap::new();
        for (key, value) in raw.value.get("data").and_then(|data| data.as_object()).into_iter().flatten() {
            let decoded =
                value.as_str().and_then(|text| base64::engine::general_purpose::STANDARD.decode(text.trim()).ok());
            match decoded {
                Some(bytes) => {
                    data.insert(key.clone(), policy::secret::Secret::new(bytes));
                }
                None => {
                    let mut problems = problems.at("data");
                    problems.at(key).invalid("is not base64", "encode it, or move it to stringData as it is");
                }
            }
        }
        for (key, value) in raw.value.get("stringData").and_then(|data| data.as_object()).into_iter().flatten() {
            match value.as_str() {
                Some(text) => {
                    data.insert(key.clone(), policy::secret::Secret::new(text.as_bytes().to_vec()));
                }
                None => {
                    let mut problems = problems.at("stringData");
                    problems.at(key).invalid("is not a text", "put it in quotes");
                }
            }
        }
        Some(Self { meta: raw.meta.clone(), data })
    }
}

impl ConfigMap {
    /// Reads `data`.
    pub fn read(raw: &Raw, problems: &mut Problems<'_>) -> Option<Self> {
        let data = match there(raw, "data") {
            None => BTreeMap::new(),
            Some(_) => part(raw, "data", problems)?,
        };
        Some(Self { meta: raw.meta.clone(), data })
    }
}

impl Service {
    /// Reads type and ports.
    pub fn read(raw: &Raw, problems: &mut Problems<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default, rename = "type")]
            type_: String,
            #[serde(default)]
            ports: Vec<ServicePort>,
        }
        let Spec { type_, ports } = part(raw, "spec", problems)?;
        Some(Self { meta: raw.meta.clone(), external_name: type_ == "ExternalName", ports })
    }
}

impl EndpointSlice {
    /// Reads the Service's name, ports and endpoints.
    pub fn read(raw: &Raw, problems: &mut Problems<'_>) -> Option<Self> {
        const LABEL: &str = "kubernetes.io/service-name";
        let Some(service) = raw.meta.labels.get(LABEL).cloned() else {
            problems.at("metadata.labels").invalid(
                format!("has no label {LABEL}, so it belongs to no Service"),
                format!("add the label {LABEL} with the Service's name"),
            );
            return None;
        };
        let address_type = raw.value.get("addressType").and_then(|value| value.as_str()).unwrap_or("IPv4");
        if !matches!(address_type, "IPv4" | "IPv6") {
            problems
                .at("addressType")
                .invalid(format!("{address_type} is not forwarded to"), "use addresses of type IPv4 or IPv6");
            return None;
        }
        let ports = match there(raw, "ports") {
            None => Vec::new(),
            Some(_) => part(raw, "ports", problems)?,
        };
        let endpoints = match there(raw, "endpoints") {
            None => Vec::new(),
            Some(_) => part(raw, "endpoints", problems)?,
        };
        Some(Self { meta: raw.meta.clone(), service, ports, endpoints })
    }
}

impl ReferenceGrant {
    /// Reads who may refer to what.
    pub fn read(raw: &Raw, problems: &mut Problems<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Spec {
            from: Vec<GrantFrom>,
            to: Vec<GrantTo>,
        }
        let Spec { from, to } = part(raw, "spec", problems)?;
        Some(Self { meta: raw.meta.clone(), from, to })
    }
}
