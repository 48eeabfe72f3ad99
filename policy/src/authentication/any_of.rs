//! Who a request is from: one of the chosen methods must take its credential, and none may refuse one.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::AuthenticationIr;
use crate::api_key::ApiKeys;
use crate::costly::Costly;
use crate::jwt::{JwtMethod, TokenCache};
use crate::names::TenantName;
use crate::refusal::{Extra, Reason, Refusal};
use crate::request::Caller;
use crate::tenant::MethodIr;

#[derive(Debug)]
enum Method {
    Jwt(JwtMethod),
    ApiKey(Arc<str>, ApiKeys),
    /// Could not be compiled, or not be made ready.
    Broken(Arc<str>),
}

impl Method {
    fn name(&self) -> &Arc<str> {
        match self {
            Self::Jwt(jwt) => jwt.name(),
            Self::ApiKey(name, _) | Self::Broken(name) => name,
        }
    }
}

/// All methods of a tenant, made ready once and shared by its rules.
#[derive(Debug)]
pub struct Methods {
    list: Vec<Arc<Method>>,
}

impl Methods {
    /// Makes the methods ready. One that cannot be is broken, which costs no other.
    #[must_use]
    pub fn new(tenant: &TenantName, methods: &[MethodIr]) -> Self {
        let ready = |method: &MethodIr| match method {
            MethodIr::Jwt(ir) => {
                JwtMethod::new(tenant, ir).map_or_else(|_| Method::Broken(Arc::clone(&ir.name)), Method::Jwt)
            }
            MethodIr::ApiKey(ir) => match ApiKeys::new(ir) {
                Ok(keys) => Method::ApiKey(Arc::clone(&ir.name), keys),
                Err(_) => Method::Broken(Arc::clone(&ir.name)),
            },
            MethodIr::Broken(name) => Method::Broken(Arc::clone(name)),
        };
        Self { list: methods.iter().map(ready).map(Arc::new).collect() }
    }

    /// The names of those that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &Arc<str>> {
        self.list.iter().filter(|method| matches!(***method, Method::Broken(_))).map(|method| method.name())
    }

    /// Every header field in which a method passes on what a caller proved. Take them out of every request
    /// of this tenant, open rules included, before a caller's own are set: else anybody could write them.
    pub fn forwarded_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.list
            .iter()
            .flat_map(|method| match &**method {
                Method::Jwt(jwt) => Some(jwt.forwarded_names()),
                Method::ApiKey(..) | Method::Broken(_) => None,
            })
            .flatten()
    }
}

/// What one rule asks of its callers, ready to decide.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// `None`: open to everyone.
    methods: Option<Vec<Arc<Method>>>,
}

/// What one method says to a request.
enum Outcome {
    /// It carries no credential of this method's kind.
    Absent,
    Holds(Arc<Caller>),
    Refuses(Refusal),
}

impl Authenticator {
    /// Chooses among the tenant's methods. A name that the tenant does not have counts as broken.
    #[must_use]
    pub fn new(ir: &AuthenticationIr, methods: &Methods) -> Self {
        let chosen = |name: &Arc<str>| {
            let found = methods.list.iter().find(|method| method.name() == name);
            found.map_or_else(|| Arc::new(Method::Broken(Arc::clone(name))), Arc::clone)
        };
        let methods = match ir {
            AuthenticationIr::None => None,
            AuthenticationIr::AnyOf(names) => Some(names.iter().map(chosen).collect()),
        };
        Self { methods }
    }

    /// Whether the rule asks nothing of its callers.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.methods.is_none()
    }

    /// The header fields that carry the API keys of its methods.
    pub fn key_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.methods.iter().flatten().filter_map(|method| match &**method {
            Method::ApiKey(_, keys) => Some(keys.header()),
            Method::Jwt(_) | Method::Broken(_) => None,
        })
    }

    /// Returns whether one of its methods takes bearer tokens.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.methods.iter().flatten().any(|method| matches!(**method, Method::Jwt(_)))
    }

    /// Who the request is from; nobody (`None`) on an open rule. Of several credentials each must hold, the
    /// first in the rule's order says who it is, and none may name another tenant than the others.
    ///
    /// # Errors
    /// [`Reason::CredentialsMissing`] with a challenge for each method, the refusal of the credential that
    /// does not hold, or [`Reason::PolicyBroken`].
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        cache: &mut TokenCache,
        now_secs: i64,
        costly: &mut Costly,
    ) -> Result<Option<Arc<Caller>>, Refusal> {
        let Some(methods) = &self.methods else { return Ok(None) };
        let bearer = bearer(headers)?;
        let mut jwt = Outcome::Absent;
        let mut callers: Vec<Arc<Caller>> = Vec::with_capacity(1);
        let mut refused: Option<Refusal> = None;
        for method in methods {
            match &**method {
                Method::Jwt(_) if matches!(jwt, Outcome::Holds(_)) => {}
                Method::Jwt(method) => {
                    let Some(token) = bearer else { continue };
                    let outcome = cache.verify(method, token, now_secs, costly);
                    if let Ok(caller) = &outcome {
                        callers.push(Arc::clone(caller));
                    }
                    jwt = either(jwt, outcome);
                }
                Method::ApiKey(_, keys) => match api_key(keys, headers, now_secs) {
                    Outcome::Absent => {}
                    Outcome::Holds(caller) => callers.push(caller),
                    Outcome::Refuses(refusal) => {
                        refused.get_or_insert(refusal);
                    }
                },
                Method::Broken(_) => {}
            }
        }
        if let Outcome::Refuses(refusal) = jwt {
            refused = Some(refusal);
        }
        match (refused, callers.as_slice()) {
            (None, [first, others @ ..]) => one(first, others).map(Some),
            (Some(refusal), [_, ..]) => Err(refusal),
            (refused, []) if methods.iter().any(|method| matches!(**method, Method::Broken(_))) => {
                Err(broken(refused.is_some()))
            }
            (Some(refusal), []) => Err(refusal),
            (None, []) => Err(missing(methods)),
        }
    }
}

