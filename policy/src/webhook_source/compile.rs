//! A WebhookSource to its IR.
//!
//! What cannot be compiled of its inbound security makes the source refuse every request, what cannot be compiled of its
//! outbound security parks its deliveries, and of the rest the last good applies (`last_good`).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::doubts;
use super::recipe::recipe;
use super::{
    DeliveryIr, DeliverySpec, DestinationIr, DestinationSpec, EntranceIr, EntranceSpec, EventSchemaSpec, EventTimeIr,
    EventTimeSpec, ExtractIr, ExtractSpec, ExtractionIr, ExtractionSpec, Preset, Provider, SanitiseIr, SanitiseSpec,
    Unclaimed, VerificationIr, VerificationSpec, WebhookSourceIr, WebhookSourceSpec, replay,
};
use crate::attach::{Attached, Origin};
use crate::client_certificate;
use crate::installation::Installation;
use crate::ip_allow;
use crate::mode::Mode;
use crate::names::{Hostname, Kind, ObjectRef, TenantName};
use crate::problem::Problems;
use crate::refs::{RefError, Refs, resolved};
use crate::schema::SchemaIr;
use crate::secret::Secret;
use crate::settings::{self, Class};
use crate::tenant;
use crate::units::{DurationText, SizeText};
use crate::upstream::{self, ServicePort, UpstreamKey};

/// What a WebhookSource is compiled in.
#[derive(Clone, Copy)]
pub struct SourceSurroundings<'a> {
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
}

pub(super) const DAY_MS: u64 = 86_400_000;
/// The longest attempt: what a broker lets one consumer hold an event.
const MAX_TIMEOUT_MS: u64 = 60_000;
/// For how long repeats are known when nothing is said: for as long as Meta tries again.
pub(super) const DEFAULT_DEDUPE_MS: u64 = 7 * DAY_MS;
/// Body size of a generic source that names none.
const DEFAULT_BODY: u64 = 1024 * 1024;
/// Longest texts that may be asked for. The shortest leaves every name of ours whole.
const STRING_LENGTHS: RangeInclusive<u64> = 256..=8 * 1024 * 1024;
/// Depths that may be asked for. The least leaves every event of ours whole; no body goes deeper than the most.
const DEPTHS: RangeInclusive<u32> = 16..=100;

/// Compiles a source. `None` when it cannot be said where it listens; what else could not be compiled is marked in the
/// IR.
pub fn compile(
    spec: &WebhookSourceSpec,
    around: SourceSurroundings<'_>,
    mut problems: Problems<'_>,
) -> Option<WebhookSourceIr> {
    let first = problems.errors();
    let verification = spec
        .verification
        .as_ref()
        .and_then(|block| verification(spec.provider, block, around.refs, problems.at("verification")));
    let addresses = spec.source_addresses.as_ref().and_then(|block| {
        attached(ip_allow::compile_source(block, around.installation, problems.at("sourceAddresses")), block.mode)
    });
    let client_certificate = spec
        .client_certificate
        .as_ref()
        .and_then(|block| attached(client_certificate::compile(block, problems.at("clientCertificate")), block.mode));
    let replay_window_secs =
        spec.replay.as_ref().and_then(|block| replay::window_secs(block, spec, problems.at("replay")));
    let schema = spec.schema.as_ref().filter(|block| block.mode.runs());
    let schema = schema.and_then(|block| schema_of(block, around.refs, problems.at("schema")));
    shape(spec, around.unread, &mut problems);
    let entrance = spec.entrance.as_ref().map(|block| entrance(block, around.hostnames, problems.at("match")));
    let mut foreign = None;
    let destination = spec.destination.as_ref();
    let destination =
        destination.and_then(|block| destination_of(block, around.refs, &mut foreign, problems.at("destination")));
    let delivery = delivery(spec.delivery.as_ref(), around.refs, problems.at("delivery"));
    let max_body_size = body_size(spec, around.max_body_size, &mut problems);
    let mut ir = WebhookSourceIr {
        provider: spec.provider,
        entrance: entrance.flatten(),
        broken_security: Vec::new(),
        broken_outbound: Vec::new(),
        broken_traffic: Vec::new(),
        verification,
        addresses,
        client_certificate,
        replay_window_secs,
        shared: shared(spec),
        shared_with: shared_with(spec, problems.at("sharedWith")),
        unclaimed: spec.unclaimed.unwrap_or(Unclaimed::DeadLetter),
        schema,
        extraction: extraction(spec, problems.at("event")),
        sanitise: sanitise(spec.sanitise.as_ref(), problems.at("sanitise")),
        destination,
        delivery,
        wait_for_gap_ms: spec.ordering.as_ref().and_then(|order| order.wait_for_gap.as_ref()).map_or(5_000, |gap| {
            in_range(gap, 0, 300_000, problems.at("ordering").at("waitForGap")).unwrap_or_default()
        }),
        dedupe_window_secs: spec.dedupe.as_ref().map_or(DEFAULT_DEDUPE_MS, |dedupe| {
            in_range(&dedupe.window, 1_000, 30 * DAY_MS, problems.at("dedupe").at("window")).unwrap_or_default()
        }) / 1000,
        retention_secs: spec.dead_letter.as_ref().map_or(14 * DAY_MS, |dead| {
            in_range(&dead.retention, 60_000, 365 * DAY_MS, problems.at("deadLetter").at("retention"))
                .unwrap_or_default()
        }) / 1000,
        max_body_size,
        mode: spec.mode.sent(),
    };
    // A security block that came to nothing refuses, even should its compile step have recorded no problem.
    let fields = problems.fields_since(first).into_iter().chain(lost_security(spec, &ir));
    classify(&mut ir, fields.chain(around.unread.iter().cloned()), foreign.as_deref());
    replay::doubts(&ir, problems.at("replay"));

    let known = !around.unread.iter().any(|path| path == "spec.match");
    Some(ir).filter(|ir| known && ir.entrance.is_some() == spec.entrance.is_some())
}

