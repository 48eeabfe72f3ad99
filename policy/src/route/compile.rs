//! A Route to its IR.
//!
//! Each rule is compiled for itself, and its security apart from its traffic part: a rule whose security cannot be
//! compiled refuses every request (`broken_security`); a rule whose traffic part cannot be compiled says so
//! (`broken_traffic`), and the dataplane uses that of the last-good rule with equal matches (`last_good`).

use std::sync::Arc;

use super::settings::{self, Level, Levels, Settings};
use super::{BackendIr, RouteIr, RouteSpec, RuleIr, RuleSpec, TimeoutsIr, matching};
use crate::attach::{Attached, Origin};
use crate::authentication::{self, AuthenticationIr};
use crate::installation::Installation;
use crate::mode::Mode;
use crate::names::{Hostname, Kind};
use crate::problem::Problems;
use crate::refs::Refs;
use crate::schema::{self, OnInvalid, SchemaIr};
use crate::settings::Class;
use crate::tenant;
use crate::units::SizeText;
use crate::upstream::{self, Unusable};

/// What a Route is compiled in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What its tenant writes for all its Routes.
    pub tenant: &'a Settings,
    /// The names of the tenant's methods.
    pub methods: &'a [Arc<str>],
    /// Those of them that take API keys.
    pub key_methods: &'a [Arc<str>],
    /// The tenant's hosts, those that it really holds.
    pub hostnames: &'a [Hostname],
    /// The tenant's ceiling.
    pub max_body_size: u64,
    /// Other objects.
    pub refs: &'a dyn Refs,
    /// What the installation provides.
    pub installation: &'a Installation,
    /// Blocks that could not be read, as paths.
    pub unread: &'a [String],
    /// When the Route was created.
    pub created_secs: i64,
}

/// Compiles a Route. What could not be compiled of it is marked in the IR.
pub fn compile(spec: &RouteSpec, around: Surroundings<'_>, mut problems: Problems<'_>) -> RouteIr {
    let before = problems.errors();
    let hosts_unread = around.unread.iter().any(|path| path == "spec.hostnames");
    let hostnames = match hosts_unread {
        true => Vec::new(),
        false => tenant::compile_hosts(&spec.hostnames, around.hostnames, problems.at("hostnames")),
    };
    let broken_hostnames = hosts_unread || problems.errors() > before;
    let route = settings::compile(
        Level::of_route(spec),
        around.methods,
        around.installation,
        around.unread,
        problems.reborrow(),
    );
    let mut names: Vec<&str> = Vec::with_capacity(spec.rules.len());
    let mut rules = Vec::with_capacity(spec.rules.len());
    let mut broken_matches = false;
    for (index, rule) in spec.rules.iter().enumerate() {
        let mut problems = problems.at("rules");
        let mut problems = problems.item(index);
        let mut draft = draft(rule, (&route, spec.max_body_size.as_ref()), around, &mut problems);
        if let Some(name) = &rule.name {
            if names.contains(&name.as_str()) {
                problems.at("name").invalid(format!("{name} names two rules"), "give each rule its own name");
                draft.traffic(problems.at("name").field());
            }
            names.push(name);
        }
        broken_matches |= draft.broken_matches;
        rules.push(draft.ir);
    }
    let created_secs = around.created_secs;
    RouteIr { hostnames, broken_hostnames, broken_matches, refused: Vec::new(), created_secs, rules }
}

/// Returns the name of a rule. One without a name is named by a hash of its matches, so that the name follows the
/// requests that the rule takes, and not its place in the list.
#[must_use]
pub fn rule_name(spec: &RuleSpec) -> Arc<str> {
    if let Some(name) = &spec.name {
        return name.as_str().into();
    }
    let written = serde_json::to_vec(&spec.matches).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &written);
    let hash = digest.as_ref().iter().take(4).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("rule-{hash}").into()
}

/// A rule, and whether a match of it could not be compiled.
struct Draft {
    ir: RuleIr,
    broken_matches: bool,
}

impl Draft {
    /// Marks a field of the traffic part as broken.
    fn traffic(&mut self, field: &str) {
        self.ir.broken_traffic.push(field.into());
    }
}

type RouteLevel<'a> = (&'a Settings, Option<&'a SizeText>);

