//! `postern explain DIR METHOD URL`: what would become of a request, and why.
//!
//! It asks the same matcher and the same deciders that a gateway asks, on the same compiled objects.

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dataplane::outside::CountryDatabase;
use dataplane::runtime::Addresses;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use operator::compile::compile;
use policy::attach::{Attached, Origin};
use policy::authentication::{AuthenticationIr, Authenticator, Methods};
use policy::authorization::authorize;
use policy::client_certificate::ClientIdentity;
use policy::costly::Costly;
use policy::ip_allow::IpAllowIr;
use policy::jwt::TokenCache;
use policy::mode::Mode;
use policy::names::ObjectRef;
use policy::on_failure::OnFailureIr;
use policy::refusal::{Reason, Refusal};
use policy::request::{Caller, RequestHead};
use policy::route::{Matcher, Outcome, PathMatchIr, Place, RuleIr};
use policy::schema::SchemaIr;
use policy::snapshot::{ObjectIr, ObjectState, Revision, Snapshot, TenantSnapshot};
use policy::stage::Filter;
use policy::tenant::Agreement;
use policy::webhook_source::WebhookSourceIr;
use serde::Serialize;

use crate::installation::{self, ProvidedArgs};
use crate::out;
use crate::source::Source;

/// What is written after `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory with the manifests; `cluster:` or `cluster:CONTEXT` for what a cluster has.
    #[arg(value_name = "DIR")]
    source: Source,
    /// The method.
    method: Method,
    /// The URL: http://host/path?query.
    url: Uri,
    /// A header field; may be repeated.
    #[arg(short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the request comes from.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    #[command(flatten)]
    provided: ProvidedArgs,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be `name: value`")?;
    let name = name.trim().parse::<HeaderName>().map_err(|error| error.to_string())?;
    Ok((name, value.trim().parse().map_err(|error: http::header::InvalidHeaderValue| error.to_string())?))
}

/// One policy in its place.
#[derive(Debug, Serialize)]
struct Step {
    filter: &'static str,
    /// Where it was written.
    from: String,
    mode: String,
    says: String,
}

/// The whole answer.
#[derive(Debug, Default, Serialize)]
struct Explained {
    tenant: Option<String>,
    object: Option<String>,
    rule: Option<String>,
    verdict: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Target {
    Rule(ObjectRef, Box<RuleIr>),
    Source(ObjectRef, Box<WebhookSourceIr>),
    Broken(ObjectRef),
}

/// Runs the command: 0 when the request would be forwarded or taken, 1 when it would be refused, 2 when the
/// directory cannot be read.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let (files, countries) = match installation::read(&args.provided, &args.source) {
        Ok(read) => read,
        Err(error) => return out::failed(&error, out::TROUBLE),
    };
    let snapshot = compile(&files.gathered, &Snapshot::default(), Revision::default()).snapshot;
    let (explained, taken) = explain(args, &snapshot, countries.as_ref());
    if args.json {
        out::line(serde_json::to_string_pretty(&explained).unwrap_or_default());
    } else {
        print(&explained);
    }
    if taken { ExitCode::SUCCESS } else { ExitCode::from(out::FAULT) }
}

fn print(explained: &Explained) {
    for (name, value) in [("tenant", &explained.tenant), ("object", &explained.object), ("rule", &explained.rule)] {
        if let Some(value) = value {
            out::line(format_args!("{name:<8} {value}"));
        }
    }
    for Step { filter, from, mode, says } in &explained.steps {
        out::line(format_args!("  {filter:<17} {says}  [{from}, {mode}]"));
    }
    out::line(format_args!("verdict  {}", explained.verdict));
}

