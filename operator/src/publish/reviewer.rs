//! Who a dataplane is: its ServiceAccount's token, asked of the API server.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::Client;
use kube::api::{Api, PostParams};

/// What a token must be meant for.
const AUDIENCE: &str = "postern-operator";
/// A token is no longer than this.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    namespace: String,
    name: String,
}

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let (namespace, name) = parts.ok_or("must be namespace/name")?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Nothing was shown, or nothing that could be a token.
    #[error("show the token of the dataplane's ServiceAccount as `authorization: Bearer`")]
    Missing,
    /// The API server does not know it, or it is meant for others.
    #[error("the token is not valid for the audience {AUDIENCE}")]
    Invalid,
    /// It is somebody else's.
    #[error("{0} is no dataplane: name its ServiceAccount with --dataplane-account")]
    Foreign(String),
    /// The API server could not be asked.
    #[error("the API server could not be asked about the token")]
    Unasked(#[source] Box<kube::Error>),
}

/// Asks the API server whose a token is.
#[derive(Clone)]
pub struct Reviewer {
    client: Client,
    accounts: Vec<Account>,
}

impl Reviewer {
    /// Lets in these accounts.
    #[must_use]
    pub fn new(client: Client, accounts: Vec<Account>) -> Self {
        Self { client, accounts }
    }

    /// Whether who shows this header may follow.
    ///
    /// # Errors
    /// [`ReviewError`]
    pub async fn review(&self, authorization: Option<&str>) -> Result<(), ReviewError> {
        let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
        let token = token.ok_or(ReviewError::Missing)?;
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let asked = api.create(&PostParams::default(), &review).await;
        let status = asked.map_err(|error| ReviewError::Unasked(Box::new(error)))?.status.unwrap_or_default();
        let for_us = status.audiences.is_some_and(|audiences| audiences.iter().any(|one| one == AUDIENCE));
        if status.authenticated != Some(true) || !for_us {
            return Err(ReviewError::Invalid);
        }
        let name = status.user.and_then(|user: UserInfo| user.username).unwrap_or_default();
        if self.accounts.iter().any(|account| account.to_string() == name) {
            Ok(())
        } else {
            Err(ReviewError::Foreign(name))
        }
    }
}
