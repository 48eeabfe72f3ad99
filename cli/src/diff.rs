//! `postern diff DIR`: what applying manifests to a cluster would change, and for which tenants.
//!
//! Both sides go through the operator's own compile: the cluster as it is, and the cluster with the manifests' objects in
//! place of those of the same name. What only the cluster has stays, as with `kubectl apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use operator::compile::{Compiled, compile};
use operator::gather::cluster::Listed;
use operator::gather::{Declared, Gathered};
use policy::names::{ObjectRef, TenantName};
use policy::problem::{Problem, Severity};
use policy::snapshot::{ContentHash, Revision, Snapshot, TenantSnapshot};
use serde::Serialize;
use serde_json::Value;

use crate::check::{Output, findings, rendered};
use crate::installation::{self, ProvidedArgs};
use crate::out;
use crate::source::{self, Source};

/// What is written after `diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory with the manifests, or one file.
    dir: PathBuf,
    /// The context of the kubeconfig; the current one when left out.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    provided: ProvidedArgs,
}

/// How an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Change {
    Added,
    Changed,
}

/// An object that would be written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object: String,
    change: Change,
    /// The fields that differ; of a Secret none is told.
    fields: Vec<String>,
}

/// What would be different.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    /// Objects of the four kinds that would be written.
    objects: Vec<Written>,
    /// Tenants whose traffic would be served in another way.
    tenants: Vec<String>,
    /// Errors that there were not before.
    new_errors: usize,
}

/// Says what would change: 0 nothing, 1 something, 2 when it cannot be said or the manifests are no good.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let files = match installation::read(&args.provided, &Source::Files(args.dir.clone())) {
        Ok((files, _)) => files,
        Err(error) => return out::failed(&error, out::TROUBLE),
    };
    let Listed { gathered: mut live, unread } = match source::list(args.context.as_deref()) {
        Ok(listed) => listed,
        Err(error) => return out::failed(&error, out::TROUBLE),
    };
    for unread in unread {
        out::note(format_args!("postern: {unread}; what names them looks broken on both sides"));
    }
    live.installation = files.gathered.installation.clone();
    let mut applied = live.clone();
    applied.overlay(&files.gathered);
    let compiled = |gathered: &Gathered| compile(gathered, &Snapshot::default(), Revision::default());
    let (before, after) = (compiled(&live), compiled(&applied));
    let new: Vec<Problem> =
        after.problems.iter().filter(|problem| !before.problems.contains(problem)).cloned().collect();
    let mut difference = difference(&live, &files.gathered, &before, &after);
    difference.new_errors = new.iter().filter(|problem| problem.severity == Severity::Error).count();
    let found = findings(&files, &new);
    match args.output {
        Output::Json => out::line(serde_json::json!({"difference": difference, "problems": found})),
        Output::Text => {
            found.iter().for_each(|finding| out::line(rendered(finding)));
            text(&difference);
        }
    }
    if !files.problems.is_empty() {
        return ExitCode::from(out::TROUBLE);
    }
    let nothing = difference.objects.is_empty() && difference.tenants.is_empty();
    if nothing { ExitCode::SUCCESS } else { ExitCode::from(out::FAULT) }
}

fn text(difference: &Difference) {
    for Written { object, change, fields } in &difference.objects {
        let sign = match change {
            Change::Added => '+',
            Change::Changed => '~',
        };
        out::line(format_args!("{sign} {object}"));
        fields.iter().for_each(|field| out::line(format_args!("    {field}")));
    }
    let Difference { objects, tenants, new_errors } = difference;
    let who = if tenants.is_empty() { "no tenant".to_owned() } else { tenants.join(", ") };
    out::note(format_args!(
        "{} objects would be written; traffic changes for {who}; {new_errors} new errors",
        objects.len()
    ));
}

fn difference(live: &Gathered, files: &Gathered, before: &Compiled, after: &Compiled) -> Difference {
    let mut objects = Vec::new();
    written(&live.tenants, &files.tenants, &mut objects);
    written(&live.routes, &files.routes, &mut objects);
    written(&live.rate_limit_policies, &files.rate_limit_policies, &mut objects);
    written(&live.webhook_sources, &files.webhook_sources, &mut objects);
    Difference { objects, tenants: other_traffic(&before.snapshot, &after.snapshot), new_errors: 0 }
}

/// Objects of one kind that are new, or say something else.
fn written<S>(
    live: &BTreeMap<ObjectRef, Declared<S>>,
    files: &BTreeMap<ObjectRef, Declared<S>>,
    into: &mut Vec<Written>,
) {
    for (object, new) in files {
        let spec =
            |declared: &Declared<S>| declared.written.value().get_mut("spec").map(Value::take).unwrap_or_default();
        let Some(there) = live.get(object) else {
            into.push(Written { object: object.to_string(), change: Change::Added, fields: Vec::new() });
            continue;
        };
        let mut fields = Vec::new();
        fields_that_differ("spec", &spec(there), &spec(new), &mut fields);
        if !fields.is_empty() {
            into.push(Written { object: object.to_string(), change: Change::Changed, fields });
        }
    }
}

/// Fields of the manifest that the cluster has otherwise. What only the cluster has is a default that its definition filled
/// in: it says the same.
fn fields_that_differ(at: &str, live: &Value, new: &Value, into: &mut Vec<String>) {
    match (live, new) {
        (Value::Object(live), Value::Object(new)) => {
            for (name, new) in new {
                let field = format!("{at}.{name}");
                match live.get(name) {
                    Some(live) => fields_that_differ(&field, live, new, into),
                    None => into.push(format!("{field}: {new}")),
                }
            }
        }
        (Value::Array(live), Value::Array(new)) if live.len() == new.len() => {
            for (index, (live, new)) in live.iter().zip(new).enumerate() {
                fields_that_differ(&format!("{at}[{index}]"), live, new, into);
            }
        }
        (live, new) if live != new => into.push(format!("{at}: {live} -> {new}")),
        _ => {}
    }
}

/// Tenants of which a dataplane would get something else.
fn other_traffic(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let hashes = |snapshot: &Snapshot| -> BTreeMap<TenantName, _> {
        snapshot.tenants.iter().map(|tenant| (tenant.tenant.clone(), said(tenant))).collect()
    };
    let (before, after) = (hashes(before), hashes(after));
    let names: BTreeSet<&TenantName> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(ToString::to_string).collect()
}

/// What a tenant's part says, but for the UIDs of its objects: those of new ones are not known yet.
fn said(tenant: &TenantSnapshot) -> TenantSnapshot {
    let mut said = tenant.clone();
    for entry in &mut said.objects {
        entry.uid = "".into();
    }
    TenantSnapshot { hash: ContentHash([0; 32]), ..said }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_default_of_the_definition_is_no_difference_and_a_changed_field_is_named() {
        let live = json!({"hostnames": ["a"], "mode": "Enforce", "rules": [{"name": "one", "timeout": "5s"}]});
        let mut fields = Vec::new();
        fields_that_differ("spec", &live, &json!({"hostnames": ["a"], "rules": [{"name": "one"}]}), &mut fields);
        assert!(fields.is_empty(), "{fields:?}");
        let new = json!({"hostnames": ["a", "b"], "rules": [{"name": "one", "timeout": "6s"}]});
        fields_that_differ("spec", &live, &new, &mut fields);
        assert_eq!(fields, [r#"spec.hostnames: ["a"] -> ["a","b"]"#, r#"spec.rules[0].timeout: "5s" -> "6s""#]);
    }
}