/// Returns the security blocks of the spec that the IR does not have.
fn lost_security(spec: &WebhookSourceSpec, ir: &WebhookSourceIr) -> Vec<String> {
    let wants_schema = spec.schema.as_ref().is_some_and(|block| block.mode.runs());
    let blocks = [
        ("spec.verification", spec.verification.is_some(), ir.verification.is_some()),
        ("spec.sourceAddresses", spec.source_addresses.is_some(), ir.addresses.is_some()),
        ("spec.clientCertificate", spec.client_certificate.is_some(), ir.client_certificate.is_some()),
        ("spec.replay", spec.replay.is_some(), ir.replay_window_secs.is_some()),
        ("spec.schema", wants_schema, ir.schema.is_some()),
    ];
    let lost = blocks.into_iter().filter(|(_, wanted, compiled)| *wanted && !compiled);
    lost.map(|(field, ..)| field.to_owned()).collect()
}

/// Notes what could not be compiled, by what it decides. `foreign` is a destination that is another's and not granted:
/// the last good would go on to reach it.
fn classify(ir: &mut WebhookSourceIr, fields: impl Iterator<Item = String>, foreign: Option<&str>) {
    for field in fields {
        let block = settings::block(Kind::WebhookSource, &field);
        let (path, class) = block.map_or((field.clone(), Class::InboundSecurity), |block| (block.path, block.class));
        let class = if foreign == Some(field.as_str()) { Class::OutboundSecurity } else { class };
        let broken = match class {
            Class::InboundSecurity => &mut ir.broken_security,
            Class::OutboundSecurity => &mut ir.broken_outbound,
            Class::Traffic => &mut ir.broken_traffic,
        };
        if !broken.iter().any(|known| **known == *path) {
            broken.push(path.into());
        }
    }
}

fn shared(spec: &WebhookSourceSpec) -> Option<ObjectRef> {
    let shared = spec.shared.as_ref()?;
    Some(ObjectRef::new(Kind::WebhookSource, shared.namespace.as_str(), shared.name.as_str()))
}