fn explain(args: &Args, snapshot: &Snapshot, countries: Option<&Arc<CountryDatabase>>) -> (Explained, bool) {
    let headers: HeaderMap = args.headers.iter().cloned().collect();
    let host = args.url.host().unwrap_or_default().to_ascii_lowercase();
    let head = RequestHead {
        method: &args.method,
        host: &host,
        path: args.url.path(),
        query: args.url.query(),
        headers: &headers,
        address: args.address,
    };
    let mut explained = Explained::default();
    let claims = |tenant: &&Arc<TenantSnapshot>| tenant.base.hostnames.iter().any(|name| name.matches(&host));
    let Some(tenant) = snapshot.tenants.iter().find(claims) else {
        explained.verdict = format!("404 unknown_host: no tenant claims `{host}`");
        return (explained, false);
    };
    explained.tenant = Some(tenant.tenant.to_string());
    let matcher = matcher(tenant);
    let taken = match matcher.find(&head) {
        Outcome::NotFound => {
            explained.verdict =
                "404 no_route: no rule of this host takes this path with these headers and query".to_owned();
            false
        }
        Outcome::MethodNotAllowed(methods) => {
            let methods = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
            explained.verdict = format!("405 method_not_allowed: this path takes {methods}");
            false
        }
        Outcome::Matched(Target::Broken(object)) => {
            explained.object = Some(object.to_string());
            explained.verdict = "503 not_programmed: `postern check` says what is wrong".to_owned();
            false
        }
        Outcome::Matched(Target::Source(object, source)) => {
            explained.object = Some(object.to_string());
            through_source(source, &head, countries, &mut explained)
        }
        Outcome::Matched(Target::Rule(object, rule)) => {
            explained.object = Some(object.to_string());
            explained.rule = Some(rule.name.to_string());
            through_rule((tenant, countries), object, rule, &head, &mut explained)
        }
    };
    (explained, taken)
}

fn matcher(tenant: &TenantSnapshot) -> Matcher<Target> {
    let mut matcher = Matcher::default();
    let any = |path| policy::route::MatchIr { path, methods: vec![], headers: vec![], query: vec![] };
    for entry in &tenant.objects {
        let place = |created_secs, index, broken| Place { object: entry.object.clone(), created_secs, index, broken };
        let decoded = match &entry.state {
            ObjectState::Compiled(blob) => blob.decode::<ObjectIr>().ok(),
            ObjectState::Broken => None,
        };
        // A match that cannot be added has been refused by compile: the object is broken then.
        match decoded {
            Some(ObjectIr::Route(route)) => {
                for (index, rule) in route.rules.iter().enumerate() {
                    let target = Target::Rule(entry.object.clone(), Box::new(rule.clone()));
                    for one in &rule.matches {
                        let _ = matcher.add(&route.hostnames, one, &place(route.created_secs, index, false), &target);
                    }
                }
            }
            Some(ObjectIr::WebhookSource(source)) => {
                if let Some(entrance) = source.entrance.clone() {
                    let one = any(PathMatchIr::Exact(entrance.path));
                    let target = Target::Source(entry.object.clone(), source);
                    let _ = matcher.add(&entrance.hostnames, &one, &place(0, 0, false), &target);
                }
            }
            None => {
                let target = Target::Broken(entry.object.clone());
                for path in &entry.footprint.paths {
                    let one = any(PathMatchIr::Prefix(path.clone()));
                    let _ = matcher.add(&entry.footprint.hostnames, &one, &place(0, 0, true), &target);
                }
            }
        }
    }
    matcher
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::Rule => "the rule",
        Origin::Route => "the Route",
        Origin::WebhookSource => "the WebhookSource",
        Origin::Tenant => "the Tenant",
        Origin::RateLimitPolicy => "a RateLimitPolicy",
        Origin::Default => "default",
    }
    .to_owned()
}

/// Steps so far, and the first refusal that would stand.
struct Walk<'e> {
    steps: &'e mut Vec<Step>,
    refused: Option<String>,
}

impl Walk<'_> {
    fn tell<T>(&mut self, filter: &'static str, attached: &Attached<T>, says: Result<String, Refusal>) {
        let (said, refused) = match says {
            Ok(said) => (said, None),
            Err(refusal) => {
                let text = format!("{} {}: {}", refusal.status().as_u16(), refusal.reason.word(), refusal.detail);
                (format!("would refuse, {text}"), Some(text))
            }
        };
        let (said, refused) = match attached.mode {
            Mode::Enforce => (said, refused),
            Mode::Audit => (said, None),
            Mode::Off => ("rests".to_owned(), None),
        };
        self.refused = self.refused.take().or(refused);
        let mode = format!("{:?}", attached.mode);
        self.steps.push(Step { filter, from: origin(attached.origin), mode, says: said });
    }

    fn note(&mut self, filter: &'static str, from: String, says: String) {
        self.steps.push(Step { filter, from, mode: "Enforce".to_owned(), says });
    }
}

