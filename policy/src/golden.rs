//! Golden files: what is given, and what it compiles to or how it is refused. One file a case, named as a rule.
//!
//! `given` is the block as a user writes it; `secrets` and `configMaps` are the Secrets and ConfigMaps that it may
//! name, by `namespace/name`. Then either `compiled` (the IR, and `warned` when there are warnings) or `refused`.
//! `POSTERN_GOLDEN=write cargo test -p policy --features crd golden` writes what follows `given` and
//! those anew; read the difference before you keep it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{Kind, ObjectRef};
use crate::problem::{Problem, Problems, Severity};
use crate::reference::{BackendRef, ConfigMapKeyRef, SecretKeyRef, SecretSelector};
use crate::refs::{Lookup, RefError, Refs, SelectedSecret};
use crate::secret::Secret;
use crate::upstream::ServicePort;

/// The namespace that a reference means when it names none.
const NAMESPACE: &str = "acme";

/// The data of objects, by `namespace/name` and key.
type Texts = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Deserialize)]
struct Case {
    given: Value,
    #[serde(default)]
    secrets: Texts,
    #[serde(default, rename = "configMaps")]
    config_maps: Texts,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Default, PartialEq, Debug, Serialize, Deserialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warned: Vec<Told>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Told>,
}

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct Told {
    field: String,
    message: String,
    help: String,
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Self {
        let Problem { field, message, help, .. } = problem;
        Self { field, message, help }
    }
}

/// Other objects, as the case gives them. A selector selects every Secret of its namespace.
#[derive(Default)]
pub(crate) struct Given {
    secrets: Texts,
    config_maps: Texts,
}

fn text(texts: &Texts, object: ObjectRef, key: &str) -> Lookup<String> {
    let Some(data) = texts.get(&format!("{}/{}", object.namespace, object.name)) else {
        return Err(RefError::Missing(object));
    };
    let (wanted, present) = (key.to_owned(), data.keys().cloned().collect());
    data.get(key).cloned().ok_or(RefError::MissingPart { object, part: "key", wanted, present })
}

impl Refs for Given {
    fn secret(&self, reference: &SecretKeyRef) -> Lookup<Secret> {
        let namespace = reference.namespace.as_deref().unwrap_or(NAMESPACE);
        let object = ObjectRef::new(Kind::Secret, namespace, reference.name.as_str());
        text(&self.secrets, object, &reference.key).map(|value| Secret::new(value.as_bytes()))
    }

    fn secrets(&self, selector: &SecretSelector) -> Lookup<Vec<SelectedSecret>> {
        let namespace = selector.namespace.as_deref().unwrap_or(NAMESPACE);
        let of = |(path, data): (&String, &BTreeMap<String, String>)| {
            let name = path.strip_prefix(namespace)?.strip_prefix('/')?;
            let data = data.iter().map(|(key, value)| (key.clone(), Secret::new(value.as_bytes()))).collect();
            Some(SelectedSecret { object: ObjectRef::new(Kind::Secret, namespace, name), data })
        };
        Ok(self.secrets.iter().filter_map(of).collect())
    }

    fn config_map(&self, reference: &ConfigMapKeyRef) -> Lookup<Arc<str>> {
        let namespace = reference.namespace.as_deref().unwrap_or(NAMESPACE);
        let object = ObjectRef::new(Kind::ConfigMap, namespace, reference.name.as_str());
        text(&self.config_maps, object, &reference.key).map(Into::into)
    }

    /// Every Service is there but `nobody`: references have tests of their own, in `operator`.
    fn service(&self, reference: &BackendRef) -> Lookup<ServicePort> {
        if reference.name == "nobody" {
            return Err(RefError::Missing(ObjectRef::new(Kind::Service, NAMESPACE, reference.name.as_str())));
        }
        let namespace = reference.namespace.as_deref().unwrap_or(NAMESPACE);
        Ok(ServicePort { namespace: namespace.into(), name: reference.name.as_str().into(), port: reference.port })
    }
}

fn folder(policy: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(policy)
}

