//! The story: what is sent, what should come of it, and what came.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::client::{Answer, Client};
use super::gateway::Gateway;
use super::upstreams::{Delivery, Upstreams};
use super::{DemoError, payload, token};
use crate::out;

const HOOKS: &str = "hooks.example.com";
const ACME: &str = "api.acme.example";
/// Calls that certainly pass a limit of 5 at once.
const CALLS_OVER_THE_LIMIT: usize = 12;
/// Calls that certainly open a breaker of 5 failures in a row.
const CALLS_TO_OPEN_THE_BREAKER: usize = 6;

/// Counts what went otherwise.
struct Teller<'a> {
    client: &'a Client,
    unexpected: usize,
}

/// Tells it all; the count of steps that went otherwise.
pub(super) async fn tell(client: &Client, upstreams: &Upstreams) -> Result<usize, DemoError> {
    let mut teller = Teller { client, unexpected: 0 };
    teller.webhooks(upstreams).await?;
    teller.callers().await?;
    teller.limit().await?;
    teller.failing_upstream().await?;
    Ok(teller.unexpected)
}

impl Teller<'_> {
    async fn webhooks(&mut self, upstreams: &Upstreams) -> Result<(), DemoError> {
        let now_secs = now_secs();
        let run = format!("{now_secs:x}");
        let batch = payload::whatsapp_batch(&run, now_secs);
        let signature = payload::meta_signature(payload::WHATSAPP_SECRET, &batch);

        out::line(
            "1. WhatsApp sends one signed batch: two messages for acme, one for globex, one for a number nobody has.",
        );
        let answer = self.client.send(webhook(HOOKS, "/webhooks/whatsapp", &signature, &batch)?).await?;
        self.expect(answer.status == 200, &format!("answered {}, after all four were on disk", answer.status));
        let received = upstreams.await_deliveries(3).await;
        self.delivered("acme", 2, &received);
        self.delivered("globex", 1, &received);
        let dead = self.client.admin("/events?state=dead").await?;
        self.expect(dead.body.contains(&format!("wamid.{run}.4")), "the fourth is kept as a dead letter: `unclaimed`");

        out::line("\n2. Meta sends the same batch again, as it does when an answer was lost.");
        let answer = self.client.send(webhook(HOOKS, "/webhooks/whatsapp", &signature, &batch)?).await?;
        self.expect(answer.status == 200, &format!("answered {}: known, and not delivered again", answer.status));

        out::line("\n3. Somebody forges a batch: the body is changed, the signature is not.");
        let forged = batch.replace("parcel", "refund");
        let answer = self.client.send(webhook(HOOKS, "/webhooks/whatsapp", &signature, &forged)?).await?;
        self.refused(&answer, 403, "signature_invalid");

        out::line("\n4. Genesys Cloud sends an agent's message: the same header name, another encoding.");
        let body = payload::genesys_message(&run, &jiff::Timestamp::now().to_string());
        let signature = payload::genesys_signature(&body);
        let answer = self.client.send(webhook(ACME, "/webhooks/genesys", &signature, &body)?).await?;
        self.expect(answer.status == 200, &format!("answered {}", answer.status));
        let received = upstreams.await_deliveries(4).await;
        self.delivered("acme", 3, &received);
        self.expect(received.len() == 4, &format!("{} deliveries in all: the repeat made none", received.len()));
        Ok(())
    }

    async fn callers(&mut self) -> Result<(), DemoError> {
        out::line("\n5. Callers of acme's API.");
        let nobody = self.client.send(call("/v1/conversations", &[])?).await?;
        self.refused(&nobody, 401, "credentials_missing");
        let agent = bearer("agent-7", &["agent"])?;
        let answer = self.client.send(call("/v1/conversations", &[("authorization", &agent)])?).await?;
        let told = format!(
            "agent-7 with a token: {}, the service was told `x-user-id: {}`",
            answer.status,
            answer.member("user")
        );
        self.expect(answer.status == 200 && answer.member("user") == "agent-7", &told);
        let partner = [("x-api-key", payload::PARTNER_KEY)];
        let answer = self.client.send(call("/v1/conversations", &partner)?).await?;
        self.expect(answer.status == 200, &format!("the partner initech with an API key: {}", answer.status));
        let answer = self.client.send(post("/v1/conversations", &partner, "{}")?).await?;
        out::line("   The same partner tries to write:");
        self.refused(&answer, 403, "not_authorized");
        Ok(())
    }

    async fn limit(&mut self) -> Result<(), DemoError> {
        out::line("\n6. Another agent calls faster than the limit allows.");
        let agent = bearer("agent-8", &["agent"])?;
        let mut passed = 0;
        for _ in 0..CALLS_OVER_THE_LIMIT {
            let answer = self.client.send(call("/v1/conversations", &[("authorization", &agent)])?).await?;
            if answer.status == 200 {
                passed += 1;
                continue;
            }
            self.expect(passed > 0, &format!("{passed} calls passed, then"));
            let wait = answer.retry_after.clone().unwrap_or_default();
            self.expect(!wait.is_empty(), &format!("it is told to come back in {wait} s"));
            self.refused(&answer, 429, "rate_limited");
            return Ok(());
        }
        self.expect(false, &format!("all of {passed} calls passed"));
        Ok(())
    }

    async fn failing_upstream(&mut self) -> Result<(), DemoError> {
        out::line("\n7. The service behind /v1/reports hangs up on every request.");
        for attempt in 1..=CALLS_TO_OPEN_THE_BREAKER {
            let answer = self.client.send(call("/v1/reports", &[])?).await?;
            let good = answer.status == 200 && answer.member("degraded") == "true";
            if !good || attempt == 1 {
                self.expect(good, &format!("tried, tried again, then the fallback: {} {}", answer.status, answer.body));
            }
        }
        let breakers = self.client.admin("/breakers").await?;
        let open = breakers.body.to_ascii_lowercase().contains("\"open\"");
        self.expect(
            open,
            "after a few more the breaker is open: the service is given a rest, callers get the fallback at once",
        );
        let other = self.client.send(call("/status", &[])?).await?;
        self.expect(other.status == 200, &format!("the neighbour /status does not notice: {}", other.status));
        Ok(())
    }

    fn delivered(&mut self, adapter: &str, count: usize, received: &[Delivery]) {
        let of_adapter: Vec<&Delivery> = received.iter().filter(|delivery| delivery.adapter == adapter).collect();
        for delivery in of_adapter.iter().rev().take(2).rev() {
            let signed = if delivery.signed { ", signed" } else { "" };
            let Delivery { id, conversation, sequence, .. } = delivery;
            out::line(format_args!(
                "     {adapter}'s adapter got {id} of conversation {conversation}, number {sequence}{signed}"
            ));
        }
        self.expect(of_adapter.len() == count, &format!("{} of {count} events are with {adapter}", of_adapter.len()))
    }

    fn refused(&mut self, answer: &Answer, status: u16, reason: &str) {
        let good = answer.status == status && answer.member("reason") == reason;
        let told = format!("refused: {} `{}`: {}", answer.status, answer.member("reason"), answer.member("detail"));
        self.expect(good, &told)
    }

    fn expect(&mut self, good: bool, told: &str) {
        if !good {
            self.unexpected += 1;
        }
        out::line(format_args!("   {} {told}", if good { "ok  " } else { "OTHERWISE THAN EXPECTED:" }))
    }
}

