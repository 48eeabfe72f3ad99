//! What a user writes for webhooks.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ControlCharacters, Encoding, Provider, SignatureAlgorithm, SignatureList, TimeFormat, Unclaimed, UrlScheme,
};
use crate::client_certificate::ClientCertificateSpec;
use crate::ip_allow::SourceAddressesSpec;
use crate::mode::Mode;
use crate::reference::{BackendRef, ConfigMapKeyRef, SecretKeyRef};
use crate::retry::BackoffSpec;
use crate::status::ObjectStatus;
use crate::units::{DurationText, SizeText};

/// Where a source listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntranceSpec {
    /// Its hosts; all of the tenant's when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub hostnames: Vec<String>,
    /// Its path, exactly.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.header), has(self.literal), has(self.request), has(self.body)].filter(x, x).size() == 1", "message": "each part is a header, a literal, a part of the request or the body"}]))]
pub struct SignedPartSpec {
    /// A header field's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// This text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub literal: Option<String>,
    /// Something else of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<SignedRequest>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<SignedBody>,
}

/// What of a request is signed besides header fields and the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SignedRequest {
    /// Its method.
    Method,
    /// Its URL as the sender knows it: scheme, host without port, path and query.
    Url,
    /// The timestamp, wherever it stands.
    Timestamp,
}

/// Which body is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SignedBody {
    /// The bytes as they came.
    Raw,
}

fn single() -> SignatureList {
    SignatureList::Single
}

fn hmac_sha256() -> SignatureAlgorithm {
    SignatureAlgorithm::HmacSha256
}

/// Where the signature is and how it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureSpec {
    /// Its header field.
    #[schemars(length(min = 1, max = 128))]
    pub header: String,
    /// What stands before it.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub prefix: String,
    /// How it is written.
    pub encoding: Encoding,
    /// How it is made.
    #[serde(default = "hmac_sha256")]
    pub algorithm: SignatureAlgorithm,
    /// How several stand together, or one beside other things: one that begins with the prefix is enough.
    #[serde(default = "single")]
    pub list: SignatureList,
}

/// The time that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.header) != has(self.beside)", "message": "name either a header or what stands before the time beside the signature"}]))]
pub struct TimestampSpec {
    /// Its header field; must be one of the signed parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// What stands before it in the signature's own header field: `t=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub beside: Option<String>,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may be off, to either side; 5m when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<DurationText>,
}

/// How a sender without a preset signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecipeSpec {
    /// The signature.
    pub signature: SignatureSpec,
    /// What is signed, joined; the body must be among it.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub signed_parts: Vec<SignedPartSpec>,
    /// The time that is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSpec>,
}

/// The GET by which a provider asks before it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandshakeSpec {
    /// The token that it must know.
    pub verify_token_ref: SecretKeyRef,
}

/// How requests are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerificationSpec {
    /// All active secrets: a new one is added before the old one goes.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub secret_refs: Vec<SecretKeyRef>,
    /// The provider's GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake: Option<HandshakeSpec>,
    /// How it is signed; for provider Generic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeSpec>,
    /// The scheme of the URL that the sender was given, where it signs the URL. When left out, what a trusted hop
    /// says in X-Forwarded-Proto, else Https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_scheme: Option<UrlScheme>,
    /// Whether it enforces.
    #[serde(default)]
    pub mode: Mode,
}

/// Old events are refused where the provider signs no time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplaySpec {
    /// How far the event's own time may be off, to either side.
    pub window: DurationText,
}

/// Another source, which verifies for this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
}

/// Whom a source verifies for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedWithSpec {
    /// Tenants whose entries it may hand on.
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub tenants: Vec<String>,
}

/// Where a text of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.header) != has(self.path)", "message": "name either a header or a path"}]))]
pub struct ExtractSpec {
    /// A header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// A path in the body: `$.customer.id`, `$.items[0].id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = "^\\$"))]
    pub path: Option<String>,
}

/// Where the time of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventTimeSpec {
    /// Where.
    pub at: ExtractSpec,
    /// How it is written.
    pub format: TimeFormat,
}

/// What a generic source says of its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtractionSpec {
    /// A list in the body whose elements are events, `$` for the body itself; the body is one event when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = "^\\$"))]
    pub each: Option<String>,
    /// The event's id; the digest of the body when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ExtractSpec>,
    /// The event's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExtractSpec>,
    /// The conversation that its order is kept in; one for the whole source when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ExtractSpec>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<EventTimeSpec>,
}

