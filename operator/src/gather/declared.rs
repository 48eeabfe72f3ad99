//! An object of one of the four kinds, read as far as it can be read.
//!
//! A field that cannot be read spoils as little as possible: the smallest block that stands for itself is
//! taken out and named in `broken`; what is left is read. Compile decides what a broken block costs.

use policy::names::Kind;
use policy::problem::{Problem, Problems, Severity};
use policy::settings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Meta, Raw, schema};

/// What a Tenant is known by to others: were it read without one of these, another tenant could take what is its own.
const IDENTITY: [&str; 3] = ["spec.namespaces", "spec.hostnames", "spec.identifiers"];

/// Lists of a Tenant's methods: one that cannot be read leaves the others good.
const METHODS: &[&str] = &["jwt", "introspection", "apiKeys", "mutualTLS"];

/// What was written, as JSON: the tree that it stands for is ten times as large, and asked for seldom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(Box<str>);

impl Written {
    /// Equal trees are equal texts: names are in order.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// The tree.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The same as a type that is read from it; nothing where it cannot be.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }
}

/// An object with its spec.
#[derive(Clone, Debug)]
pub struct Declared<S> {
    /// What every object has.
    pub meta: Meta,
    /// What it says; `None` when more than single blocks could not be read.
    pub spec: Option<S>,
    /// The blocks that could not be read, as paths: `spec.rules[0].retry`.
    pub broken: Vec<String>,
    /// The names of methods that could not be read.
    pub broken_methods: Vec<String>,
    /// The tenant that it names.
    pub tenant: Option<Box<str>>,
    /// All of it.
    pub written: Written,
    /// What is wrong with it so far.
    pub problems: Vec<Problem>,
}

impl<S: DeserializeOwned> Declared<S> {
    /// Reads an object; `problems` are those found while its text was read.
    #[must_use]
    pub fn read(raw: Raw, mut problems: Vec<Problem>) -> Self {
        let Raw { meta, mut value } = raw;
        let (object, written) = (meta.object.clone(), Written::of(&value));
        let tenant = value.pointer("/spec/tenant").and_then(Value::as_str).map(Box::from);
        match value.get("spec") {
            Some(spec) => schema::check(object.kind, spec, &mut Problems::of(&object, &mut problems).at("spec")),
            None => Problems::of(&object, &mut problems).at("spec").invalid("is missing", "add it"),
        }
        let (broken, broken_methods) = (Vec::new(), Vec::new());
        let mut declared = Self { meta, spec: None, broken, broken_methods, tenant, written, problems };
        let errors = declared.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let blocks: Option<Vec<String>> = errors.map(|problem| block(object.kind, &problem.field)).collect();
        if let Some(mut blocks) = blocks {
            blocks.sort_unstable();
            blocks.dedup();
            declared.decode(value.get_mut("spec").map(Value::take).unwrap_or_default(), blocks);
        }
        declared
    }

    fn decode(&mut self, mut spec: Value, blocks: Vec<String>) {
        // From the back, so that an item's removal moves no other that is still to go.
        for path in blocks.iter().rev() {
            let taken = take(&mut spec, path);
            if path.ends_with(".backendRefs") {
                put_empty_list(&mut spec, path);
            }
            if let Some(taken) = taken {
                let name = taken.get("name").and_then(Value::as_str).map(str::to_owned);
                if is_method(path) {
                    self.broken_methods.extend(name);
                }
            }
        }
        self.broken = blocks;
        match serde_json::from_value(spec) {
            Ok(spec) => self.spec = Some(spec),
            Err(error) => {
                let object = &self.meta.object;
                let mut problems = Problems::of(object, &mut self.problems);
                problems.at("spec").invalid(error.to_string(), "correct the field that it names");
            }
        }
    }
}

fn is_method(path: &str) -> bool {
    METHODS.iter().any(|list| path.starts_with(&format!("spec.authentication.{list}[")))
}

/// The smallest block around a field that can be taken out, as a path from the root of the object.
fn block(kind: Kind, field: &str) -> Option<String> {
    let path = settings::block(kind, field)?.path;
    match kind {
        Kind::Tenant => Some(path).filter(|path| !IDENTITY.contains(&path.as_str())),
        Kind::Route | Kind::WebhookSource => Some(path),
        // Its parts mean nothing without each other.
        Kind::RateLimitPolicy
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Namespace
        | Kind::ReferenceGrant => None,
    }
}

