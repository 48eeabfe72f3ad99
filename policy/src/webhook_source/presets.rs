//! The senders we know, one entry of data each.

use super::recipe::{Algorithm, Encoding, Layout, Part, Recipe, SecretForm, Timestamp};

/// How far a signed time may lie from now unless a user says otherwise: what the senders' own libraries take.
const TOLERANCE_SECS: u64 = 300;

fn body_hmac(header: &str, prefix: &str, encoding: Encoding) -> Recipe {
    Recipe {
        header: header.into(),
        layout: Layout::One(prefix.into()),
        encoding,
        algorithm: Algorithm::HmacSha256,
        signed: vec![Part::Body],
        timestamp: None,
        secret: SecretForm::Raw,
    }
}

/// Meta's WhatsApp Business Platform.
#[must_use]
pub fn whatsapp() -> Recipe {
    body_hmac("x-hub-signature-256", "sha256=", Encoding::Hex)
}

/// Genesys Cloud open messaging: Meta's header, but base64.
#[must_use]
pub fn genesys_open_messaging() -> Recipe {
    body_hmac("x-hub-signature-256", "sha256=", Encoding::Base64)
}

/// GitHub.
#[must_use]
pub fn github() -> Recipe {
    body_hmac("x-hub-signature-256", "sha256=", Encoding::Hex)
}

/// Shopify.
#[must_use]
pub fn shopify() -> Recipe {
    body_hmac("x-shopify-hmac-sha256", "", Encoding::Base64)
}

/// Standard Webhooks.
#[must_use]
pub fn standard_webhooks() -> Recipe {
    id_time_body("webhook")
}

/// Svix: Standard Webhooks under its older header names.
#[must_use]
pub fn svix() -> Recipe {
    id_time_body("svix")
}

fn id_time_body(family: &str) -> Recipe {
    let time = format!("{family}-timestamp");
    let dot = || Part::Literal(".".into());
    Recipe {
        header: format!("{family}-signature"),
        layout: Layout::List { separator: ' ', prefix: "v1,".into() },
        encoding: Encoding::Base64,
        algorithm: Algorithm::HmacSha256,
        signed: vec![Part::Header(format!("{family}-id")), dot(), Part::Header(time.clone()), dot(), Part::Body],
        timestamp: Some(Timestamp { header: time, tolerance_secs: TOLERANCE_SECS }),
        secret: SecretForm::Base64After("whsec_".into()),
    }
}

/// Slack.
#[must_use]
pub fn slack() -> Recipe {
    let time = "x-slack-request-timestamp";
    Recipe {
        signed: vec![Part::Literal("v0:".into()), Part::Header(time.into()), Part::Literal(":".into()), Part::Body],
        timestamp: Some(Timestamp { header: time.into(), tolerance_secs: TOLERANCE_SECS }),
        ..body_hmac("x-slack-signature", "v0=", Encoding::Hex)
    }
}

/// Discord interactions.
#[must_use]
pub fn discord() -> Recipe {
    let time = "x-signature-timestamp";
    Recipe {
        algorithm: Algorithm::Ed25519,
        signed: vec![Part::Header(time.into()), Part::Body],
        timestamp: Some(Timestamp { header: time.into(), tolerance_secs: TOLERANCE_SECS }),
        secret: SecretForm::Hex,
        ..body_hmac("x-signature-ed25519", "", Encoding::Hex)
    }
}

/// Telegram bots: a token in a header.
#[must_use]
pub fn telegram() -> Recipe {
    Recipe {
        algorithm: Algorithm::Token,
        signed: Vec::new(),
        ..body_hmac("x-telegram-bot-api-secret-token", "", Encoding::Hex)
    }
}