/// A token is one credential, which the first method that knows it takes. Of two refusals the one that says
/// more is kept: a token that is only too old was the right issuer's.
fn either(so_far: Outcome, outcome: Result<Arc<Caller>, Refusal>) -> Outcome {
    match (so_far, outcome) {
        (_, Ok(caller)) => Outcome::Holds(caller),
        (Outcome::Refuses(earlier), Err(_)) if earlier.reason != Reason::CredentialsInvalid => {
            Outcome::Refuses(earlier)
        }
        (Outcome::Refuses(earlier), Err(later)) if later.reason == Reason::CredentialsInvalid => {
            Outcome::Refuses(earlier)
        }
        (_, Err(later)) => Outcome::Refuses(later),
    }
}

/// The token of `Authorization: Bearer`, whose scheme may be written in any case. Another scheme is another
/// party's, and no credential here.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    let malformed = |detail: &'static str| {
        let challenge = "Bearer error=\"invalid_request\"";
        Refusal::new(Reason::CredentialsInvalid, detail).with(Extra::Challenge(challenge.into()))
    };
    if fields.next().is_some() {
        return Err(malformed("the request has more than one Authorization header; send one"));
    }
    let bytes = field.as_bytes();
    let Some((scheme, rest)) = bytes.split_at_checked(6) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first().is_some_and(|b| *b != b' ') {
        return Ok(None);
    }
    match std::str::from_utf8(rest).map(str::trim_ascii) {
        Ok("") | Err(_) => Err(malformed("the Authorization header has no token after Bearer")),
        Ok(token) => Ok(Some(token)),
    }
}

fn api_key(keys: &ApiKeys, headers: &HeaderMap, now_secs: i64) -> Outcome {
    let mut fields = headers.get_all(keys.header()).iter();
    let Some(field) = fields.next() else { return Outcome::Absent };
    if fields.next().is_some() {
        let refusal = Refusal::new(Reason::CredentialsInvalid, "the request has more than one API key; send one");
        return Outcome::Refuses(refusal.with(Extra::Challenge(keys.challenge().to_owned().into())));
    }
    keys.verify(field.as_bytes(), now_secs).map_or_else(Outcome::Refuses, Outcome::Holds)
}

/// The one caller that all credentials speak for. The tenant that a later credential names is kept, so that
/// it must agree with the host's as well.
fn one(first: &Arc<Caller>, others: &[Arc<Caller>]) -> Result<Arc<Caller>, Refusal> {
    let mut caller = Arc::clone(first);
    for tenant in others.iter().filter_map(|other| other.tenant.as_ref()) {
        match &caller.tenant {
            Some(named) if named == tenant => {}
            Some(_) => {
                let detail = "the credentials of the request were made for different tenants";
                return Err(Refusal::new(Reason::TenantMismatch, detail));
            }
            None => caller = Arc::new(Caller { tenant: Some(Arc::clone(tenant)), ..(*caller).clone() }),
        }
    }
    Ok(caller)
}

fn broken(shown: bool) -> Refusal {
    let detail = if shown {
        "the credential did not hold, and a method that might take it is broken; the object's status says how"
    } else {
        "an authentication method of this route is broken; the object's status says how"
    };
    Refusal::new(Reason::PolicyBroken, detail)
}

fn missing(methods: &[Arc<Method>]) -> Refusal {
    let mut challenges: Vec<&str> = Vec::new();
    for method in methods {
        let challenge = match &**method {
            Method::Jwt(_) => "Bearer",
            Method::ApiKey(_, keys) => keys.challenge(),
            Method::Broken(_) => continue,
        };
        if !challenges.contains(&challenge) {
            challenges.push(challenge);
        }
    }
    let detail = "send a credential that this route takes; WWW-Authenticate names the ways";
    let refusal = Refusal::new(Reason::CredentialsMissing, detail);
    challenges.into_iter().fold(refusal, |refusal, way| refusal.with(Extra::Challenge(way.to_owned().into())))
}

#[cfg(test)]
#[path = "any_of_tests.rs"]
mod tests;