/// Takes the value at a path out of `spec`.
fn take(spec: &mut Value, path: &str) -> Option<Value> {
    let mut at = spec;
    let path = path.strip_prefix("spec.")?;
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    for part in parents.split('.').filter(|part| !part.is_empty()) {
        at = step(at, part)?;
    }
    let (name, index) = split(last);
    let map = at.as_object_mut()?;
    match index {
        None => map.remove(name),
        Some(index) => {
            let list = map.get_mut(name)?.as_array_mut()?;
            (index < list.len()).then(|| list.remove(index))
        }
    }
}

/// Puts an empty list where a list has to be for the rest to be read.
fn put_empty_list(spec: &mut Value, path: &str) {
    let parent = path.strip_prefix("spec.").and_then(|path| path.rsplit_once('.'));
    if let Some((parent, name)) = parent
        && let Some(map) = step(spec, parent).and_then(Value::as_object_mut)
    {
        map.insert(name.to_owned(), Value::Array(Vec::new()));
    }
}

fn step<'v>(value: &'v mut Value, part: &str) -> Option<&'v mut Value> {
    let (name, index) = split(part);
    let inner = value.get_mut(name)?;
    match index {
        None => Some(inner),
        Some(index) => inner.get_mut(index),
    }
}

/// `rules[3]` is `rules` and 3.
fn split(part: &str) -> (&str, Option<usize>) {
    match part.split_once('[') {
        None => (part, None),
        Some((name, rest)) => (name, rest.trim_end_matches(']').parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use policy::names::ObjectRef;
    use policy::route::RouteSpec;
    use policy::tenant::TenantSpec;
    use serde_json::json;

    use super::*;

    fn read<S: DeserializeOwned>(kind: Kind, value: Value) -> Declared<S> {
        let object = ObjectRef::new(kind, "acme", "x");
        let meta = Meta { object, uid: Arc::from("1"), created_secs: 0, generation: None, labels: Default::default() };
        Declared::read(Raw { meta, value }, Vec::new())
    }

    #[test]
    fn a_block_that_cannot_be_read_leaves_the_others_good() {
        let rule =
            json!({"backendRefs": [{"name": "a", "port": 80}], "addresses": {"denyy": []}, "retry": {"attempts": 1}});
        let route = read::<RouteSpec>(Kind::Route, json!({"spec": {"rules": [rule], "cors": 3}}));
        assert_eq!(route.broken, ["spec.cors", "spec.rules[0].addresses"]);
        let spec = route.spec.unwrap();
        assert!(spec.cors.is_none() && spec.rules[0].addresses.is_none() && spec.rules[0].retry.is_some());
    }

    #[test]
    fn a_method_that_cannot_be_read_is_named() {
        let good = json!({"name": "b", "secretSelector": {"matchLabels": {"a": "b"}}});
        let bad = |name: &str| json!({"name": name, "secretSelector": {"labels": {"a": "b"}}});
        let methods = json!({"apiKeys": [bad("a"), good, bad("c")]});
        let spec = json!({"spec": {"namespaces": {"names": ["acme"]}, "authentication": methods}});
        let tenant = read::<TenantSpec>(Kind::Tenant, spec);
        assert_eq!(tenant.broken_methods, ["c", "a"]);
        assert_eq!(tenant.spec.unwrap().authentication.unwrap().api_keys[0].name, "b");
    }

    #[test]
    fn what_stands_for_more_than_itself_spoils_the_object() {
        let hosts = json!({"spec": {"namespaces": {"names": ["acme"]}, "hostnames": "a.example"}});
        assert!(read::<TenantSpec>(Kind::Tenant, hosts).spec.is_none());
        let ceilings = json!({"spec": {"namespaces": {"names": ["acme"]}, "ceilings": {"maxBodySize": "4 MB"}}});
        let tenant = read::<TenantSpec>(Kind::Tenant, ceilings);
        assert!(tenant.spec.is_some() && tenant.broken == ["spec.ceilings"]);
        let route = read::<RouteSpec>(Kind::Route, json!({"spec": {"rules": [{"backendRefs": [{"name": 5}]}]}}));
        assert_eq!(route.broken, ["spec.rules[0].backendRefs"]);
        assert!(route.spec.unwrap().rules[0].backend_refs.is_empty());
        assert!(read::<RouteSpec>(Kind::Route, json!({"spec": {"rules": [5]}})).spec.is_none());
        assert!(read::<RouteSpec>(Kind::Route, json!({})).spec.is_none());
    }
}
