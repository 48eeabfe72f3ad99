//! A user's recipe to the same data that a preset is.

use super::compile::in_range;
use super::{
    PartIr, Provider, RecipeIr, RecipeSpec, SecretFormat, SignatureAlgorithm, SignatureList, SignedPartSpec,
    SignedRequest, TimePlace, TimestampIr, TimestampSpec,
};
use crate::problem::Problems;

/// The recipe of a source: the preset's, or the one that its user wrote.
pub(super) fn recipe(provider: Provider, spec: Option<&RecipeSpec>, mut problems: Problems<'_>) -> Option<RecipeIr> {
    match (provider.preset(), spec) {
        (Some(preset), None) => Some(preset.recipe()),
        (Some(_), Some(_)) => {
            problems.invalid("belongs to provider Generic", "leave it out: the preset knows how the provider signs");
            None
        }
        (None, None) => {
            problems.invalid("is missing", "say where the signature is and what is signed");
            None
        }
        (None, Some(spec)) => written(spec, problems),
    }
}

fn written(spec: &RecipeSpec, mut problems: Problems<'_>) -> Option<RecipeIr> {
    let RecipeSpec { signature, signed_parts, timestamp } = spec;
    let before = problems.errors();
    let mut signed = Vec::with_capacity(signed_parts.len());
    for (index, spec) in signed_parts.iter().enumerate() {
        let mut problems = problems.at("signedParts");
        signed.extend(part(spec, timestamp.as_ref(), problems.item(index)));
    }
    let token = signature.algorithm == SignatureAlgorithm::Token;
    if !token && !signed.contains(&PartIr::Body) {
        problems.at("signedParts").invalid("does not hold the body, so anybody could replace it", "add {body: Raw}");
    }
    if !token && timestamp.is_some() && !signed.contains(&PartIr::Timestamp) {
        let help = "add the timestamp's header to signedParts, or {request: Timestamp}";
        problems.at("timestamp").invalid("is not signed, so anybody could renew it", help);
    }
    let timestamp = timestamp.as_ref().and_then(|at| {
        let tolerance = at.tolerance.as_ref();
        let millis = tolerance
            .map_or(Some(300_000), |text| in_range(text, 1_000, 86_400_000, problems.at("timestamp").at("tolerance")));
        let place = match (&at.header, &at.beside) {
            (Some(header), None) => TimePlace::Header(header.to_ascii_lowercase().into()),
            (None, Some(_)) if signature.list == SignatureList::Single => {
                let help = "write signature.list, such as Commas for t=<time>,v1=<signature>";
                problems.at("timestamp").at("beside").invalid("cannot stand beside a single signature", help);
                return None;
            }
            (None, Some(before)) => TimePlace::Beside(before.as_str().into()),
            (_, _) => {
                problems.at("timestamp").invalid("must name either header or beside", "name one of them");
                return None;
            }
        };
        let tolerance_secs = u32::try_from(millis.unwrap_or_default() / 1000).unwrap_or(u32::MAX);
        Some(TimestampIr { place, format: at.format, tolerance_secs })
    });
    let ir = RecipeIr {
        header: signature.header.to_ascii_lowercase().into(),
        prefix: signature.prefix.as_str().into(),
        encoding: signature.encoding,
        algorithm: signature.algorithm,
        list: signature.list,
        secret: match signature.algorithm {
            SignatureAlgorithm::Ed25519 => SecretFormat::Hex,
            SignatureAlgorithm::EcdsaP256 => SecretFormat::P256,
            SignatureAlgorithm::HmacSha1
            | SignatureAlgorithm::HmacSha256
            | SignatureAlgorithm::HmacSha512
            | SignatureAlgorithm::Token => SecretFormat::Text,
        },
        public_key_prefix: None,
        signed,
        timestamp,
    };
    (problems.errors() == before).then_some(ir)
}

fn part(spec: &SignedPartSpec, timestamp: Option<&TimestampSpec>, mut problems: Problems<'_>) -> Option<PartIr> {
    let SignedPartSpec { header, literal, request, body } = spec;
    let is_time = |header: &str| {
        let time = timestamp.and_then(|at| at.header.as_deref());
        time.is_some_and(|time| time.eq_ignore_ascii_case(header))
    };
    Some(match (header, literal, request, body) {
        (Some(header), None, None, None) if is_time(header) => PartIr::Timestamp,
        (Some(header), None, None, None) => PartIr::Header(header.to_ascii_lowercase().into()),
        (None, Some(text), None, None) => PartIr::Literal(text.as_str().into()),
        (None, None, Some(SignedRequest::Method), None) => PartIr::Method,
        (None, None, Some(SignedRequest::Url), None) => PartIr::Url,
        (None, None, Some(SignedRequest::Timestamp), None) if timestamp.is_some() => PartIr::Timestamp,
        (None, None, Some(SignedRequest::Timestamp), None) => {
            problems.at("request").invalid("names a timestamp, and there is none", "write timestamp in the recipe");
            return None;
        }
        (None, None, None, Some(_)) => PartIr::Body,
        (_, _, _, _) => {
            problems.invalid("must be one of header, literal, request, body", "write one of them");
            return None;
        }
    })
}
