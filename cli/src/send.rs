//! `postern send`: signs a sample, or a file, as a provider does, and sends it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use policy::secret::Secret;
use policy::webhook_source::provider::Splitter;
use policy::webhook_source::{Provider, Sending, SignError};
use serde_json::json;

use crate::out;

/// Providers with a preset, by the word that their events' types start with.
fn senders() -> impl Iterator<Item = (&'static str, Provider)> {
    // A command line writes a dash.
    let word = |provider: Provider| match provider.word() {
        "standard_webhooks" => "standard-webhooks",
        word => word,
    };
    let known = Provider::ALL.iter().filter(|provider| provider.preset().is_some());
    known.map(move |provider| (word(*provider), *provider))
}

fn sender() -> impl TypedValueParser<Value = Provider> {
    let words = PossibleValuesParser::new(senders().map(|(word, _)| word));
    words.try_map(|text| senders().find(|(word, _)| *word == text).map(|(_, provider)| provider).ok_or("no provider"))
}

/// What is written after `send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose webhook.
    #[arg(value_parser = sender())]
    sender: Provider,
    /// Where to: http://host:port/path.
    url: Uri,
    /// The secret that the source verifies with, as its Secret holds it.
    #[arg(long, env = "POSTERN_SEND_SECRET", hide_env_values = true)]
    secret: String,
    /// Sends the bytes of this file instead of a sample.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The value of Host, when it is not the URL's.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// WhatsApp: the business number that the sample is for; may be repeated for a batch. Genesys: the integration.
    #[arg(long = "to", value_name = "ID")]
    to: Vec<String>,
    /// Who the sample is from (WhatsApp) or for (Genesys): the other side of the conversation.
    #[arg(long, value_name = "ID", default_value = "4915112345678")]
    person: String,
    /// The sample's text.
    #[arg(long, default_value = "Hello from postern send")]
    text: String,
    /// The sample's event id; new at each call when left out.
    #[arg(long)]
    id: Option<String>,
}

/// Why nothing was sent, or no answer came.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("could not read {0}")]
    File(PathBuf, #[source] std::io::Error),
    #[error("the URL must be http://host[:port]/path; TLS is the proxy's matter")]
    Url,
    #[error("could not sign")]
    Sign(#[from] SignError),
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    #[error("no answer came")]
    Exchange(#[from] hyper::Error),
    #[error("the request could not be written")]
    Request(#[from] http::Error),
}

/// A sample as the provider would send it.
fn sample(args: &Args, id: &str, now_secs: i64) -> String {
    let Args { person, text, to, .. } = args;
    let numbers: Vec<&str> =
        if to.is_empty() { vec!["106540352242922"] } else { to.iter().map(String::as_str).collect() };
    match args.sender.preset().map_or(Splitter::Extraction, |preset| preset.splitter) {
        Splitter::WhatsApp => {
            let entry = |(index, number): (usize, &&str)| {
                let message = json!({"from": person, "id": format!("wamid.{id}.{index}"), "timestamp": now_secs.to_string(),
                    "type": "text", "text": {"body": text}});
                json!({"id": "102290129340398", "changes": [{"field": "messages", "value": {
                    "messaging_product": "whatsapp",
                    "metadata": {"display_phone_number": "15550783881", "phone_number_id": number},
                    "contacts": [{"profile": {"name": "A customer"}, "wa_id": person}], "messages": [message]}}]})
            };
            let entries: Vec<_> = numbers.iter().enumerate().map(entry).collect();
            json!({"object": "whatsapp_business_account", "entry": entries}).to_string()
        }
        Splitter::Genesys => {
            let time = jiff::Timestamp::from_second(now_secs).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
            let integration = to.first().map_or("2fbde9a1-5d3c-4b52-a2f6-0a1d0a9be2c1", String::as_str);
            json!({"id": id, "type": "Text", "text": text, "direction": "Outbound", "originatingEntity": "Human",
                "channel": {"id": integration, "platform": "Open", "type": "Private", "messageId": id, "time": time,
                    "to": {"id": person, "idType": "Opaque"}, "from": {"id": integration, "idType": "Opaque"}}})
            .to_string()
        }
        Splitter::Extraction => {
            json!({"id": id, "type": "sample.sent", "timestamp": now_secs, "data": {"text": text}}).to_string()
        }
    }
}

/// Sends: 0 for a 2xx, 1 for another answer, 2 when there was none.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let sent = match runtime {
        Ok(runtime) => runtime.block_on(send(args)),
        Err(error) => Err(SendError::Connect(error)),
    };
    match sent {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(out::FAULT),
        Err(error) => out::failed(&error, out::TROUBLE),
    }
}

async fn send(args: &Args) -> Result<bool, SendError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let id = args.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().simple().to_string());
    let body = match &args.file {
        Some(path) => std::fs::read(path).map_err(|error| SendError::File(path.clone(), error))?,
        None => sample(args, &id, now_secs).into_bytes(),
    };
    let authority = args.url.authority().filter(|_| args.url.scheme_str() == Some("http")).ok_or(SendError::Url)?;
    let host = args.host.clone().unwrap_or_else(|| authority.to_string());
    let target = args.url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::post(target).header(HOST, &host).header(CONTENT_TYPE, "application/json");
    let secret = Secret::new(args.secret.as_bytes());
    let url = format!("https://{host}{target}");
    let sending = Sending { id: &id, now_secs, url: &url, body: &body };
    let fields = args.sender.preset().map(|preset| preset.sign(&secret, sending));
    for (name, value) in fields.transpose()?.unwrap_or_default() {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = tokio::net::TcpStream::connect(address).await.map_err(SendError::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driven.abort();
    out::line(format_args!("{status}"));
    if !body.is_empty() {
        out::line(String::from_utf8_lossy(&body));
    }
    Ok(status.is_success())
}