fn draft(
    spec: &RuleSpec,
    (route, route_max_body): RouteLevel<'_>,
    around: Surroundings<'_>,
    problems: &mut Problems<'_>,
) -> Draft {
    let rule = settings::compile(
        Level::of_rule(spec),
        around.methods,
        around.installation,
        around.unread,
        problems.reborrow(),
    );
    let levels = Levels { rule: &rule, route, tenant: around.tenant };
    let (mut security, mut traffic) = (Vec::new(), Vec::new());
    let authentication = authentication(&levels, around.methods, &mut security, problems);
    key_goes_no_more(spec, &authentication, around.key_methods, problems);
    let matches_field = problems.at("matches").field().to_owned();
    let matches_unread = around.unread.contains(&matches_field);
    let (matches, mut broken_matches) = match matches_unread {
        true => (Vec::new(), true),
        false => matching::compile(&spec.matches, problems.at("matches")),
    };
    broken_matches |= matches_unread;
    if broken_matches {
        security.push(matches_field.into());
    }
    unread(spec, around.unread, problems.field(), (&mut security, &mut traffic));
    let request_schema = request_schema(spec, around, &mut security, problems);
    not_enforced(spec, around.unread, &mut traffic, problems);
    let backends = backends(spec, around.refs, (&mut security, &mut traffic), problems);
    levels.pick(|settings| settings.compression.as_ref(), &mut traffic);
    let timeouts = levels.pick(|settings| settings.timeouts.as_ref(), &mut traffic);
    let max_body = spec.max_body_size.as_ref().or(route_max_body).map_or(around.max_body_size, SizeText::bytes);
    if spec.max_body_size.is_some() && max_body > around.max_body_size {
        problems.at("maxBodySize").warn(
            format!("is above the tenant's ceiling of {} bytes, which stays in force", around.max_body_size),
            "lower it, or have ceilings.maxBodySize of the Tenant raised",
        );
    }
    let ir = RuleIr {
        name: rule_name(spec),
        matches,
        path_forms: spec.paths.iter().flat_map(|paths| paths.allow.clone()).collect(),
        addresses: levels.pick(|settings| settings.addresses.as_ref(), &mut security),
        cors: levels.pick(|settings| settings.cors.as_ref(), &mut security),
        authentication,
        authorization: levels.pick(|settings| settings.authorization.as_ref(), &mut security),
        request_schema,
        security_headers: levels.pick(|settings| settings.security_headers.as_ref(), &mut traffic),
        timeouts: timeouts.map_or_else(TimeoutsIr::default, |attached| attached.ir),
        retry: levels.pick(|settings| settings.retry.as_ref(), &mut traffic),
        circuit_breaker: levels.pick(|settings| settings.circuit_breaker.as_ref(), &mut traffic),
        fallback: levels.pick(|settings| settings.fallback.as_ref(), &mut traffic),
        on_failure: levels.pick(|settings| settings.on_failure.as_ref(), &mut traffic),
        credentials: spec.credentials.unwrap_or_default(),
        max_body_size: max_body.min(around.max_body_size),
        backends,
        broken_security: distinct(security),
        broken_traffic: distinct(traffic),
    };
    Draft { ir, broken_matches }
}