/// Names the places where the same can be seen again.
pub(super) fn where_to_look(gateway: &Gateway, folder: &Path) {
    let (admin, log, folder) = (gateway.admin, gateway.log.display(), folder.display());
    out::line(format_args!(
        "\nWhere to look\n  \
         {log}   one JSON line a request, with its reason\n  \
         http://{admin}/metrics   counts, by the same reasons\n  \
         http://{admin}/snapshot  what is in force\n  \
         http://{admin}/breakers  which upstreams rest\n  \
         http://{admin}/events    what waits and what is dead\n  \
         {folder}/manifests   what it was told"
    ))
}

/// Prints commands to go on with.
pub(super) fn try_yourself(gateway: &Gateway, folder: &Path) -> Result<(), DemoError> {
    let (listen, admin, folder) = (gateway.listen, gateway.admin, folder.display());
    let agent = bearer("you", &["agent"])?;
    let key = payload::PARTNER_KEY;
    let secret = payload::WHATSAPP_SECRET;
    out::line(format_args!(
        "\nTry\n  \
         curl -i -H 'host: {ACME}' -H 'authorization: {agent}' http://{listen}/v1/conversations\n  \
         curl -i -H 'host: {ACME}' -H 'x-api-key: {key}' http://{listen}/v1/conversations\n  \
         curl -i -H 'host: {ACME}' http://{listen}/v1/reports\n  \
         curl -i -H 'host: {HOOKS}' 'http://{listen}/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=42&hub.verify_token=a-token-only-we-know'\n  \
         curl -s 'http://{admin}/events?state=dead'\n  \
         postern send whatsapp http://{listen}/webhooks/whatsapp --secret {secret} -H 'host: {HOOKS}'\n  \
         postern explain {folder}/manifests GET http://{ACME}/v1/conversations\n  \
         Edit {folder}/manifests/2-acme.yaml: a limit, a role, a mistake; it is in force when you have saved it.\n\n\
         The gateway stays up until Ctrl-C."
    ));
    Ok(())
}

fn now_secs() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or(0)
}

fn bearer(caller: &str, roles: &[&str]) -> Result<String, DemoError> {
    let token = token::token(caller, roles, now_secs());
    let token = token.ok_or_else(|| DemoError::Exchange { request: "a token".to_owned(), why: "no key".to_owned() })?;
    Ok(format!("Bearer {token}"))
}

fn call(path: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, DemoError> {
    build(Request::get(path).header("host", ACME), path, fields, "")
}

fn post(path: &str, fields: &[(&str, &str)], body: &str) -> Result<Request<Full<Bytes>>, DemoError> {
    build(Request::post(path).header("host", ACME), path, fields, body)
}

fn webhook(host: &str, path: &str, signature: &str, body: &str) -> Result<Request<Full<Bytes>>, DemoError> {
    let fields = [("x-hub-signature-256", signature), ("content-type", "application/json")];
    build(Request::post(path).header("host", host), path, &fields, body)
}

fn build(
    mut request: http::request::Builder,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Result<Request<Full<Bytes>>, DemoError> {
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::from(body.to_owned())))
        .map_err(|why| DemoError::Exchange { request: path.to_owned(), why: why.to_string() })
}