fn run<S: DeserializeOwned, I: Serialize>(
    given: Value,
    refs: &Given,
    compile: impl Fn(&S, &Given, Problems<'_>) -> Option<I>,
) -> Outcome {
    let spec: S = serde_json::from_value(given).expect("what is given is of the spec's shape");
    let object = ObjectRef::new(Kind::Route, NAMESPACE, "golden");
    let mut found = Vec::new();
    let ir = compile(&spec, refs, Problems::of(&object, &mut found).at("spec"));
    let (refused, warned): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|problem| problem.severity == Severity::Error);
    assert_eq!(ir.is_none(), !refused.is_empty(), "no IR if and only if there is an error: {refused:?}");
    let told = |problems: Vec<Problem>| problems.into_iter().map(Told::from).collect();
    let compiled = ir.map(|ir| readable(serde_json::to_value(ir).expect("an IR can be written")));
    Outcome { compiled, warned: told(warned), refused: told(refused) }
}

/// Keys and digests as hexadecimal text: a page of numbers is read by nobody.
fn readable(value: Value) -> Value {
    const FEWEST: usize = 3;
    let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
    match value {
        Value::Array(items) if items.len() >= FEWEST && items.iter().all(|item| byte(item).is_some()) => {
            let hex: Vec<String> = items.iter().filter_map(byte).map(|byte| format!("{byte:02x}")).collect();
            Value::String(format!("0x{}", hex.concat()))
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, readable(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Checks every golden file of a policy.
pub(crate) fn check<S: DeserializeOwned, I: Serialize>(
    policy: &str,
    compile: impl Fn(&S, &Given, Problems<'_>) -> Option<I>,
) {
    let folder = folder(policy).join("golden");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the policy has golden files").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let actual = run(case.given, &Given { secrets: case.secrets, config_maps: case.config_maps }, &compile);
        if std::env::var_os("POSTERN_GOLDEN").is_some_and(|value| value == "write") {
            write(&file, &text, &actual);
        } else {
            assert_eq!(actual, case.result, "{} says otherwise", file.display());
        }
    }
}

fn write(file: &Path, text: &str, outcome: &Outcome) {
    let is_result = |line: &&str| ["compiled:", "warned:", "refused:"].iter().any(|key| line.starts_with(key));
    let kept: String = text.lines().take_while(|line| !is_result(line)).map(|line| format!("{line}\n")).collect();
    let result = serde_yaml::to_string(outcome).unwrap();
    std::fs::write(file, format!("{kept}{result}")).unwrap();
}

/// Checks that every YAML block of a policy's page that has something at `pointer` (RFC 6901) compiles
/// without a word, and that there is one.
pub(crate) fn check_page<S: DeserializeOwned, I: Serialize>(
    policy: &str,
    pointer: &str,
    compile: impl Fn(&S, &Given, Problems<'_>) -> Option<I>,
) {
    let page = std::fs::read_to_string(folder(policy).join("README.md")).expect("the policy has a page");
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let blocks: Vec<Value> = blocks.map(|block| serde_yaml::from_str(block).expect("the page has YAML")).collect();
    let texts = |kind: &str, member: &str| -> Texts {
        let of_kind = blocks.iter().filter(|block| block["kind"] == kind);
        let read = of_kind.map(|block| {
            let text = |pointer: &str| block.pointer(pointer).and_then(Value::as_str).unwrap_or(NAMESPACE).to_owned();
            let data = serde_json::from_value(block[member].clone()).expect("it has data");
            (format!("{}/{}", text("/metadata/namespace"), text("/metadata/name")), data)
        });
        read.collect()
    };
    let refs = Given { secrets: texts("Secret", "stringData"), config_maps: texts("ConfigMap", "data") };
    let specs: Vec<&Value> = blocks.iter().filter_map(|block| block.pointer(pointer)).collect();
    assert!(!specs.is_empty(), "the page of {policy} shows nothing at {pointer}");
    for spec in specs {
        let outcome = run(spec.clone(), &refs, &compile);
        assert!(outcome.compiled.is_some() && outcome.warned.is_empty(), "{policy}: {outcome:?} of {spec}");
    }
}