fn through_rule(
    (tenant, countries): (&TenantSnapshot, Option<&Arc<CountryDatabase>>),
    object: &ObjectRef,
    rule: &RuleIr,
    head: &RequestHead<'_>,
    explained: &mut Explained,
) -> bool {
    let mut walk = Walk { steps: &mut explained.steps, refused: None };
    if !rule.broken_security.is_empty() {
        walk.refused = Some(format!("503 policy_broken: {}", rule.broken_security.join(", ")));
    }
    if let Some(block) = &rule.addresses {
        let decided = addresses(block, head, countries);
        walk.tell("addresses", block, decided.map(|from| format!("{} may call{from}", head.address)));
    }
    if let Some(block) = &rule.cors {
        walk.tell("cors", block, Ok(format!("{} origins may read answers", block.ir.allow_origins.len())));
    }
    let caller = authenticated(tenant, rule, head, &mut walk);
    if let Some(block) = &rule.authorization {
        let decided = authorize(&block.ir, head.method, caller.as_deref());
        walk.tell("authorization", block, decided.map(|()| "one of its grants holds".to_owned()));
    }
    for limits in tenant.rate_limits.iter().filter(|limits| limits.covers_rule(object, &rule.name)) {
        for limit in &limits.limits {
            let says = format!(
                "{}: {} in {} ms, {} at once, per {:?}",
                limit.name, limit.requests, limit.window_ms, limit.burst, limit.per
            );
            walk.note("rate_limit", limits.object.to_string(), says);
        }
    }
    if let Some(block) = &rule.request_schema {
        walk.tell(Filter::Schema.word(), block, Ok(checked("a body", &block.ir)));
    }
    way(rule, head, &mut walk);
    if !rule.broken_traffic.is_empty() && walk.refused.is_none() {
        let fields = rule.broken_traffic.join(", ");
        walk.refused = Some(format!("503 not_programmed, or with the traffic settings of its last good: {fields}"));
    }
    let refused = walk.refused.take();
    let backends: Vec<String> =
        rule.backends.iter().map(|backend| format!("{} (weight {})", backend.upstream, backend.weight)).collect();
    explained.verdict = refused.clone().unwrap_or_else(|| format!("forwarded to {}", backends.join(", ")));
    refused.is_none()
}

fn authenticated(
    tenant: &TenantSnapshot,
    rule: &RuleIr,
    head: &RequestHead<'_>,
    walk: &mut Walk<'_>,
) -> Option<std::sync::Arc<Caller>> {
    let block = &rule.authentication;
    let methods = Methods::new(&tenant.tenant, &tenant.base.methods);
    let decided = Authenticator::new(&block.ir, &methods).authenticate(
        head.headers,
        &mut TokenCache::default(),
        now_secs(),
        &mut Costly::allowed(),
    );
    let wanted = match &block.ir {
        AuthenticationIr::None => "open to everyone".to_owned(),
        AuthenticationIr::AnyOf(names) => format!("any of {}", names.join(", ")),
    };
    let caller = decided.as_ref().ok().cloned().flatten();
    let who = caller.as_ref().map_or(wanted, |caller| format!("{} by {}", caller.id, caller.method));
    walk.tell("authentication", block, decided.map(|_| who));
    if let Some(caller) = &caller {
        let agreed = Agreement::new(&tenant.tenant, &tenant.base.identifiers).check(caller);
        walk.tell("tenant_agreement", block, agreed.map(|()| format!("the caller is {}'s", tenant.tenant)));
    }
    caller
}

fn checked(what: &str, ir: &SchemaIr) -> String {
    format!("{what} must fit a JSON Schema of {} bytes", ir.document.len())
}

