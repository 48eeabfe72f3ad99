//! An object as the API server has it, whatever it says.
//!
//! kube's `DeserializeGuard` sets aside what cannot be read as its kind. Here nothing can fail to be read: an object
//! is taken as it is, and `Declared` says later which of its blocks cannot be used, so that one bad object neither
//! stops a watch nor disappears.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use kube::Resource;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::core::DynamicResourceScope;
use policy::names::{Kind, ObjectRef};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Meta, Raw};

/// An object of any kind.
#[derive(Clone)]
pub struct Observed {
    metadata: ObjectMeta,
    value: Value,
}

/// It may be a Secret, so only its name is shown.
impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observed({:?}/{:?})", self.metadata.namespace, self.metadata.name)
    }
}

impl<'de> Deserialize<'de> for Observed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
        // Who wrote which field is long, and nobody here asks.
        let metadata = metadata.map(|metadata| {
            metadata.remove("managedFields");
            let mut short = metadata.clone();
            short.remove("annotations");
            serde_json::from_value(Value::Object(short)).unwrap_or_default()
        });
        Ok(Self { metadata: metadata.unwrap_or_default(), value })
    }
}

impl Resource for Observed {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(of)
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(of)
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(of)
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Observed {
    /// Which object it is.
    #[must_use]
    pub fn object(&self, kind: Kind) -> ObjectRef {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        ObjectRef::new(kind, namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }

    /// What the API server calls this state of it.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    /// What users said, and what was said of it before. A write of a status changes only the second.
    #[must_use]
    pub fn parts(self, kind: Kind) -> (Raw, Value) {
        let object = self.object(kind);
        let Self { metadata, mut value } = self;
        let status = value.as_object_mut().and_then(|value| value.remove("status")).unwrap_or_default();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        let meta = Meta {
            uid: Arc::from(metadata.uid.unwrap_or_default()),
            created_secs: created.unwrap_or_default(),
            generation: metadata.generation,
            labels: metadata.labels.unwrap_or_default(),
            object,
        };
        (Raw { meta, value }, status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_fails_to_be_read_and_a_status_is_apart() {
        let odd = json!({"metadata": {"name": "r", "namespace": "acme", "labels": {"a": "b"}, "resourceVersion": "5",
            "managedFields": [{}]}, "spec": 7, "status": {"conditions": []}});
        let observed: Observed = serde_json::from_value(odd).unwrap();
        assert_eq!(observed.resource_version(), Some("5"));
        let (raw, status) = observed.parts(Kind::Route);
        assert_eq!(raw.meta.object.to_string(), "Route acme/r");
        assert_eq!(raw.value, json!({"metadata": {"name": "r", "namespace": "acme", "labels": {"a": "b"}}, "spec": 7}));
        assert_eq!(status, json!({"conditions": []}));
        assert!(serde_json::from_value::<Observed>(json!({"metadata": []})).is_ok());
    }
}
