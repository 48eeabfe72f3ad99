//! The table on the page, written from the table in the code: a provider's row cannot say something else.

use std::path::Path as FilePath;

use super::super::Encoding;
use super::super::provider::Extract;
use super::*;

const HEAD: &str = "| provider | header | signature | secret | event id | conversation | asks by | says who |\n\
                    |---|---|---|---|---|---|---|---|\n";

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn found(extract: Option<Extract>, otherwise: &str) -> String {
    fn told(extract: Extract) -> String {
        match extract {
            Header(header) => code(header),
            Path(path) => code(&format!("$.{path}")),
            // Where there are many, the page names the first.
            First([first, _, _, ..]) => format!("{} or what stands in for it", told(*first)),
            First(ways) => ways.iter().copied().map(told).collect::<Vec<_>>().join(" or "),
            Joined(ways) => ways.iter().copied().map(told).collect::<Vec<_>>().join(" + "),
        }
    }
    extract.map_or_else(|| otherwise.to_owned(), told)
}

fn signature(preset: &Preset) -> String {
    let algorithm = match preset.algorithm {
        SignatureAlgorithm::HmacSha1 => "HMAC-SHA1",
        SignatureAlgorithm::HmacSha256 => "HMAC-SHA256",
        SignatureAlgorithm::HmacSha512 => "HMAC-SHA512",
        SignatureAlgorithm::Ed25519 => "Ed25519",
        SignatureAlgorithm::EcdsaP256 => "ECDSA P-256",
        SignatureAlgorithm::Token => return "the secret itself".to_owned(),
    };
    let encoding = match preset.encoding {
        Encoding::Hex => "hex",
        Encoding::Base64 => "base64",
    };
    let part = |part: &SignedPart| match part {
        SignedPart::Header(header) => code(header),
        Literal(text) => code(text),
        Timestamp => "time".to_owned(),
        Method => "method".to_owned(),
        Url => "URL".to_owned(),
        Form(digest) => format!("sorted form (else {} in the query)", code(digest)),
        Body => "body".to_owned(),
    };
    let signed = preset.signed.iter().map(part).collect::<Vec<_>>().join(" + ");
    let prefix = if preset.prefix.is_empty() { String::new() } else { format!("{} + ", code(preset.prefix)) };
    let public = preset.public_key_prefix.map(|prefix| format!(", or {} + Ed25519", code(prefix))).unwrap_or_default();
    let time = preset.signed_time.map(|_| format!(", {} min", preset.tolerance_secs / 60)).unwrap_or_default();
    format!("{prefix}{encoding} {algorithm} of {signed}{public}{time}")
}

fn row(provider: Provider, preset: &Preset) -> String {
    let secret = match preset.secret {
        SecretFormat::Text => "text",
        SecretFormat::Hex => "public key, hex",
        SecretFormat::Whsec => "`whsec_` + base64; `whpk_` + base64",
        SecretFormat::P256 => "public key, base64",
    };
    let events = match preset.splitter {
        Splitter::WhatsApp => {
            "message id; message id + status (in a group + participant) | phone number + person or group".to_owned()
        }
        Splitter::Genesys => "id + time | integration + recipient".to_owned(),
        Splitter::Extraction => {
            let each = preset.each.map(|_| ", each of the list").unwrap_or_default();
            let id = found(preset.id, "digest of the body");
            format!("{id}{each} | {}", found(preset.conversation, "the whole source"))
        }
    };
    let asks = |handshake: &Handshake| match handshake {
        Handshake::HubToken => "GET with verify token",
        Handshake::Header { .. } => "GET",
        Handshake::Head => "HEAD",
        Handshake::Signed { .. } => "POST",
    };
    let mut asks: Vec<&str> = preset.handshakes.iter().map(asks).collect();
    asks.dedup();
    let (header, signature, asks) = (code(preset.header), signature(preset), asks.join(", "));
    format!("| {provider:?} | {header} | {signature} | {secret} | {events} | {asks} | [page]({}) |\n", preset.page)
}

#[test]
fn the_page_says_of_every_provider_what_the_table_says() {
    let rows = Provider::ALL.iter().filter_map(|provider| Some(row(*provider, provider.preset()?)));
    let table = HEAD.to_owned() + &rows.collect::<String>();
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("src/webhook_source/README.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let start = page.find("| provider |").expect("the page has a table of providers");
    let end = page[start..].find("\n\n").map_or(page.len(), |end| start + end + 1);
    if std::env::var_os("POSTERN_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, format!("{}{table}{}", &page[..start], &page[end..])).unwrap();
    } else {
        assert_eq!(&page[start..end], table, "write it anew with POSTERN_GOLDEN=write");
    }
}
