//! Which tenants a set of dataplanes serves.

use std::collections::BTreeMap;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::{ParseExpressionError, Selector, SelectorExt};
use serde::Deserialize;

/// A label selector of Kubernetes, written as JSON; nothing written selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selects(Selector);

/// Why a selector cannot be used. One that is guessed at would serve tenants that it must not, or leave some alone.
#[derive(Debug, thiserror::Error)]
pub enum SelectsError {
    /// It is none.
    #[error(r#"must be a label selector, {{"matchLabels": {{"KEY": "VALUE"}}}} or matchExpressions: {0}"#)]
    Read(#[from] serde_json::Error),
    /// An expression in it.
    #[error("an expression of the selector cannot be used: {0}")]
    Expression(#[from] ParseExpressionError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<Expression>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl FromStr for Selects {
    type Err = SelectsError;

    fn from_str(text: &str) -> Result<Self, SelectsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Written { match_labels, match_expressions } = serde_json::from_str(text)?;
        let requirement = |Expression { key, operator, values }| LabelSelectorRequirement { key, operator, values };
        let match_expressions = match_expressions.map(|all| all.into_iter().map(requirement).collect());
        Ok(Self(LabelSelector { match_expressions, match_labels }.try_into()?))
    }
}

impl Selects {
    /// Whether it selects every tenant, whatever its labels are.
    #[must_use]
    pub fn all(&self) -> bool {
        self.0.selects_all()
    }

    /// Whether a tenant with these labels is served.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_selects_as_kubernetes_does_and_what_is_no_selector_is_refused() {
        let big = BTreeMap::from([("tier".to_owned(), "big".to_owned())]);
        let selects = |text: &str| text.parse::<Selects>().unwrap();
        assert!(selects("").matches(&big) && selects("{}").matches(&BTreeMap::new()));
        let by_label = selects(r#"{"matchLabels": {"tier": "big"}}"#);
        assert!(by_label.matches(&big) && !by_label.matches(&BTreeMap::new()));
        let others = selects(r#"{"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["big"]}]}"#);
        assert!(!others.matches(&big) && others.matches(&BTreeMap::new()));
        for wrong in [
            "tier=big",
            r#"{"matchLabel": {"tier": "big"}}"#,
            r#"{"matchLabels": {"tier": 1}}"#,
            r#"{"matchExpressions": [{"key": "tier", "operator": "Is", "values": ["big"]}]}"#,
            r#"{"matchExpressions": [{"key": "tier", "operator": "In"}]}"#,
        ] {
            assert!(wrong.parse::<Selects>().is_err(), "{wrong}");
        }
    }
}
