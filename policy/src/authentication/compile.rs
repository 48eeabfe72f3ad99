//! Which methods a rule takes, by name, among those that its tenant has.

use std::sync::Arc;

use super::{AuthenticationIr, AuthenticationSpec, AuthenticationType};
use crate::problem::Problems;

/// What a rule asks of its callers; `declared` are the names of the tenant's methods, broken ones included.
/// Without a block any of them is asked for, and never nothing. `None` when a problem was recorded.
pub fn compile(
    spec: Option<&AuthenticationSpec>,
    declared: &[Arc<str>],
    mut problems: Problems<'_>,
) -> Option<AuthenticationIr> {
    let Some(AuthenticationSpec { type_, methods, mode: _ }) = spec else {
        return any(declared, problems);
    };
    match type_ {
        AuthenticationType::None if methods.is_empty() => Some(AuthenticationIr::None),
        AuthenticationType::None => {
            problems.at("methods").invalid("contradicts type: None", "leave methods out, or write type: AnyOf");
            None
        }
        AuthenticationType::AnyOf if methods.is_empty() => any(declared, problems),
        AuthenticationType::AnyOf => chosen(methods, declared, problems),
    }
}

fn any(declared: &[Arc<str>], mut problems: Problems<'_>) -> Option<AuthenticationIr> {
    if declared.is_empty() {
        problems.unresolved(
            "asks for one of the tenant's methods, and the tenant declares none",
            "declare a method in spec.authentication of the Tenant, or write authentication: {type: None} to open the rule to everyone",
        );
        return None;
    }
    Some(AuthenticationIr::AnyOf(declared.to_vec()))
}

fn chosen(methods: &[String], declared: &[Arc<str>], mut problems: Problems<'_>) -> Option<AuthenticationIr> {
    let before = problems.errors();
    let mut names: Vec<Arc<str>> = Vec::with_capacity(methods.len());
    for (index, method) in methods.iter().enumerate() {
        match declared.iter().find(|name| ***name == **method) {
            Some(name) if names.contains(name) => {
                problems.at("methods").item(index).invalid(format!("names {method} again"), "leave it out");
            }
            Some(name) => names.push(Arc::clone(name)),
            None => {
                let help = if declared.is_empty() {
                    "declare it in spec.authentication of the Tenant".to_owned()
                } else {
                    format!("declare it in spec.authentication of the Tenant, or use one of {}", declared.join(", "))
                };
                problems.at("methods").item(index).unresolved(format!("{method} is no method of this tenant"), help);
            }
        }
    }
    (problems.errors() == before).then_some(AuthenticationIr::AnyOf(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    /// A rule of a tenant that declares these two.
    fn of_acme(spec: &Option<AuthenticationSpec>, problems: Problems<'_>) -> Option<AuthenticationIr> {
        compile(spec.as_ref(), &["auth-service".into(), "partners".into()], problems)
    }

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("authentication", |spec, _, problems| of_acme(spec, problems));
        golden::check_page("authentication", "/rules/0/authentication", |spec, _, problems| of_acme(spec, problems));
    }

    #[test]
    fn a_tenant_without_methods_has_no_open_rules_by_accident() {
        let object = crate::names::ObjectRef::new(crate::names::Kind::Route, "acme", "r");
        let mut found = Vec::new();
        assert_eq!(compile(None, &[], Problems::of(&object, &mut found)), None);
        assert!(found[0].help.contains("authentication: {type: None}"), "{found:?}");
        let open = AuthenticationSpec { type_: AuthenticationType::None, methods: vec![], mode: Default::default() };
        assert_eq!(compile(Some(&open), &[], Problems::of(&object, &mut found)), Some(AuthenticationIr::None));
    }
}