fn distinct(mut fields: Vec<Arc<str>>) -> Vec<Arc<str>> {
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Settings of which the nearest level counts, and those that have a place of their own in the compile step.
const READ_ELSEWHERE: [&str; 14] = [
    "addresses",
    "authentication",
    "authorization",
    "authorizationMode",
    "circuitBreaker",
    "compression",
    "cors",
    "fallback",
    "hostnames",
    "matches",
    "onFailure",
    "retry",
    "securityHeaders",
    "timeouts",
];

/// Notes the other blocks that could not be read, those of the rule and those of the Route that hold for all rules.
fn unread(
    spec: &RuleSpec,
    unread: &[String],
    rule: &str,
    (security, traffic): (&mut Vec<Arc<str>>, &mut Vec<Arc<str>>),
) {
    for path in unread {
        let own = path.strip_prefix(rule).and_then(|rest| rest.strip_prefix('.'));
        let of_route = path.strip_prefix("spec.").filter(|rest| !rest.starts_with("rules["));
        let Some(name) = own.or(of_route) else { continue };
        let overridden = own.is_none() && name == "maxBodySize" && spec.max_body_size.is_some();
        if READ_ELSEWHERE.contains(&name) || overridden {
            continue;
        }
        let Some(block) = crate::settings::block(Kind::Route, path) else { continue };
        match block.class {
            Class::InboundSecurity | Class::OutboundSecurity => security.push(path.as_str().into()),
            Class::Traffic => traffic.push(path.as_str().into()),
        }
    }
}

/// Until version 0.2 the upstream got the key: whoever relies on that must learn of it.
fn key_goes_no_more(
    spec: &RuleSpec,
    authentication: &Attached<AuthenticationIr>,
    key_methods: &[Arc<str>],
    problems: &mut Problems<'_>,
) {
    let takes_keys = match &authentication.ir {
        AuthenticationIr::None => false,
        AuthenticationIr::AnyOf(names) => names.iter().any(|name| key_methods.contains(name)),
    };
    if spec.credentials.is_none() && takes_keys && authentication.mode.runs() {
        problems.at("credentials").warn(
            "is not written: the upstream does not get the API key any more, but x-postern-caller",
            "write credentials: Remove when that is right, credentials: Forward when the service needs the key itself",
        );
    }
}

/// Open rules are written, never assumed: without a block, any method of the tenant is asked for.
fn authentication(
    levels: &Levels<'_>,
    declared: &[Arc<str>],
    security: &mut Vec<Arc<str>>,
    problems: &mut Problems<'_>,
) -> Attached<AuthenticationIr> {
    let before = security.len();
    if let Some(attached) = levels.pick(|settings| settings.authentication.as_ref(), security) {
        return attached;
    }
    let mut problems = problems.at("authentication");
    let any = if security.len() == before {
        let any = authentication::compile(None, declared, problems.reborrow());
        if any.is_none() {
            security.push(problems.field().into());
        }
        any
    } else {
        None
    };
    // A rule that refuses still says how its callers would prove themselves: by something.
    let ir = any.unwrap_or_else(|| AuthenticationIr::AnyOf(declared.to_vec()));
    Attached { ir, mode: Mode::Enforce, origin: Origin::Default }
}

/// A body that was not checked must not pass: a schema that cannot be used breaks its rule. Mode `Off` is the way
/// back, so then it is not even looked at.
fn request_schema(
    spec: &RuleSpec,
    around: Surroundings<'_>,
    security: &mut Vec<Arc<str>>,
    problems: &mut Problems<'_>,
) -> Option<Attached<SchemaIr>> {
    let mut problems = problems.at("requestSchema");
    let unread = around.unread.iter().any(|field| field == problems.field());
    let block = spec.request_schema.as_ref().filter(|block| block.mode.runs());
    let ir = block.and_then(|block| schema::compile(&block.config_map_ref, around.refs, problems.reborrow()));
    if unread || (block.is_some() && ir.is_none()) {
        security.push(problems.field().into());
    }
    let mode = match block?.on_invalid {
        OnInvalid::Refuse => block?.mode,
        OnInvalid::Forward => Mode::Audit,
    };
    Some(Attached { ir: ir?, mode, origin: Origin::Rule })
}

/// Fields that this version knows and does not enforce.
fn not_enforced(spec: &RuleSpec, unread: &[String], traffic: &mut Vec<Arc<str>>, problems: &mut Problems<'_>) {
    let blocks = [
        ("requestTransform", !spec.request_transform.is_empty(), "leave it out; change requests in the service"),
        ("responseTransform", !spec.response_transform.is_empty(), "leave it out; change answers in the service"),
        ("split", spec.split.is_some(), "leave it out; weights alone choose the side"),
    ];
    for (name, written, help) in blocks {
        let mut problems = problems.at(name);
        if written {
            problems.not_enforced(help);
        }
        if written || unread.iter().any(|field| field == problems.field()) {
            traffic.push(problems.field().into());
        }
    }
}

/// A backend that is another's and not granted is no matter of traffic: the last good would go on to reach it.
fn backends(
    spec: &RuleSpec,
    refs: &dyn Refs,
    (security, traffic): (&mut Vec<Arc<str>>, &mut Vec<Arc<str>>),
    problems: &mut Problems<'_>,
) -> Vec<BackendIr> {
    let mut problems = problems.at("backendRefs");
    let mut backends: Vec<BackendIr> = Vec::with_capacity(spec.backend_refs.len());
    for (index, backend) in spec.backend_refs.iter().enumerate() {
        let mut problems = problems.item(index);
        match upstream::compile(backend, refs, problems.reborrow()) {
            Ok(backend) => backends.push(backend),
            Err(Unusable::Wrong) => traffic.push(problems.field().into()),
            Err(Unusable::NotGranted) => security.push(problems.field().into()),
        }
    }
    backends
}
