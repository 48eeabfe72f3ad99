//! `postern grant NAMESPACE`: the Role by which the operator may read what a tenant's objects name in a namespace.
//!
//! It prints, and applies nothing: who may give that right reads it first.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::out;

/// What is written after `grant`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The namespaces.
    #[arg(value_name = "NAMESPACE", required = true)]
    namespaces: Vec<String>,
    /// The name of the operator's ServiceAccount, and of what is printed: RELEASE-operator.
    #[arg(long, value_name = "NAME", default_value = "postern-operator")]
    account: String,
    /// The namespace of the operator.
    #[arg(long, value_name = "NAMESPACE", default_value = "postern-system", env = "POSTERN_NAMESPACE")]
    operator_namespace: String,
}

/// Prints the manifests as YAML.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    for namespace in &args.namespaces {
        for object in objects(namespace, &args.account, &args.operator_namespace) {
            match serde_yaml::to_string(&object) {
                Ok(text) => out::line(format_args!("---\n{}", text.trim_end())),
                Err(error) => return out::failed(&error, out::TROUBLE),
            }
        }
    }
    ExitCode::SUCCESS
}

/// The Role and who has it; the chart's value `grants` makes the same.
#[must_use]
pub fn objects(namespace: &str, account: &str, operator_namespace: &str) -> [Value; 2] {
    let api = "rbac.authorization.k8s.io/v1";
    let metadata = json!({"name": account, "namespace": namespace});
    let role = json!({"apiVersion": api, "kind": "Role", "metadata": metadata,
        "rules": [{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]}]});
    let binding = json!({"apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": operator_namespace}]});
    [role, binding]
}