/// The rules between blocks, which the CRD's own rules say too.
fn shape(spec: &WebhookSourceSpec, unread: &[String], problems: &mut Problems<'_>) {
    let read = |field: &str| !unread.iter().any(|path| path.strip_prefix("spec.") == Some(field));
    if spec.entrance.is_some() == spec.shared.is_some() && read("match") && read("shared") {
        problems.invalid(
            "must name either match or shared",
            "name match if the source listens itself, shared if another source verifies for it",
        );
    }
    if spec.entrance.is_some() && spec.verification.is_none() && read("verification") {
        problems.at("verification").invalid(
            "is missing: a source that listens must verify",
            "name the provider's secret in verification.secretRefs",
        );
    }
    if spec.shared.is_some() && spec.verification.is_some() {
        problems
            .at("verification")
            .invalid("has no effect behind a shared source", "leave it out: the shared source verifies");
    }
    if spec.shared.is_some() {
        for (field, written) in [
            ("sourceAddresses", spec.source_addresses.is_some()),
            ("clientCertificate", spec.client_certificate.is_some()),
        ] {
            if written {
                let help = "write it on the shared source, which is the one that senders reach";
                problems.at(field).invalid("has no effect behind a shared source", help);
            }
        }
    }
    if spec.destination.is_none() && spec.shared_with.is_none() && read("destination") && read("sharedWith") {
        problems
            .at("destination")
            .invalid("is missing", "name a backendRef, or the tenants that the source is sharedWith");
    }
    if spec.provider != Provider::Generic && spec.event.is_some() {
        problems
            .at("event")
            .invalid("belongs to provider Generic", "leave it out: the preset knows id, type and conversation");
    }
}

fn verification(
    provider: Provider,
    spec: &VerificationSpec,
    refs: &dyn Refs,
    mut problems: Problems<'_>,
) -> Option<Attached<VerificationIr>> {
    let VerificationSpec { secret_refs, handshake, recipe: written, url_scheme, mode } = spec;
    let before = problems.errors();
    let recipe = recipe(provider, written.as_ref(), problems.at("recipe"));

    let mut secrets = Vec::with_capacity(secret_refs.len());
    for (index, reference) in secret_refs.iter().enumerate() {
        let mut problems = problems.at("secretRefs");
        let mut problems = problems.item(index);
        let Some(secret) = resolved(refs.secret(reference), &mut problems) else { continue };
        if not_blank(&secret, problems.reborrow()).is_some() {
            recipe.iter().for_each(|recipe| doubts::verified_with(&secret, recipe, problems.reborrow()));
            secrets.push(secret);
        }
    }
    let token = handshake.as_ref().and_then(|handshake| {
        let mut problems = problems.at("handshake");
        let mut problems = problems.at("verifyTokenRef");
        let token = resolved(refs.secret(&handshake.verify_token_ref), &mut problems)?;
        not_blank(&token, problems.reborrow())?;
        doubts::handshake(&token, problems);
        Some(token)
    });

    if handshake.is_some() && !provider.preset().is_some_and(Preset::has_verify_token) {
        let help = "leave it out: what the provider asks instead is answered by itself";
        problems.at("handshake").invalid("is nothing that this provider does with a token", help);
    }
    let recipe = recipe?;
    if url_scheme.is_some() && !recipe.signs_url() {
        problems.at("urlScheme").invalid("has no effect: this provider does not sign the URL", "leave it out");
    }
    let ir = VerificationIr { recipe, secrets, handshake: token, url_scheme: *url_scheme };
    if problems.errors() == before
        && let Err(error) = super::Verifier::new(&ir)
    {
        problems.at("secretRefs").invalid(error.to_string(), "write the secret as the provider shows it");
    }
    if !matches!(mode, Mode::Enforce) {
        problems.at("mode").warn(
            format!("is {mode:?}: events are taken and delivered whoever sent them"),
            "write mode: Enforce, or leave it out, as soon as the provider signs",
        );
    }
    let ok = problems.errors() == before;
    ok.then_some(Attached { ir, mode: *mode, origin: Origin::WebhookSource })
}

/// Everybody knows a secret of nothing but spaces.
fn not_blank(secret: &Secret, mut problems: Problems<'_>) -> Option<()> {
    let blank = secret.reveal().trim_ascii().is_empty();
    if blank {
        problems.invalid("names a secret that is blank", "store the secret itself");
    }
    (!blank).then_some(())
}

