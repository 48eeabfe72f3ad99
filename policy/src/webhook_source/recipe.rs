//! A user's recipe to the same data that a preset is.

use super::compile::in_range;
use super::{
    PartIr, Provider, RecipeIr, RecipeSpec, SecretFormat, SignatureAlgorithm, SignatureList, TimePlace, TimestampIr,
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
    for (index, part) in signed_parts.iter().enumerate() {
        let is_time = |header: &str| timestamp.as_ref().is_some_and(|at| at.header.eq_ignore_ascii_case(header));
        signed.push(match (&part.header, &part.literal, &part.body) {
            (Some(header), None, None) if is_time(header) => PartIr::Timestamp,
            (Some(header), None, None) => PartIr::Header(header.to_ascii_lowercase().into()),
            (None, Some(text), None) => PartIr::Literal(text.as_str().into()),
            (None, None, Some(_)) => PartIr::Body,
            (_, _, _) => {
                problems
                    .at("signedParts")
                    .item(index)
                    .invalid("must be one of header, literal, body", "write one of them");
                continue;
            }
        });
    }
    let token = signature.algorithm == SignatureAlgorithm::Token;
    if !token && !signed.contains(&PartIr::Body) {
        problems.at("signedParts").invalid("does not hold the body, so anybody could replace it", "add {body: Raw}");
    }
    if !token && timestamp.is_some() && !signed.contains(&PartIr::Timestamp) {
        let help = "add the timestamp's header to signedParts";
        problems.at("timestamp").at("header").invalid("is not signed, so anybody could renew it", help);
    }
    let timestamp = timestamp.as_ref().map(|at| {
        let tolerance = at.tolerance.as_ref();
        let millis = tolerance
            .map_or(Some(300_000), |text| in_range(text, 1_000, 86_400_000, problems.at("timestamp").at("tolerance")));
        TimestampIr {
            place: TimePlace::Header(at.header.to_ascii_lowercase().into()),
            format: at.format,
            tolerance_secs: u32::try_from(millis.unwrap_or_default() / 1000).unwrap_or(u32::MAX),
        }
    });
    let ir = RecipeIr {
        header: signature.header.to_ascii_lowercase().into(),
        prefix: signature.prefix.as_str().into(),
        encoding: signature.encoding,
        algorithm: signature.algorithm,
        list: SignatureList::Single,
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