/// What forwarding does.
fn way(rule: &RuleIr, head: &RequestHead<'_>, walk: &mut Walk<'_>) {
    let bounds = format!(
        "request {} ms, one attempt {} ms (0: none of its own), stream {} ms (0: no limit), body {} bytes",
        rule.timeouts.request_ms, rule.timeouts.backend_request_ms, rule.timeouts.stream_ms, rule.max_body_size
    );
    walk.note("timeouts", "the effective settings".to_owned(), bounds);
    if let Some(block) = &rule.circuit_breaker {
        let ir = &block.ir;
        let says = format!(
            "opens at {} % of {} or {} in a row, for {} ms",
            ir.failure_percent, ir.min_requests, ir.consecutive_failures, ir.open_for_ms
        );
        walk.tell("circuit_breaker", block, Ok(says));
    }
    if let Some(block) = &rule.retry {
        let codes = block.ir.codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        walk.tell(
            "retry",
            block,
            Ok(format!("{} more attempts on {codes}, if idempotent or unsent", block.ir.attempts)),
        );
    }
    if let Some(block) = &rule.fallback {
        walk.tell("fallback", block, Ok(format!("{} when the upstream has no answer", block.ir.status)));
    }
    if let Some(block) = &rule.on_failure {
        let OnFailureIr { retention_secs, max_body_size } = block.ir;
        let says =
            format!("kept for {retention_secs} s as a dead letter when it fails, a body up to {max_body_size} bytes");
        let says = if OnFailureIr::concerns(head.method) { says } else { "does not concern this method".to_owned() };
        walk.tell("on_failure", block, Ok(says));
    }
    if let Some(block) = &rule.security_headers {
        let names = block.ir.set.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ");
        walk.tell("response_headers", block, Ok(names));
    }
}

/// Whether ranges and countries let the address through, and what they went by.
fn addresses(
    block: &Attached<IpAllowIr>,
    head: &RequestHead<'_>,
    countries: Option<&Arc<CountryDatabase>>,
) -> Result<String, Refusal> {
    Addresses::new(&block.ir, countries).check(head.address, now_secs)?;
    let mut from = String::new();
    for list in &block.ir.providers {
        let date = jiff::Timestamp::from_second(list.date_secs).unwrap_or_default();
        from += &format!(", {} ranges of {} as of {date}", list.ranges.len(), list.provider);
    }
    if let (Some(_), Some(database)) = (&block.ir.countries, countries) {
        let country = database.country(head.address).ok().flatten();
        from += &country.map_or(", in no country".to_owned(), |country| format!(", in {country}"));
    }
    Ok(from)
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn through_source(
    source: &WebhookSourceIr,
    head: &RequestHead<'_>,
    countries: Option<&Arc<CountryDatabase>>,
    explained: &mut Explained,
) -> bool {
    let mut walk = Walk { steps: &mut explained.steps, refused: None };
    if !source.broken_security.is_empty() {
        walk.refused = Some(format!("503 policy_broken: {}", source.broken_security.join(", ")));
    }
    if let Some(block) = &source.addresses {
        let decided = addresses(block, head, countries);
        walk.tell("addresses", block, decided.map(|from| format!("{} may send{from}", head.address)));
    }
    if let Some(block) = &source.client_certificate {
        // The fields that were given are taken as a trusted proxy's.
        let decided = ClientIdentity::new(&block.ir).map_or_else(
            |error| Err(Refusal::new(Reason::PolicyBroken, error.to_string())),
            |identity| identity.check(head.headers, true),
        );
        let says = format!("`{}` of a trusted proxy tells CN={}", block.ir.header, block.ir.common_name);
        walk.tell("client_certificate", block, decided.map(|()| says));
    }
    if let Some(block) = &source.verification {
        let recipe = &block.ir.recipe;
        let says = format!("`{}` is checked over the raw body with {} secrets", recipe.header, block.ir.secrets.len());
        walk.tell("authentication", block, Ok(says));
    }
    if let Some(window) = source.replay_window_secs {
        let says = format!("events more than {window} s from now are dead letters; repeats are known for longer");
        walk.note("replay", "the WebhookSource".to_owned(), says);
    }
    if let Some(block) = &source.schema {
        walk.tell(Filter::Schema.word(), block, Ok(checked("each event", &block.ir)));
    }
    let to = source
        .destination
        .as_ref()
        .map_or("the tenants it is shared with".to_owned(), |to| format!("{}{}", to.upstream, to.path));
    let says = format!(
        "{} attempts of {} ms, {} to {} ms apart",
        source.delivery.attempts,
        source.delivery.timeout_ms,
        source.delivery.backoff_base_ms,
        source.delivery.backoff_max_ms
    );
    walk.note("delivery", "the WebhookSource".to_owned(), says);
    let refused = walk.refused.take();
    explained.verdict =
        refused.clone().unwrap_or_else(|| format!("each event is made durable, answered 200, and delivered to {to}"));
    refused.is_none()
}
