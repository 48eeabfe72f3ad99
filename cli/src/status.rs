//! `postern status`: how an installation in a cluster is, most important first, and what to do about it.
//!
//! It asks the API server only, with the rights of whoever calls it: definitions, the Lease, pods, and what the operator
//! wrote into the statuses of objects.

use std::process::ExitCode;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Client, Resource};
use operator::gather::watch;
use policy::crd::Definition;
use policy::names::Kind;
use policy::status::{Condition, ConditionStatus, ObjectStatus};
use serde::Serialize;
use serde_json::Value;

use crate::check::Output;
use crate::out;
use crate::source::{self, ClusterError};

/// The kinds whose statuses tell.
const KINDS: [Kind; 4] = [Kind::Tenant, Kind::Route, Kind::RateLimitPolicy, Kind::WebhookSource];
/// What a definition says that a user may write.
const SCHEMA: &str = "/spec/versions/0/schema";
/// Objects that are asked for at once.
const PAGE: u32 = 500;

/// What is written after `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The context of the kubeconfig; the current one when left out.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace of the installation.
    #[arg(long, value_name = "NAMESPACE", default_value = "postern-system", env = "POSTERN_NAMESPACE")]
    namespace: String,
    /// The Lease of its operator: RELEASE-operator.
    #[arg(long, value_name = "NAME", default_value = "postern-operator")]
    lease: String,
    /// Leaves the objects of tenants out: only the installation itself, as `helm test` asks.
    #[arg(long)]
    installation: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How bad a thing is; what is worse comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Gravity {
    /// Nothing changes, or nobody serves.
    Installation,
    /// An object is not served as it is written.
    Object,
    /// It will be: somebody has not said so yet.
    Pending,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wrong {
    gravity: Gravity,
    /// What it is about.
    about: String,
    /// What is wrong.
    message: String,
    /// The command that says more, or mends it.
    next: String,
}

/// A pod of the installation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    name: String,
    component: String,
    image: String,
    ready: bool,
    restarts: i64,
}

/// All that is said.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    /// Who publishes.
    publisher: Option<String>,
    pods: Vec<Pod>,
    /// Objects by kind, and how many of them are programmed as written.
    objects: Vec<(String, usize, usize)>,
    problems: Vec<Wrong>,
}

/// Prints it: 0 when nothing is wrong, 1 when something is, 2 when that cannot be said.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let report = source::block_on(async {
        let client = source::client(args.context.as_deref()).await?;
        look(&client, args).await.map_err(|error| ClusterError::List(Box::new(error)))
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => return out::failed(&error, out::TROUBLE),
    };
    match args.output {
        Output::Json => out::line(serde_json::json!(report)),
        Output::Text => text(&report),
    }
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(out::FAULT) }
}

async fn look(client: &Client, args: &Args) -> Result<Report, kube::Error> {
    let mut report = Report { version: env!("CARGO_PKG_VERSION"), ..Report::default() };
    if !definitions(client, &mut report).await? {
        return Ok(report);
    }
    lease(client, args, &mut report).await?;
    pods(client, args, &mut report).await?;
    for kind in KINDS.into_iter().filter(|_| !args.installation) {
        objects(client, kind, &mut report).await?;
    }
    report.problems.sort();
    Ok(report)
}

fn installation(about: impl Into<String>, message: impl Into<String>, next: impl Into<String>) -> Wrong {
    Wrong { gravity: Gravity::Installation, about: about.into(), message: message.into(), next: next.into() }
}

/// Whether all four kinds are defined; one that says something else than this version's is told.
async fn definitions(client: &Client, report: &mut Report) -> Result<bool, kube::Error> {
    let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> =
        Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, "customresourcedefinitions"));
    let mut all = true;
    for Definition { file, body } in policy::crd::all().map_err(kube::Error::SerdeError)? {
        let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(&file).to_owned();
        let next = "helm upgrade --install postern-crds charts/postern-crds";
        match api.get_opt(&name).await? {
            None => {
                report.problems.push(installation(name, "is not defined", next));
                all = false;
            }
            Some(found) if found.data.pointer(SCHEMA) != body.pointer(SCHEMA) => {
                let message = format!("is not the definition of postern {}", report.version);
                report.problems.push(Wrong { gravity: Gravity::Pending, ..installation(name, message, next) });
            }
            Some(_) => {}
        }
    }
    Ok(all)
}

