//! Grants as people write them to grants as they are decided.

use std::sync::Arc;

use super::{AuthorizationIr, ClaimIr, ClaimSpec, GrantIr, GrantSpec};
use crate::jwt::claim_path;
use crate::problem::Problems;

/// The grants of a block; `None` when a problem was recorded.
pub fn compile(spec: &[GrantSpec], mut problems: Problems<'_>) -> Option<AuthorizationIr> {
    let before = problems.errors();
    if spec.is_empty() {
        problems.invalid("has no grant, so nobody could call", "add a grant, or leave the block out");
    }
    let grants = spec.iter().enumerate().map(|(index, spec)| grant(spec, problems.item(index))).collect();
    (problems.errors() == before).then_some(AuthorizationIr { grants })
}

fn grant(spec: &GrantSpec, mut problems: Problems<'_>) -> GrantIr {
    let GrantSpec { methods, roles, scopes, claims } = spec;
    let texts = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    for (name, list) in [("roles", roles), ("scopes", scopes)] {
        if let Some(index) = list.iter().position(String::is_empty) {
            problems.at(name).item(index).invalid("is empty", "write a name, or leave it out");
        }
    }
    for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| scope.contains(' ')) {
        problems.at("scopes").item(index).invalid(
            format!("{scope:?} has a space, which separates scopes"),
            "write each scope as an item of its own",
        );
    }
    let mut found = Vec::with_capacity(claims.len());
    for (index, spec) in claims.iter().enumerate() {
        found.extend(compile_claim(spec, problems.at("claims").item(index)));
    }
    GrantIr {
        methods: methods.iter().map(|method| Arc::from(method.as_str())).collect(),
        roles: texts(roles),
        scopes: texts(scopes),
        claims: found,
    }
}

/// One claim with its values; `None` when a problem was recorded.
pub fn compile_claim(spec: &ClaimSpec, mut problems: Problems<'_>) -> Option<ClaimIr> {
    let ClaimSpec { name, values } = spec;
    if values.is_empty() {
        problems.at("values").invalid("is empty, so no value satisfies it", "name at least one value");
    }
    let claim = claim_path(name, problems.at("name"))?;
    let values: Vec<Arc<str>> = values.iter().map(|value| Arc::from(value.as_str())).collect();
    (!values.is_empty()).then_some(ClaimIr { claim, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("authorization", |spec: &Vec<GrantSpec>, _, problems| compile(spec, problems));
        golden::check_page("authorization", "/authorization", |spec: &Vec<GrantSpec>, _, problems| {
            compile(spec, problems)
        });
    }
}