/// What events are kept within: past it they are cut, not refused, and their `sanitised` attribute says where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SanitiseSpec {
    /// What becomes of control characters; Remove when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_characters: Option<ControlCharacters>,
    /// The longest text, in bytes of UTF-8, 256 to 8Mi; 64Ki when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_string_length: Option<SizeText>,
    /// Objects and lists inside each other, 16 to 100; a deeper one becomes null. 32 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 100))]
    pub max_depth: Option<u32>,
}

/// A JSON Schema (2020-12 or draft-07) that events must fit; one that does not becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventSchemaSpec {
    /// Where the schema is: one JSON document.
    pub config_map_ref: ConfigMapKeyRef,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.backendRef) != has(self.url)", "message": "name either a backendRef or an url"}]))]
pub struct DestinationSpec {
    /// A Service port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<BackendRef>,
    /// The path there; `/` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: Option<String>,
    /// An URL in place of a Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
}

/// What order is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderPer {
    /// Each conversation for itself.
    Conversation,
}

/// How order is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderingSpec {
    /// In what.
    pub per: OrderPer,
    /// For how long a missing predecessor is waited for; 5s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_for_gap: Option<DurationText>,
}

/// For how long repeats are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DedupeSpec {
    /// Up to 30d; 7d when left out, for as long as Meta tries again.
    pub window: DurationText,
}

/// Attempts to deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliveryRetrySpec {
    /// Attempts in all; 12 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// The pauses between them; 500ms to 10m when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffSpec>,
}

/// What deliveries are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignWithSpec {
    /// The secret, `whsec_` and base64 (Standard Webhooks) or any text.
    pub secret_ref: SecretKeyRef,
}

/// How events are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliverySpec {
    /// For one attempt, 60s at most; 10s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<DeliveryRetrySpec>,
    /// Signs what is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_with: Option<SignWithSpec>,
}

/// What becomes of what could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeadLetterSpec {
    /// For how long it is kept; 14d when left out.
    pub retention: DurationText,
}

/// Webhooks of one sender.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "WebhookSource",
    plural = "webhooksources",
    namespaced,
    shortname = "whs",
    category = "postern",
    status = "ObjectStatus",
    derive = "PartialEq",
    doc = "Webhooks of one sender: verified, made durable, delivered in order."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.match) != has(self.shared)", "message": "name either match (the source listens itself) or shared (another verifies for it)"},
    {"rule": "has(self.match) == has(self.verification)", "message": "a source that listens needs verification; one behind a shared source has none"},
    {"rule": "has(self.destination) || has(self.sharedWith)", "message": "name a destination, or the tenants that it is sharedWith"},
    {"rule": "!has(self.verification) || (self.provider == 'Generic') == has(self.verification.recipe)", "message": "a recipe belongs to provider Generic, which needs one"}
]))]
pub struct WebhookSourceSpec {
    /// The tenant that it belongs to; needed only where a namespace serves several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub tenant: Option<String>,
    /// Whose format it speaks.
    pub provider: Provider,
    /// Where it listens.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub entrance: Option<EntranceSpec>,
    /// How requests are verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationSpec>,
    /// Addresses that may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_addresses: Option<SourceAddressesSpec>,
    /// The certificate that senders show to the proxy in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateSpec>,
    /// Old events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplaySpec>,
    /// The source that verifies for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedSpec>,
    /// Whom this one verifies for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<SharedWithSpec>,
    /// What becomes of entries that nobody claims; DeadLetter when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclaimed: Option<Unclaimed>,
    /// What its events are called; for provider Generic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<ExtractionSpec>,
    /// What its events are kept within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sanitise: Option<SanitiseSpec>,
    /// What its events must fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<EventSchemaSpec>,
    /// Where events go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<DestinationSpec>,
    /// How order is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<OrderingSpec>,
    /// For how long repeats are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<DedupeSpec>,
    /// How events are delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliverySpec>,
    /// What becomes of what could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterSpec>,
    /// The largest body; what the provider needs when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// Whether it takes webhooks at all: Off answers as if it were not there.
    #[serde(default)]
    pub mode: SourceMode,
}

/// Whether a source takes webhooks. Its blocks can audit, a source as a whole cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SourceMode {
    /// It takes webhooks.
    #[default]
    Enforce,
    /// It answers as if it were not there.
    Off,
}

impl SourceMode {
    /// The mode that is sent.
    pub(super) fn sent(self) -> Mode {
        match self {
            Self::Enforce => Mode::Enforce,
            Self::Off => Mode::Off,
        }
    }
}