fn attached<Ir>(ir: Option<Ir>, mode: Mode) -> Option<Attached<Ir>> {
    ir.map(|ir| Attached { ir, mode, origin: Origin::WebhookSource })
}

fn schema_of(spec: &EventSchemaSpec, refs: &dyn Refs, problems: Problems<'_>) -> Option<Attached<SchemaIr>> {
    let ir = crate::schema::compile(&spec.config_map_ref, refs, problems)?;
    Some(Attached { ir, mode: spec.mode, origin: Origin::WebhookSource })
}

fn entrance(spec: &EntranceSpec, held: &[Hostname], mut problems: Problems<'_>) -> Option<EntranceIr> {
    let EntranceSpec { hostnames, path } = spec;
    let before = problems.errors();
    let hosts = tenant::compile_hosts(hostnames, held, problems.at("hostnames"));
    let plain = path.starts_with('/') && !path.contains("//") && !path.contains(['?', '#', '%', '\\']);
    if !plain || path.split('/').any(|segment| segment == "." || segment == "..") {
        problems.at("path").invalid(format!("{path:?} is no plain path"), "write a path such as /webhooks/whatsapp");
    }
    (problems.errors() == before).then(|| EntranceIr { hostnames: hosts, path: path.as_str().into() })
}

const TARGET_HELP: &str = "begin it with / and write spaces and characters beyond ASCII as %20, %C3%A4";

/// Returns whether a path and query can stand in a request line: a line end there would begin another request.
fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains('#')
}

/// The destination; `foreign` gets the field that names a Service of another namespace which does not grant it. Such a
/// destination is kept, so that events are accepted for it and wait.
fn destination_of(
    spec: &DestinationSpec,
    refs: &dyn Refs,
    foreign: &mut Option<String>,
    mut problems: Problems<'_>,
) -> Option<DestinationIr> {
    let DestinationSpec { backend_ref, path, url } = spec;
    let path: Arc<str> = path.as_deref().unwrap_or("/").into();
    if !is_target(&path) {
        problems.at("path").invalid(format!("{path:?} is not a path"), TARGET_HELP);
        return None;
    }
    match (backend_ref, url) {
        (Some(reference), None) => {
            let mut problems = problems.at("backendRef");
            let found = refs.service(reference);
            if let Err(RefError::NotGranted { object, .. } | RefError::ForeignNamespace { object, .. }) = &found {
                *foreign = Some(problems.field().to_owned());
                let (namespace, name) = (Arc::clone(&object.namespace), Arc::clone(&object.name));
                let wanted = ServicePort { namespace, name, port: reference.port };
                resolved(found, &mut problems);
                return Some(DestinationIr { upstream: UpstreamKey::Service(wanted), path });
            }
            let service = resolved(found, &mut problems)?;
            Some(DestinationIr { upstream: UpstreamKey::Service(service), path })
        }
        (None, Some(url)) => {
            let after = url.find("://").map_or(0, |at| at + 3);
            let start = url.get(after..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after + at);
            let (origin, rest) = url.split_at(start);
            if !rest.is_empty() && !is_target(rest) {
                problems.at("url").invalid(format!("{url:?} holds what a URL cannot"), TARGET_HELP);
                return None;
            }
            let upstream = upstream::origin(origin, problems.at("url"))?;
            Some(DestinationIr { upstream, path: if rest.is_empty() { path } else { rest.into() } })
        }
        (_, _) => {
            problems.invalid("must name either a backendRef or an url", "name one of them");
            None
        }
    }
}

