//! `postern check DIR`: what is wrong with the manifests of a directory, or with what a cluster has: all of it, where it
//! stands, and what to do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};
use operator::compile::compile;
use operator::doubts::doubts;
use operator::gather::files::Files;
use operator::gather::place::Place;
use operator::gather::{Gathered, walk};
use policy::problem::{Problem, ProblemKind, Severity};
use policy::snapshot::{Revision, Snapshot};
use serde::Serialize;

use crate::installation::{self, ProvidedArgs};
use crate::out;
use crate::source::Source;

/// What is written after `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory with the manifests, or one file; `cluster:` or `cluster:CONTEXT` for what a cluster has.
    #[arg(value_name = "DIR")]
    pub source: Source,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// What the gateway will be started with.
    #[command(flatten)]
    pub provided: ProvidedArgs,
}

/// How to print what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// One thing that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The object; none for a file that is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field in it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
    /// How much it costs.
    pub severity: Severity,
    /// Which kind of wrong it is.
    pub kind: ProblemKind,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The text of the place.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// Everything that is wrong with files and with what compile found in them, in the order of the files.
#[must_use]
pub fn findings(files: &Files, problems: &[Problem]) -> Vec<Finding> {
    let of_file = |problem: &operator::gather::place::FileProblem| Finding {
        object: None,
        field: String::new(),
        message: problem.message.clone(),
        help: problem.help.clone(),
        severity: Severity::Error,
        kind: ProblemKind::Invalid,
        file: Some(problem.place.path.clone()),
        line: Some(problem.place.line),
        column: Some(problem.place.column),
        place: Some(problem.place.clone()),
    };
    let of_object = |problem: &Problem| {
        let place = files.sources.locate(problem);
        Finding {
            object: Some(problem.object.to_string()),
            field: problem.field.clone(),
            message: problem.message.clone(),
            help: problem.help.clone(),
            severity: problem.severity,
            kind: problem.kind,
            file: place.as_ref().map(|place| place.path.clone()),
            line: place.as_ref().map(|place| place.line),
            column: place.as_ref().map(|place| place.column),
            place,
        }
    };
    let mut all: Vec<Finding> = files.problems.iter().map(of_file).chain(problems.iter().map(of_object)).collect();
    all.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    all
}

/// Checks a directory: 0 when nothing is wrong, 1 when an object is, 2 when the directory cannot be read.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let files = match installation::read(&args.provided, &args.source) {
        Ok((files, _)) => files,
        Err(error) => return out::failed(&error, out::TROUBLE),
    };
    let mut compiled = compile(&files.gathered, &Snapshot::default(), Revision::default());
    compiled.problems.extend(doubts(&files.gathered));
    let mut all = findings(&files, &compiled.problems);
    all.extend(nothing_to_check(&args.source, &files));
    let errors = errors_in(&all);
    match args.output {
        Output::Json => {
            let objects: BTreeMap<&str, usize> = counted(&files).into_iter().collect();
            let warnings = all.len() - errors;
            out::line(serde_json::json!({
                "errors": errors, "warnings": warnings, "objects": objects, "foreign": files.foreign, "problems": all,
            }));
        }
        Output::Text => text(&all, &files),
    }
    if errors > 0 { ExitCode::from(out::FAULT) } else { ExitCode::SUCCESS }
}

/// The finding of a place that holds nothing of Postern's: most likely it is not the one that was meant.
fn nothing_to_check(source: &Source, files: &Files) -> Option<Finding> {
    let own = counted(files).iter().take(OWN_KINDS).map(|(_, count)| count).sum::<usize>();
    if own > 0 || !files.problems.is_empty() {
        return None;
    }
    let (message, help) = match source {
        Source::Files(path) => (
            format!("no manifest of Postern in {}", path.display()),
            format!("name the folder with your manifests: files that end in {} are read", walk::ENDINGS.join(", ")),
        ),
        Source::Cluster(_) => (
            "no object of Postern in the cluster".to_owned(),
            "name the context with `cluster:CONTEXT`, and see `kubectl get postern -A`".to_owned(),
        ),
    };
    let (object, field, place) = (None, String::new(), None);
    let (severity, kind) = (Severity::Error, ProblemKind::Invalid);
    Some(Finding { object, field, message, help, severity, kind, file: None, line: None, column: None, place })
}

