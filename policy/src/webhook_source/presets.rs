//! The providers that are known: one entry each, and nothing about them anywhere else.
//!
//! A new one costs an entry here and a vector in `vectors/signatures.json`; `presets_tests` walks both. The page's
//! table and the CRD are written from it: `POSTERN_GOLDEN=write cargo test -p policy --features crd the_page_says`
//! and `postern crds --out crds`.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::handshake::{Handshake, Reply};
use super::provider::Extract::{First, Header, Joined, Path};
use super::provider::SignedPart::{Body, Form, Literal, Method, Timestamp, Url};
use super::provider::{BASE64, HEX, META, Preset, STANDARD, SignedPart, SignedTime, Splitter, TOKEN};
use super::{SecretFormat, SignatureAlgorithm, SignatureList, TimeFormat};

/// Declares every provider once: its name in a WebhookSource, the first part of its events' types, its preset.
macro_rules! providers {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $preset:expr;)*) => {
        /// Whose format a source speaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
        pub enum Provider {
            $($(#[$doc])* $name,)*
            /// Anything else, by a recipe.
            Generic,
        }

        impl Provider {
            /// Every provider.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* Self::Generic];

            /// The first part of its events' types.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* Self::Generic => "generic" }
            }

            /// Its preset; none for a provider whose recipe the user writes.
            #[must_use]
            pub const fn preset(self) -> Option<&'static Preset> {
                match self {
                    $(Self::$name => {
                        const PRESET: Preset = $preset;
                        Some(&PRESET)
                    })*
                    Self::Generic => None,
                }
            }
        }
    };
}