fn delivery(spec: Option<&DeliverySpec>, refs: &dyn Refs, mut problems: Problems<'_>) -> DeliveryIr {
    let retry = spec.and_then(|spec| spec.retry.as_ref());
    let backoff = retry.and_then(|retry| retry.backoff.as_ref());
    let mut pause = |text: Option<&DurationText>, field: &str, default: u64| {
        text.map_or(default, |text| {
            let mut problems = problems.at("retry");
            let mut problems = problems.at("backoff");
            in_range(text, 1, DAY_MS, problems.at(field)).unwrap_or(default)
        })
    };
    let base = pause(backoff.and_then(|backoff| backoff.base.as_ref()), "base", 500);
    let max = pause(backoff.and_then(|backoff| backoff.max.as_ref()), "max", 600_000.max(base));
    if max < base {
        problems.at("retry").at("backoff").invalid("has a max below its base", "raise max, or lower base");
    }
    let timeout = spec
        .and_then(|spec| spec.timeout.as_ref())
        .map_or(10_000, |timeout| in_range(timeout, 1, MAX_TIMEOUT_MS, problems.at("timeout")).unwrap_or(10_000));
    let sign_with = spec.and_then(|spec| spec.sign_with.as_ref());
    let sign_with = sign_with.and_then(|sign| {
        let mut problems = problems.at("signWith");
        let mut problems = problems.at("secretRef");
        let secret = resolved(refs.secret(&sign.secret_ref), &mut problems)?;
        not_blank(&secret, problems.reborrow())?;
        doubts::signed_with(&secret, problems);
        Some(secret)
    });
    DeliveryIr {
        timeout_ms: timeout,
        attempts: retry.and_then(|retry| retry.attempts).unwrap_or(12),
        backoff_base_ms: base,
        backoff_max_ms: max,
        sign_with: sign_with.into_iter().collect(),
    }
}

fn body_size(spec: &WebhookSourceSpec, ceiling: u64, problems: &mut Problems<'_>) -> u64 {
    let needed = spec.provider.preset().map(|preset| preset.max_body_size);
    let wanted = spec.max_body_size.as_ref().map(SizeText::bytes);
    if let Some(needed) = needed.filter(|needed| spec.entrance.is_some() && ceiling < *needed) {
        let help = format!("raise ceilings.maxBodySize of the Tenant to {needed} or more");
        problems.at("maxBodySize").not_allowed(
            format!("is {ceiling} bytes by the tenant's ceiling, and the provider sends bodies of up to {needed}"),
            help,
        );
    }
    wanted.or(needed).unwrap_or(DEFAULT_BODY).min(ceiling)
}

fn shared_with(spec: &WebhookSourceSpec, mut problems: Problems<'_>) -> Vec<TenantName> {
    let mut tenants = Vec::new();
    for (index, text) in spec.shared_with.iter().flat_map(|shared| &shared.tenants).enumerate() {
        match TenantName::parse(text) {
            Ok(name) => tenants.push(name),
            Err(error) => {
                problems.at("tenants").item(index).invalid(format!("{text:?} {error}"), "write the name of a Tenant");
            }
        }
    }
    tenants
}

fn extraction(spec: &WebhookSourceSpec, mut problems: Problems<'_>) -> ExtractionIr {
    if let Some(preset) = spec.provider.preset() {
        return preset.extraction();
    }
    let Some(event) = &spec.event else { return ExtractionIr::default() };
    let ExtractionSpec { each, id, kind, conversation, time } = event;
    let mut one = |extract: &Option<ExtractSpec>, field: &str| {
        extract.as_ref().and_then(|extract| extract_ir(extract, problems.at(field)))
    };
    let (id, kind, conversation) = (one(id, "id"), one(kind, "type"), one(conversation, "conversation"));
    let each = each
        .as_deref()
        .and_then(|path| if path == "$" { Some(Vec::new()) } else { path_ir(path, problems.at("each")) });
    if each.is_some() && matches!(id, Some(ExtractIr::Header(_))) {
        let help = "name a path in the element, or leave it out";
        problems
            .at("id")
            .invalid("is one header for all events of the list, so all but one would count as repeats", help);
    }
    let time = time.as_ref().and_then(|EventTimeSpec { at, format }| {
        let mut problems = problems.at("time");
        Some(EventTimeIr { at: extract_ir(at, problems.at("at"))?, format: *format })
    });
    ExtractionIr { each, id, kind, conversation, time }
}

fn sanitise(spec: Option<&SanitiseSpec>, mut problems: Problems<'_>) -> SanitiseIr {
    let default = SanitiseIr::default();
    let Some(SanitiseSpec { control_characters, max_string_length, max_depth }) = spec else { return default };
    let length = max_string_length.as_ref().map_or(default.max_string_length, SizeText::bytes);
    if !STRING_LENGTHS.contains(&length) {
        problems.at("maxStringLength").invalid(format!("{length} bytes is out of range"), "write 256 to 8Mi");
    }
    let depth = max_depth.unwrap_or(default.max_depth);
    if !DEPTHS.contains(&depth) {
        problems.at("maxDepth").invalid(format!("{depth} is out of range"), "write 16 to 100");
    }
    SanitiseIr {
        control_characters: control_characters.unwrap_or(default.control_characters),
        max_string_length: length,
        max_depth: depth,
    }
}