async fn lease(client: &Client, args: &Args, report: &mut Report) -> Result<(), kube::Error> {
    let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "leases");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &args.namespace, &resource);
    let (about, next) = (format!("Lease {}/{}", args.namespace, args.lease), logs(&args.namespace, "operator"));
    let Some(lease) = api.get_opt(&args.lease).await? else {
        let message = "is not there: no operator has run; or name another with --namespace and --lease";
        report.problems.push(installation(about, message, next));
        return Ok(());
    };
    let text =
        |name: &str| lease.data.pointer(&format!("/spec/{name}")).and_then(Value::as_str).filter(|s| !s.is_empty());
    let secs = lease.data.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or_default();
    let renewed = text("renewTime").and_then(|time| time.parse::<Timestamp>().ok());
    let silent = renewed.map(|renewed| Timestamp::now().as_second() - renewed.as_second());
    match (text("holderIdentity"), silent) {
        (Some(holder), Some(silent)) if silent <= secs * 2 => report.publisher = Some(holder.to_owned()),
        (Some(holder), _) => {
            let silent = silent.map_or_else(|| "ever".to_owned(), |silent| format!("{silent} s"));
            let message = format!("its holder {holder} has not renewed it for {silent}: edits wait, traffic goes on");
            report.problems.push(installation(about, message, next));
        }
        (None, _) => report.problems.push(installation(about, "has no holder: edits wait, traffic goes on", next)),
    }
    Ok(())
}

fn logs(namespace: &str, component: &str) -> String {
    format!(
        "kubectl logs -n {namespace} -l app.kubernetes.io/name=postern,app.kubernetes.io/component={component} --tail=50"
    )
}

async fn pods(client: &Client, args: &Args, report: &mut Report) -> Result<(), kube::Error> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &args.namespace, &resource);
    for found in api.list(&ListParams::default().labels("app.kubernetes.io/name=postern")).await? {
        let pod = pod(&found);
        // A test of the chart's is meant to end.
        if !pod.ready && found.data.pointer("/status/phase").and_then(Value::as_str) != Some("Succeeded") {
            let next = format!("kubectl describe pod -n {} {}", args.namespace, pod.name);
            report.problems.push(installation(format!("Pod {}", pod.name), "is not ready", next));
        }
        report.pods.push(pod);
    }
    if report.pods.is_empty() {
        let next = format!(
            "kubectl get pods -A -l app.kubernetes.io/name=postern; postern status --namespace ... (now {})",
            args.namespace
        );
        report.problems.push(installation(format!("Namespace {}", args.namespace), "has no pods of postern", next));
    }
    Ok(())
}

fn pod(found: &DynamicObject) -> Pod {
    let label = |name: &str| found.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let statuses = found.data.pointer("/status/containerStatuses").and_then(Value::as_array);
    let statuses = || statuses.into_iter().flatten();
    let image = found.data.pointer("/spec/containers/0/image").and_then(Value::as_str);
    Pod {
        name: found.metadata.name.clone().unwrap_or_default(),
        component: label("app.kubernetes.io/component").unwrap_or_default(),
        image: image.unwrap_or_default().to_owned(),
        ready: statuses().count() > 0
            && statuses().all(|one| one.get("ready").and_then(Value::as_bool).unwrap_or_default()),
        restarts: statuses().filter_map(|one| one.get("restartCount")?.as_i64()).sum(),
    }
}

