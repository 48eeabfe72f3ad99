//! The CustomResourceDefinitions, as they are installed.
//!
//! The derive macro speaks JSON Schema; what the Kubernetes conventions ask for beyond it is added here
//! once for all kinds: whole numbers have signed formats, nothing is nullable, every kind has the same columns.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::rate_limit::RateLimitPolicy;
use crate::route::Route;
use crate::tenant::Tenant;
use crate::webhook_source::WebhookSource;

/// The API group of the four kinds.
pub const GROUP: &str = "postern.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";

/// A definition with the name of the file that holds it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `tenants.postern.dev.yaml`.
    pub file: String,
    /// The CustomResourceDefinition.
    pub body: Value,
}

/// Every definition, in the order of their names.
///
/// # Errors
/// When a derived definition is no JSON, which is a defect of a spec.
pub fn all() -> Result<Vec<Definition>, serde_json::Error> {
    let derived = [RateLimitPolicy::crd(), Route::crd(), Tenant::crd(), WebhookSource::crd()];
    derived.iter().map(|crd| Ok(definition(serde_json::to_value(crd)?))).collect()
}

fn definition(mut body: Value) -> Definition {
    let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.starts_with("ratelimitpolicies.")
        && let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
    {
        // GEP-713: tools find policies by this label.
        metadata.insert("labels".to_owned(), json!({"gateway.networking.k8s.io/policy": "Direct"}));
    }
    if let Some(versions) = body.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                tidy(schema);
            }
            if let Some(version) = version.as_object_mut() {
                version.insert("additionalPrinterColumns".to_owned(), columns());
            }
        }
    }
    Definition { file: format!("{name}.yaml"), body }
}

fn columns() -> Value {
    let condition = |name: &str| {
        json!({
            "name": name,
            "type": "string",
            "jsonPath": format!(".status.conditions[?(@.type==\"{name}\")].status"),
        })
    };
    json!([
        condition("Accepted"),
        condition("Programmed"),
        {"name": "Dataplanes", "type": "string", "jsonPath": ".status.dataplanes"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {
            "name": "Reason",
            "type": "string",
            "priority": 1,
            "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].message",
        },
    ])
}

/// Walks a schema and everything inside it.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("nullable");
    object.remove("title");
    whole_numbers(object);
    if let Some(text) = object.get("description").and_then(Value::as_str) {
        // Line breaks of the source mean nothing to who reads `kubectl explain`.
        let flowing = text.replace('\n', " ");
        object.insert("description".to_owned(), Value::String(flowing));
    }
    // An empty default would make `has()` true for what nobody wrote.
    if object.get("default").is_some_and(|d| d.is_null() || d.as_array().is_some_and(Vec::is_empty)) {
        object.remove("default");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            tidy(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
}

/// Kubernetes knows no unsigned numbers, and reads bounds better without `.0`.
fn whole_numbers(object: &mut Map<String, Value>) {
    if object.get("type").and_then(Value::as_str) != Some("integer") {
        return;
    }
    for bound in ["minimum", "maximum"] {
        if let Some(whole) = object.get(bound).and_then(Value::as_f64).and_then(whole) {
            object.insert(bound.to_owned(), json!(whole));
        }
    }
    let fits = object.get("maximum").and_then(Value::as_i64).is_some_and(|maximum| maximum <= i64::from(i32::MAX));
    object.insert("format".to_owned(), json!(if fits { "int32" } else { "int64" }));
}

/// A bound as a whole number; all of ours are far below 2^53, where the two agree.
fn whole(bound: f64) -> Option<i64> {
    format!("{bound:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema below `schema`, with its path.
    fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, visit);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                walk(&format!("{path}[]"), &schema[inner], visit);
            }
        }
    }

    fn broken_conventions(kind: &str, root: &Value) -> Vec<String> {
        let mut broken = Vec::new();
        walk(kind, root, &mut |path, schema| {
            let has = |key: &str| schema.get(key).is_some();
            let fine = match schema["type"].as_str() {
                Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
                Some("string") => has("maxLength") || has("enum"),
                Some("integer") => has("minimum") && !schema["format"].as_str().unwrap().starts_with('u'),
                Some("object") => has("properties") || has("maxProperties"),
                _ => false,
            };
            if !fine || has("nullable") || has("anyOf") || has("oneOf") || has("$ref") {
                broken.push(format!("{path}: {schema}"));
            }
        });
        broken
    }

    #[test]
    fn every_field_follows_the_kubernetes_conventions() {
        for definition in all().unwrap() {
            let root = definition.body.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
            assert_eq!(broken_conventions(&definition.file, root), Vec::<String>::new());
        }
    }

    #[test]
    fn every_kind_has_a_status_a_category_and_a_short_name() {
        for definition in all().unwrap() {
            let spec = &definition.body["spec"];
            assert_eq!(spec["group"], GROUP);
            assert_eq!(spec["versions"][0]["name"], VERSION);
            assert!(spec["versions"][0]["subresources"]["status"].is_object());
            assert_eq!(spec["names"]["categories"], json!(["postern"]));
            assert_eq!(spec["names"]["shortNames"].as_array().map(Vec::len), Some(1));
        }
    }

    #[test]
    fn every_rule_of_the_api_server_has_a_message() {
        for definition in all().unwrap() {
            let root = definition.body.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
            walk("", root, &mut |path, schema| {
                for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    assert!(rule["message"].is_string(), "{path}: {rule}");
                }
            });
        }
    }
}