fn extract_ir(spec: &ExtractSpec, mut problems: Problems<'_>) -> Option<ExtractIr> {
    match (&spec.header, &spec.path) {
        (Some(header), None) => Some(ExtractIr::Header(header.to_ascii_lowercase().into())),
        (None, Some(path)) => path_ir(path, problems.at("path")).map(ExtractIr::Path),
        (_, _) => {
            problems.invalid("must name either a header or a path", "name one of them");
            None
        }
    }
}

fn path_ir(path: &str, mut problems: Problems<'_>) -> Option<Vec<Arc<str>>> {
    let steps = steps(path);
    if steps.is_none() {
        let help = "write names and indexes: $.customer.id, $.items[0].id";
        problems.invalid(format!("{path:?} cannot be read"), help);
    }
    steps
}

/// `$.a.b[0]` as its steps.
fn steps(path: &str) -> Option<Vec<Arc<str>>> {
    let rest = path.strip_prefix('$')?.replace('[', ".").replace(']', "");
    let steps: Option<Vec<Arc<str>>> =
        rest.strip_prefix('.')?.split('.').map(|step| (!step.is_empty()).then(|| step.into())).collect();
    steps.filter(|steps| steps.len() <= 16)
}

/// A duration in milliseconds, if it lies between the bounds.
pub(super) fn in_range(text: &DurationText, least: u64, most: u64, mut problems: Problems<'_>) -> Option<u64> {
    let millis = text.millis();
    if (least..=most).contains(&millis) {
        return Some(millis);
    }
    problems.invalid(format!("{} is out of range", text.as_str()), format!("write {least}ms to {}s", most / 1000));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("webhook_source", |spec: &WebhookSourceSpec, refs, problems| alone(spec, refs, problems));
        golden::check_page("webhook_source", "/spec", |spec: &WebhookSourceSpec, refs, problems| {
            alone(spec, refs, problems)
        });
    }

    /// In a tenant that holds one host. A source that refuses counts as refused here.
    fn alone(spec: &WebhookSourceSpec, refs: &dyn Refs, problems: Problems<'_>) -> Option<WebhookSourceIr> {
        let held = [Hostname::parse("api.acme.example").unwrap()];
        let installation = Installation::default();
        let around = SourceSurroundings {
            hostnames: &held,
            max_body_size: 4 * 1024 * 1024,
            refs,
            installation: &installation,
            unread: &[],
        };
        compile(spec, around, problems)
            .filter(|ir| ir.broken_security.is_empty() && ir.broken_outbound.is_empty() && ir.broken_traffic.is_empty())
    }

    #[test]
    fn a_snapshot_of_before_there_was_sanitise_means_the_default() {
        let spec: WebhookSourceSpec = serde_json::from_value(serde_json::json!({
            "provider": "WhatsApp", "shared": {"name": "meta", "namespace": "platform"},
            "destination": {"backendRef": {"name": "adapter", "port": 80}}, "sanitise": {"maxDepth": 16},
        }))
        .unwrap();
        let object = ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp");
        let ir = alone(&spec, &golden::Given::default(), Problems::of(&object, &mut Vec::new())).unwrap();
        let mut older = serde_json::to_value(ir).unwrap();
        assert_eq!(older.as_object_mut().unwrap().remove("sanitise").unwrap()["max_depth"], 16);
        let ir: WebhookSourceIr = serde_json::from_value(older).unwrap();
        assert_eq!(ir.sanitise, SanitiseIr::default());
    }

    #[test]
    fn a_path_is_names_and_indexes() {
        let read = |path| steps(path).map(|steps| steps.join("/"));
        assert_eq!(read("$.a.b[0].c").as_deref(), Some("a/b/0/c"));
        for path in ["$", "a.b", "$..b", "$.", "$.a."] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