/// How many of [`counted`] are kinds of Postern.
const OWN_KINDS: usize = 4;

/// Every kind that is read, with the number of its objects.
fn counted(files: &Files) -> Vec<(&'static str, usize)> {
    let Gathered {
        tenants,
        routes,
        rate_limit_policies,
        webhook_sources,
        secrets,
        config_maps,
        services,
        endpoint_slices,
        namespaces,
        grants,
        installation: _,
        problems: _,
    } = &files.gathered;
    vec![
        ("tenant", tenants.len()),
        ("route", routes.len()),
        ("rate limit policy", rate_limit_policies.len()),
        ("webhook source", webhook_sources.len()),
        ("secret", secrets.len()),
        ("config map", config_maps.len()),
        ("service", services.len()),
        ("endpoint slice", endpoint_slices.len()),
        ("namespace", namespaces.len()),
        ("reference grant", grants.len()),
    ]
}

/// `1 error`, `2 errors`, `2 policies`.
fn plural(count: usize, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {one}s"),
    }
}

fn text(all: &[Finding], files: &Files) {
    for finding in all {
        out::line(rendered(finding));
    }
    let objects: Vec<String> = counted(files)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| plural(count, kind))
        .chain((files.foreign > 0).then(|| format!("{} left out", plural(files.foreign, "foreign object"))))
        .collect();
    let objects = if objects.is_empty() { "no objects".to_owned() } else { objects.join(", ") };
    let errors = errors_in(all);
    let warnings = plural(all.len() - errors, "warning");
    let errors = if errors == 0 { "no errors".to_owned() } else { plural(errors, "error") };
    out::note(format_args!("{objects}: {errors}, {warnings}"));
}

fn errors_in(all: &[Finding]) -> usize {
    all.iter().filter(|finding| finding.severity == Severity::Error).count()
}

/// Lines of a Secret are never printed: only where they are.
fn may_show_a_secret(finding: &Finding, text: &str) -> bool {
    match &finding.object {
        Some(object) => object.starts_with("Secret "),
        None => text.contains("Secret"),
    }
}

/// A finding for people, with the lines around it.
#[must_use]
pub fn rendered(finding: &Finding) -> String {
    let title = match (&finding.object, finding.field.as_str()) {
        (Some(object), "") => format!("{object}: {}", finding.message),
        (Some(object), field) => format!("{object}: {field} {}", finding.message),
        (None, _) => finding.message.clone(),
    };
    let severity = match finding.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let mut diagnostic = MietteDiagnostic::new(title).with_severity(severity).with_help(finding.help.clone());
    let source = finding.place.as_ref().and_then(|place| Some((place, place.text.as_ref()?)));
    let source = source.filter(|(_, text)| !may_show_a_secret(finding, &text.text));
    if let Some((place, _)) = source {
        let label = if finding.field.is_empty() { "here" } else { finding.field.as_str() };
        let span = place.bytes.start..place.bytes.end.max(place.bytes.start);
        diagnostic = diagnostic.with_label(LabeledSpan::at(span, label));
    }
    let report = Report::new(diagnostic);
    let report = match source {
        Some((place, text)) => {
            report.with_source_code(NamedSource::new(place.path.display().to_string(), text.text.clone()))
        }
        None => report,
    };
    let mut rendered = match (&finding.file, finding.line, source) {
        (Some(file), Some(line), None) => format!("  {}:{line}:{}\n", file.display(), finding.column.unwrap_or(1)),
        (_, _, _) => String::new(),
    };
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_context_lines(1);
    if handler.render_report(&mut rendered, report.as_ref()).is_err() {
        rendered = format!("{}: {}", finding.message, finding.help);
    }
    rendered
}
