//! The providers that are known: each preset is one entry of data.

use serde::{Deserialize, Serialize};

use super::{Encoding, PartIr, RecipeIr, SecretFormat, SignatureAlgorithm, SignatureList, TimeFormat, TimestampIr};

/// Whose format a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Provider {
    /// WhatsApp Business, by Meta's Graph webhooks.
    WhatsApp,
    /// Genesys Cloud Open Messaging.
    GenesysOpenMessaging,
    /// Standard Webhooks 1.0.
    StandardWebhooks,
    /// Svix: Standard Webhooks with header fields of its own.
    Svix,
    /// Anything else, by a recipe.
    Generic,
}

/// What a preset says about a provider.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The signature's header field, lower case.
    pub header: &'static str,
    /// What stands before it.
    pub prefix: &'static str,
    /// How it is written.
    pub encoding: Encoding,
    /// How several stand together.
    pub list: SignatureList,
    /// How secrets are written.
    pub secret: SecretFormat,
    /// The header field with the event's id, when it is signed.
    pub id_header: Option<&'static str>,
    /// The header field with the time, when it is signed.
    pub time_header: Option<&'static str>,
    /// The largest body that the provider sends, in bytes.
    pub max_body_size: u64,
    /// Whether the provider asks by GET before it sends.
    pub handshake: bool,
}

/// Body size of providers that name none.
const USUAL_BODY: u64 = 1024 * 1024;
/// How far a signed time may be off: what Standard Webhooks recommends.
const TOLERANCE_SECS: u32 = 300;

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 5] =
        [Self::WhatsApp, Self::GenesysOpenMessaging, Self::StandardWebhooks, Self::Svix, Self::Generic];

    /// The first part of its events' types.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::WhatsApp => "whatsapp",
            Self::GenesysOpenMessaging => "genesys",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Svix => "svix",
            Self::Generic => "generic",
        }
    }

    /// Its preset; none for a provider whose recipe the user writes.
    #[must_use]
    pub const fn preset(self) -> Option<Preset> {
        let standard = Preset {
            header: "webhook-signature",
            prefix: "v1,",
            encoding: Encoding::Base64,
            list: SignatureList::Spaces,
            secret: SecretFormat::Whsec,
            id_header: Some("webhook-id"),
            time_header: Some("webhook-timestamp"),
            max_body_size: USUAL_BODY,
            handshake: false,
        };
        Some(match self {
            // developers.facebook.com, Graph API webhooks, "Validating payloads"; bodies up to 3 MB.
            Self::WhatsApp => Preset {
                header: "x-hub-signature-256",
                prefix: "sha256=",
                encoding: Encoding::Hex,
                list: SignatureList::Single,
                secret: SecretFormat::Text,
                id_header: None,
                time_header: None,
                max_body_size: 3 * 1024 * 1024,
                handshake: true,
            },
            // developer.genesys.cloud, Open Messaging, "Validate": the same header field, but in base64.
            Self::GenesysOpenMessaging => Preset {
                header: "x-hub-signature-256",
                prefix: "sha256=",
                encoding: Encoding::Base64,
                list: SignatureList::Single,
                secret: SecretFormat::Text,
                id_header: None,
                time_header: None,
                max_body_size: USUAL_BODY,
                handshake: false,
            },
            // github.com/standard-webhooks/standard-webhooks, specification 1.0.
            Self::StandardWebhooks => standard,
            // docs.svix.com, "Verifying webhooks manually".
            Self::Svix => Preset {
                header: "svix-signature",
                id_header: Some("svix-id"),
                time_header: Some("svix-timestamp"),
                ..standard
            },
            Self::Generic => return None,
        })
    }
}

impl Preset {
    /// The preset as a recipe.
    #[must_use]
    pub fn recipe(&self) -> RecipeIr {
        let dot = || PartIr::Literal(".".into());
        let mut signed = Vec::new();
        if let Some(id) = self.id_header {
            signed.extend([PartIr::Header(id.into()), dot()]);
        }
        if self.time_header.is_some() {
            signed.extend([PartIr::Timestamp, dot()]);
        }
        signed.push(PartIr::Body);
        RecipeIr {
            header: self.header.into(),
            prefix: self.prefix.into(),
            encoding: self.encoding,
            algorithm: SignatureAlgorithm::HmacSha256,
            list: self.list,
            secret: self.secret,
            signed,
            timestamp: self.time_header.map(|header| TimestampIr {
                header: Some(header.into()),
                format: TimeFormat::UnixSeconds,
                tolerance_secs: TOLERANCE_SECS,
            }),
        }
    }
}
