//! Secrets that work and are still wrong: what `postern check` and the status warn of.

use std::ops::ControlFlow;

use super::{RecipeIr, SecretFormat, SignatureAlgorithm};
use crate::problem::Problems;
use crate::secret::Secret;

/// A shorter secret can be guessed from one recorded signature: 128 bits, as RFC 2104 asks of a key for HMAC at least.
const MIN_SECRET_BYTES: usize = 16;

const LONGER: &str = "make a longer one, add it beside this one, and remove this one: openssl rand -hex 32";

/// Warns of a secret that requests are verified with.
pub(super) fn verified_with(secret: &Secret, recipe: &RecipeIr, mut problems: Problems<'_>) {
    let bytes = secret.reveal();
    match recipe.algorithm {
        SignatureAlgorithm::Ed25519 | SignatureAlgorithm::EcdsaP256 => return,
        SignatureAlgorithm::HmacSha1
        | SignatureAlgorithm::HmacSha256
        | SignatureAlgorithm::HmacSha512
        | SignatureAlgorithm::Token => {}
    }
    let length = match recipe.secret {
        SecretFormat::Text => {
            if line_end(bytes, &mut problems).is_break() {
                return;
            }
            bytes.len()
        }
        SecretFormat::Whsec => {
            let encoded = bytes.trim_ascii();
            encoded.strip_prefix(b"whsec_").unwrap_or(encoded).len() / 4 * 3
        }
        SecretFormat::Hex => bytes.trim_ascii().len() / 2,
        SecretFormat::P256 => return,
    };
    short(length, &mut problems);
}

/// Warns of the token of a handshake.
pub(super) fn handshake(token: &Secret, mut problems: Problems<'_>) {
    let _ = line_end(token.reveal(), &mut problems);
}

/// Warns of a secret that deliveries are signed with, whose line end is left out by itself.
pub(super) fn signed_with(secret: &Secret, mut problems: Problems<'_>) {
    let text = secret.reveal().trim_ascii();
    let length = text.strip_prefix(b"whsec_").map_or(text.len(), |encoded| encoded.len() / 4 * 3);
    short(length, &mut problems);
}

fn line_end(bytes: &[u8], problems: &mut Problems<'_>) -> ControlFlow<()> {
    if !bytes.ends_with(b"\n") && !bytes.ends_with(b"\r") {
        return ControlFlow::Continue(());
    }
    problems.warn(
        "ends with a line end, which counts as a part of the secret: what the sender signs without it is refused",
        "store it without: printf %s instead of echo, or stringData with the text on the same line",
    );
    ControlFlow::Break(())
}

fn short(length: usize, problems: &mut Problems<'_>) {
    if length < MIN_SECRET_BYTES {
        problems.warn(format!("is shorter than {MIN_SECRET_BYTES} bytes and can be guessed"), LONGER);
    }
}
