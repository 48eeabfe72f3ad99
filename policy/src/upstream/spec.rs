//! What a user writes for where requests go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Service port or an URL, with its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.name) != has(self.url)", "message": "name either a Service (name, port) or an url"}, {"rule": "has(self.name) == has(self.port)", "message": "a Service needs both name and port; an url has its port inside"}, {"rule": "!has(self.__namespace__) || has(self.name)", "message": "namespace belongs to a Service"}]))]
pub struct BackendSpec {
    /// The Service's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub name: Option<String>,
    /// The Service's namespace; the Route's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The Service's port number (not the pod's).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// An origin in place of a Service: `http://10.0.0.7:8080`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// Its share among the rule's backends; 1 when left out, 0 gets nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000000))]
    pub weight: Option<u32>,
}