async fn objects(client: &Client, kind: Kind, report: &mut Report) -> Result<(), kube::Error> {
    let api = watch::api(client, kind, None);
    let (mut all, mut programmed) = (0, 0);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let found = api.list(&page).await?;
        for observed in found.items {
            let object = observed.object(kind);
            let generation = observed.meta().generation;
            let (raw, status) = observed.parts(kind);
            let status: ObjectStatus = serde_json::from_value(status).unwrap_or_default();
            let at = match &*raw.meta.object.namespace {
                "" => String::new(),
                namespace => format!("-n {namespace} "),
            };
            let next = format!("kubectl describe {} {at}{}", kind.to_string().to_lowercase(), object.name);
            all += 1;
            match judge(&status, generation) {
                None => programmed += 1,
                Some((gravity, message)) => {
                    report.problems.push(Wrong { gravity, about: object.to_string(), message, next });
                }
            }
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    report.objects.push((kind.to_string(), all, programmed));
    Ok(())
}

/// What is wrong with an object, by what the operator wrote of it.
fn judge(status: &ObjectStatus, generation: Option<i64>) -> Option<(Gravity, String)> {
    let said = |of: &Condition| {
        let Condition { type_, status, reason, message, .. } = of;
        let first = message.lines().next().unwrap_or_default();
        format!("{type_} is {status:?} ({reason}): {first}")
    };
    let not_true = |name: &str| {
        let found = status.conditions.iter().find(|one| one.type_ == name);
        found.filter(|one| one.status != ConditionStatus::True)
    };
    if status.conditions.is_empty() {
        return Some((Gravity::Object, "nobody has said anything of it: no operator has seen it".to_owned()));
    }
    if let Some(wrong) = not_true("Accepted").or_else(|| not_true("ResolvedRefs")) {
        return Some((Gravity::Object, said(wrong)));
    }
    let stale = status.conditions.iter().any(|one| one.observed_generation < generation);
    if stale {
        return Some((Gravity::Pending, "its last change has not been looked at yet".to_owned()));
    }
    let wrong = not_true("Programmed")?;
    let gravity = if wrong.reason == "Pending" { Gravity::Pending } else { Gravity::Object };
    Some((gravity, said(wrong)))
}

fn text(report: &Report) {
    for Wrong { about, message, next, .. } in &report.problems {
        out::line(format_args!("x {about}: {message}\n    {next}"));
    }
    let publisher = report.publisher.as_deref().unwrap_or("nobody");
    out::line(format_args!("postern {}; {publisher} publishes", report.version));
    for Pod { name, component, image, ready, restarts } in &report.pods {
        let ready = if *ready { "ready" } else { "not ready" };
        out::line(format_args!("  {component:<14} {name}  {ready}, {restarts} restarts, {image}"));
    }
    for (kind, all, programmed) in &report.objects {
        out::line(format_args!("  {kind:<15} {programmed}/{all} served as written"));
    }
    let count = report.problems.len();
    out::note(format_args!("{}", if count == 0 { "nothing is wrong".to_owned() } else { format!("{count} problems") }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(programmed: &str, reason: &str, generation: i64) -> ObjectStatus {
        let one = |type_: &str, status: &str, reason: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": "why\nmore", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let all = [one("Accepted", "True", "Accepted"), one("Programmed", programmed, reason)];
        serde_json::from_value(json!({"conditions": all})).unwrap()
    }

    #[test]
    fn what_is_not_served_is_worse_than_what_will_be() {
        assert_eq!(judge(&status("True", "Programmed", 2), Some(2)), None);
        let of = |status, generation| judge(&status, generation).map(|(gravity, _)| gravity);
        assert_eq!(of(status("True", "Programmed", 1), Some(2)), Some(Gravity::Pending));
        assert_eq!(of(status("False", "Pending", 2), Some(2)), Some(Gravity::Pending));
        assert_eq!(of(status("False", "LastGood", 2), Some(2)), Some(Gravity::Object));
        assert_eq!(of(ObjectStatus::default(), Some(1)), Some(Gravity::Object));
        let (_, said) = judge(&status("False", "LastGood", 2), Some(2)).unwrap();
        assert_eq!(said, "Programmed is False (LastGood): why");
    }
}