providers! {
    /// WhatsApp Business, by Meta's Graph webhooks.
    WhatsApp = "whatsapp", Preset {
        page: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads",
        splitter: Splitter::WhatsApp,
        ..META
    };
    /// Genesys Cloud Open Messaging: Meta's header field, but in base64.
    GenesysOpenMessaging = "genesys", Preset {
        page: "https://developer.genesys.cloud/commdigital/digital/openmessaging/validate",
        header: "x-hub-signature-256",
        prefix: "sha256=",
        splitter: Splitter::Genesys,
        ..BASE64
    };
    /// Standard Webhooks 1.0.
    StandardWebhooks = "standard_webhooks", STANDARD;
    /// Svix: Standard Webhooks with header fields of its own.
    Svix = "svix", Preset {
        page: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        header: "svix-signature",
        signed: &[SignedPart::Header("svix-id"), Literal("."), Timestamp, Literal("."), Body],
        signed_time: Some(SignedTime::Header("svix-timestamp", TimeFormat::UnixSeconds)),
        id: Some(Header("svix-id")),
        ..STANDARD
    };
    /// Messenger, Instagram and the other products behind Meta's Graph webhooks.
    Meta = "meta", Preset {
        page: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads",
        kind: Some(Path("object")),
        ..META
    };
    /// GitHub.
    GitHub = "github", Preset {
        page: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        header: "x-hub-signature-256",
        prefix: "sha256=",
        id: Some(Header("x-github-delivery")),
        kind: Some(Header("x-github-event")),
        conversation: Some(First(&[Path("repository.id"), Path("organization.id"), Path("installation.id")])),
        ..HEX
    };
    /// GitLab. `X-Gitlab-Event-UUID` is shared by hooks that set off each other, so it names no event.
    GitLab = "gitlab", Preset {
        page: "https://docs.gitlab.com/user/project/integrations/webhooks/",
        header: "x-gitlab-token",
        id: Some(Header("idempotency-key")),
        kind: Some(First(&[Path("object_kind"), Path("event_name")])),
        conversation: Some(First(&[Path("project.id"), Path("project_id"), Path("group_id")])),
        ..TOKEN
    };
    /// Bitbucket Cloud.
    Bitbucket = "bitbucket", Preset {
        page: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        header: "x-hub-signature",
        prefix: "sha256=",
        id: Some(Header("x-request-uuid")),
        kind: Some(Header("x-event-key")),
        conversation: Some(Path("repository.uuid")),
        ..HEX
    };
    /// Jira Cloud.
    Jira = "jira", Preset {
        page: "https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        header: "x-hub-signature",
        prefix: "sha256=",
        id: Some(Header("x-atlassian-webhook-identifier")),
        kind: Some(Path("webhookEvent")),
        conversation: Some(First(&[Path("issue.id"), Path("project.id")])),
        time: Some((Path("timestamp"), TimeFormat::UnixMillis)),
        ..HEX
    };
    /// Linear.
    Linear = "linear", Preset {
        page: "https://linear.app/developers/webhooks#securing-webhooks",
        header: "linear-signature",
        id: Some(Header("linear-delivery")),
        kind: Some(Header("linear-event")),
        conversation: Some(Path("data.id")),
        time: Some((Path("webhookTimestamp"), TimeFormat::UnixMillis)),
        ..HEX
    };
    /// Sentry integrations.
    Sentry = "sentry", Preset {
        page: "https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
        header: "sentry-hook-signature",
        id: Some(Header("request-id")),
        kind: Some(Header("sentry-hook-resource")),
        conversation: Some(First(&[Path("data.issue.id"), Path("data.event.issue_id"), Path("data.error.issue_id")])),
        ..HEX
    };
    /// CircleCI.
    CircleCi = "circleci", Preset {
        page: "https://circleci.com/docs/outbound-webhooks/#validate-webhooks",
        header: "circleci-signature",
        prefix: "v1=",
        list: SignatureList::Commas,
        id: Some(Path("id")),
        kind: Some(Path("type")),
        conversation: Some(Path("pipeline.id")),
        time: Some((Path("happened_at"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Vercel.
    Vercel = "vercel", Preset {
        page: "https://vercel.com/docs/webhooks/webhooks-api#securing-webhooks",
        header: "x-vercel-signature",
        algorithm: SignatureAlgorithm::HmacSha1,
        id: Some(Path("id")),
        kind: Some(Path("type")),
        conversation: Some(First(&[Path("payload.deployment.id"), Path("payload.project.id")])),
        time: Some((Path("createdAt"), TimeFormat::UnixMillis)),
        ..HEX
    };
    /// PagerDuty webhooks v3.
    PagerDuty = "pagerduty", Preset {
        page: "https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        header: "x-pagerduty-signature",
        prefix: "v1=",
        list: SignatureList::Commas,
        id: Some(Path("event.id")),
        kind: Some(Path("event.event_type")),
        conversation: Some(First(&[Path("event.data.incident.id"), Path("event.data.id")])),
        time: Some((Path("event.occurred_at"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Slack: events, commands and interactions.
    Slack = "slack", Preset {
        page: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        header: "x-slack-signature",
        prefix: "v0=",
        signed: &[Literal("v0:"), Timestamp, Literal(":"), Body],
        signed_time: Some(SignedTime::Header("x-slack-request-timestamp", TimeFormat::UnixSeconds)),
        handshakes: &[Handshake::Signed { at: Path("type"), is: "url_verification", reply: Reply::Echo("challenge") }],
        id: Some(First(&[Path("event_id"), Path("trigger_id")])),
        kind: Some(First(&[Path("event.type"), Path("command"), Path("type")])),
        conversation: Some(Joined(&[
            Path("team_id"),
            First(&[
                Path("event.channel"), Path("event.channel.id"), Path("event.item.channel"), Path("channel_id"),
                Path("event.user"),
            ]),
        ])),
        time: Some((Path("event_time"), TimeFormat::UnixSeconds)),
        ..HEX
    };
    /// Discord: webhook events, and interactions as far as a PING. Both sign alike, and both have a type 1: of
    /// interactions it is the PING, of webhook events every event, which alone has `event`.
    Discord = "discord", Preset {
        page: "https://docs.discord.com/developers/events/webhook-events",
        header: "x-signature-ed25519",
        algorithm: SignatureAlgorithm::Ed25519,
        secret: SecretFormat::Hex,
        signed: &[Timestamp, Body],
        signed_time: Some(SignedTime::Header("x-signature-timestamp", TimeFormat::UnixSeconds)),
        unverified_status: StatusCode::UNAUTHORIZED,
        handshakes: &[
            Handshake::Signed { at: Joined(&[Path("type"), Path("event.type")]), is: "1#", reply: Reply::Json(r#"{"type":1}"#) },
            Handshake::Signed { at: Joined(&[Path("type"), Path("event.type")]), is: "0#", reply: Reply::NoContent },
        ],
        id: Some(Path("id")),
        kind: Some(First(&[Path("event.type"), Path("type")])),
        conversation: Some(First(&[
            Path("channel_id"), Path("event.data.channel_id"), Path("event.data.guild.id"), Path("event.data.user.id"),
        ])),
        ..HEX
    };
    /// Telegram bots.
    Telegram = "telegram", Preset {
        page: "https://core.telegram.org/bots/api#setwebhook",
        header: "x-telegram-bot-api-secret-token",
        id: Some(Path("update_id")),
        conversation: Some(First(&[
            Path("message.chat.id"), Path("edited_message.chat.id"), Path("channel_post.chat.id"),
            Path("edited_channel_post.chat.id"), Path("business_message.chat.id"), Path("callback_query.message.chat.id"),
            Path("message_reaction.chat.id"), Path("my_chat_member.chat.id"), Path("chat_member.chat.id"),
            Path("chat_join_request.chat.id"), Path("callback_query.from.id"), Path("inline_query.from.id"),
        ])),
        ..TOKEN
    };
    /// LINE Messaging API.
    Line = "line", Preset {
        page: "https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/",
        header: "x-line-signature",
        each: Some("events"),
        id: Some(Path("webhookEventId")),
        kind: Some(Path("type")),
        conversation: Some(First(&[Path("source.groupId"), Path("source.roomId"), Path("source.userId")])),
        time: Some((Path("timestamp"), TimeFormat::UnixMillis)),
        ..BASE64
    };
    /// Twitch EventSub.
    Twitch = "twitch", Preset {
        page: "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#verifying-the-event-message",
        header: "twitch-eventsub-message-signature",
        prefix: "sha256=",
        signed: &[SignedPart::Header("twitch-eventsub-message-id"), Timestamp, Body],
        signed_time: Some(SignedTime::Header("twitch-eventsub-message-timestamp", TimeFormat::Rfc3339)),
        tolerance_secs: 600,
        handshakes: &[Handshake::Signed {
            at: Header("twitch-eventsub-message-type"),
            is: "webhook_callback_verification",
            reply: Reply::Echo("challenge"),
        }],
        id: Some(Header("twitch-eventsub-message-id")),
        kind: Some(Header("twitch-eventsub-subscription-type")),
        conversation: Some(Path("subscription.id")),
        time: Some((Header("twitch-eventsub-message-timestamp"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Twilio: messages, calls and their states.
    Twilio = "twilio", Preset {
        page: "https://www.twilio.com/docs/usage/security#validating-requests",
        header: "x-twilio-signature",
        algorithm: SignatureAlgorithm::HmacSha1,
        signed: &[Url, Form("bodySHA256")],
        id: Some(Header("i-twilio-idempotency-token")),
        kind: Some(First(&[Path("EventType"), Path("CallStatus"), Path("MessageStatus"), Path("SmsStatus")])),
        conversation: Some(First(&[Path("ConversationSid"), Path("CallSid"), Path("MessageSid"), Path("SmsSid")])),
        ..BASE64
    };
    /// SendGrid event webhook.
    SendGrid = "sendgrid", Preset {
        page: "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        header: "x-twilio-email-event-webhook-signature",
        algorithm: SignatureAlgorithm::EcdsaP256,
        secret: SecretFormat::P256,
        signed: &[Timestamp, Body],
        signed_time: Some(SignedTime::Header("x-twilio-email-event-webhook-timestamp", TimeFormat::UnixSeconds)),
        each: Some(""),
        id: Some(Path("sg_event_id")),
        kind: Some(Path("event")),
        conversation: Some(First(&[Path("sg_message_id"), Path("email")])),
        time: Some((Path("timestamp"), TimeFormat::UnixSeconds)),
        ..BASE64
    };
    /// Zoom.
    Zoom = "zoom", Preset {
        page: "https://developers.zoom.us/docs/api/webhooks/#verify-webhook-events",
        header: "x-zm-signature",
        prefix: "v0=",
        signed: &[Literal("v0:"), Timestamp, Literal(":"), Body],
        signed_time: Some(SignedTime::Header("x-zm-request-timestamp", TimeFormat::UnixSeconds)),
        handshakes: &[Handshake::Signed {
            at: Path("event"),
            is: "endpoint.url_validation",
            reply: Reply::Tagged { text: "payload.plainToken", plain: "plainToken", tag: "encryptedToken" },
        }],
        kind: Some(Path("event")),
        conversation: Some(Joined(&[Path("payload.account_id"), Path("payload.object.id")])),
        time: Some((Path("event_ts"), TimeFormat::UnixMillis)),
        ..HEX
    };
    /// Intercom.
    Intercom = "intercom", Preset {
        page: "https://developers.intercom.com/docs/webhooks/setting-up-webhooks",
        header: "x-hub-signature",
        prefix: "sha1=",
        algorithm: SignatureAlgorithm::HmacSha1,
        handshakes: &[Handshake::Head],
        id: Some(Path("id")),
        kind: Some(Path("topic")),
        conversation: Some(Path("data.item.id")),
        time: Some((Path("created_at"), TimeFormat::UnixSeconds)),
        ..HEX
    };
    /// Zendesk.
    Zendesk = "zendesk", Preset {
        page: "https://developer.zendesk.com/documentation/webhooks/verifying/",
        header: "x-zendesk-webhook-signature",
        signed: &[Timestamp, Body],
        signed_time: Some(SignedTime::Header("x-zendesk-webhook-signature-timestamp", TimeFormat::Rfc3339)),
        id: Some(Header("x-zendesk-webhook-invocation-id")),
        kind: Some(Path("type")),
        conversation: Some(First(&[Path("detail.ticket_id"), Path("detail.id"), Path("ticket_id")])),
        time: Some((Path("time"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// HubSpot, signature v3. Its event ids are not unique by themselves.
    HubSpot = "hubspot", Preset {
        page: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        header: "x-hubspot-signature-v3",
        signed: &[Method, Url, Body, Timestamp],
        signed_time: Some(SignedTime::Header("x-hubspot-request-timestamp", TimeFormat::UnixMillis)),
        each: Some(""),
        id: Some(Joined(&[Path("portalId"), Path("subscriptionId"), Path("eventId"), Path("occurredAt")])),
        kind: Some(First(&[Path("subscriptionType"), Path("eventType")])),
        conversation: Some(Joined(&[Path("portalId"), Path("objectId")])),
        time: Some((Path("occurredAt"), TimeFormat::UnixMillis)),
        ..BASE64
    };
    /// Typeform.
    Typeform = "typeform", Preset {
        page: "https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
        header: "typeform-signature",
        prefix: "sha256=",
        id: Some(Path("event_id")),
        kind: Some(Path("event_type")),
        conversation: Some(Path("form_response.form_id")),
        time: Some((Path("form_response.submitted_at"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// Calendly.
    Calendly = "calendly", Preset {
        page: "https://developer.calendly.com/api-docs/ZG9jOjM2MzE2MDM4-webhook-signatures",
        header: "calendly-webhook-signature",
        prefix: "v1=",
        list: SignatureList::Commas,
        signed: &[Timestamp, Literal("."), Body],
        signed_time: Some(SignedTime::Beside("t=")),
        kind: Some(Path("event")),
        conversation: Some(First(&[Path("payload.scheduled_event.uri"), Path("payload.uri")])),
        time: Some((Path("created_at"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Box, webhooks v2. Name both of its keys as secrets: either may be the primary one.
    Box = "box", Preset {
        page: "https://developer.box.com/guides/webhooks/v2/signatures-v2/",
        header: "box-signature-primary",
        signed: &[Body, Timestamp],
        signed_time: Some(SignedTime::Header("box-delivery-timestamp", TimeFormat::Rfc3339)),
        tolerance_secs: 600,
        id: Some(Path("id")),
        kind: Some(Path("trigger")),
        conversation: Some(Path("source.id")),
        time: Some((Path("created_at"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// Trello.
    Trello = "trello", Preset {
        page: "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/#webhook-signatures",
        header: "x-trello-webhook",
        algorithm: SignatureAlgorithm::HmacSha1,
        signed: &[Body, Url],
        handshakes: &[Handshake::Head],
        id: Some(Path("action.id")),
        kind: Some(Path("action.type")),
        conversation: Some(Path("model.id")),
        time: Some((Path("action.date"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// Okta event hooks: the value of `Authorization` that the hook was given.
    Okta = "okta", Preset {
        page: "https://developer.okta.com/docs/concepts/event-hooks/",
        header: "authorization",
        handshakes: &[Handshake::Header { header: "x-okta-verification-challenge", member: "verification" }],
        id: Some(Path("eventId")),
        kind: Some(Path("data.events.0.eventType")),
        time: Some((Path("eventTime"), TimeFormat::Rfc3339)),
        ..TOKEN
    };
    /// Stripe: events, and thin events (`v2.core.event`), which name the object that they are about and write their
    /// time in RFC 3339. The secret is the whole text, `whsec_` included.
    Stripe = "stripe", Preset {
        page: "https://docs.stripe.com/webhooks#verify-manually",
        header: "stripe-signature",
        prefix: "v1=",
        list: SignatureList::Commas,
        signed: &[Timestamp, Literal("."), Body],
        signed_time: Some(SignedTime::Beside("t=")),
        id: Some(Path("id")),
        kind: Some(Path("type")),
        conversation: Some(First(&[Path("data.object.customer"), Path("data.object.id"), Path("related_object.id")])),
        time: Some((Path("created"), TimeFormat::UnixSeconds)),
        ..HEX
    };
    /// Paddle Billing.
    Paddle = "paddle", Preset {
        page: "https://developer.paddle.com/webhooks/signature-verification",
        header: "paddle-signature",
        prefix: "h1=",
        list: SignatureList::Semicolons,
        signed: &[Timestamp, Literal(":"), Body],
        signed_time: Some(SignedTime::Beside("ts=")),
        id: Some(Path("event_id")),
        kind: Some(Path("event_type")),
        conversation: Some(First(&[Path("data.customer_id"), Path("data.id")])),
        time: Some((Path("occurred_at"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Square.
    Square = "square", Preset {
        page: "https://developer.squareup.com/docs/webhooks/step3validate",
        header: "x-square-hmacsha256-signature",
        signed: &[Url, Body],
        id: Some(Path("event_id")),
        kind: Some(Path("type")),
        conversation: Some(Joined(&[Path("merchant_id"), Path("data.id")])),
        time: Some((Path("created_at"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// Shopify. Its header fields are not signed, so an event is named by the digest of its body and topic; and
    /// `X-Shopify-Event-Id` is shared by all topics that one action of a merchant touches, so it names
    /// no event.
    Shopify = "shopify", Preset {
        page: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-5-verify-the-webhook",
        header: "x-shopify-hmac-sha256",
        kind: Some(Header("x-shopify-topic")),
        conversation: Some(Joined(&[Header("x-shopify-shop-domain"), Path("id")])),
        time: Some((Header("x-shopify-triggered-at"), TimeFormat::Rfc3339)),
        ..BASE64
    };
    /// Razorpay.
    Razorpay = "razorpay", Preset {
        page: "https://razorpay.com/docs/webhooks/validate-test/",
        header: "x-razorpay-signature",
        id: Some(Header("x-razorpay-event-id")),
        kind: Some(Path("event")),
        conversation: Some(First(&[
            Path("payload.payment.entity.order_id"), Path("payload.payment.entity.id"), Path("payload.order.entity.id"),
            Path("payload.subscription.entity.id"),
        ])),
        time: Some((Path("created_at"), TimeFormat::UnixSeconds)),
        ..HEX
    };
    /// Paystack; the secret is the API's secret key.
    Paystack = "paystack", Preset {
        page: "https://paystack.com/docs/payments/webhooks/#signature-validation",
        header: "x-paystack-signature",
        algorithm: SignatureAlgorithm::HmacSha512,
        kind: Some(Path("event")),
        conversation: Some(First(&[Path("data.customer.customer_code"), Path("data.reference")])),
        ..HEX
    };
    /// GoCardless.
    GoCardless = "gocardless", Preset {
        page: "https://developer.gocardless.com/getting-started/staying-up-to-date-with-webhooks",
        header: "webhook-signature",
        each: Some("events"),
        id: Some(Path("id")),
        kind: Some(Joined(&[Path("resource_type"), Path("action")])),
        conversation: Some(First(&[
            Path("links.mandate"), Path("links.payment"), Path("links.subscription"), Path("links.refund"),
            Path("links.payout"), Path("links.billing_request"),
        ])),
        time: Some((Path("created_at"), TimeFormat::Rfc3339)),
        ..HEX
    };
    /// Xero. Its validation is a list without events under a right or a wrong signature, answered 200 or 401.
    Xero = "xero", Preset {
        page: "https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/",
        header: "x-xero-signature",
        unverified_status: StatusCode::UNAUTHORIZED,
        each: Some("events"),
        id: Some(Joined(&[Path("tenantId"), Path("resourceId"), Path("eventType"), Path("eventDateUtc")])),
        kind: Some(Joined(&[Path("eventCategory"), Path("eventType")])),
        conversation: Some(Joined(&[Path("tenantId"), Path("resourceId")])),
        ..BASE64
    };
}

#[cfg(test)]
#[path = "presets_page.rs"]
mod page;
#[cfg(test)]
#[path = "presets_tests.rs"]
mod tests;
