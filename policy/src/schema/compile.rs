//! A schema in a ConfigMap to its IR.

use super::{Schema, SchemaIr};
use crate::problem::Problems;
use crate::reference::ConfigMapKeyRef;
use crate::refs::{Refs, resolved};

/// The schema that a reference names, or `None` when a problem was recorded. It is built once to see that it can be.
pub fn compile(reference: &ConfigMapKeyRef, refs: &dyn Refs, mut problems: Problems<'_>) -> Option<SchemaIr> {
    let mut problems = problems.at("configMapRef");
    let ir = SchemaIr { document: resolved(refs.config_map(reference), &mut problems)? };
    let said = |pointer: &str, message: &str| match pointer {
        "" => format!("key {}: {message}", reference.key),
        pointer => format!("key {}, at {pointer}: {message}", reference.key),
    };
    match Schema::new(&ir) {
        Ok(schema) => {
            for flaw in schema.doubts() {
                problems.warn(said(&flaw.pointer, &flaw.message), flaw.help.as_str());
            }
            Some(ir)
        }
        Err(error) => {
            for flaw in error.flaws() {
                problems.invalid(said(&flaw.pointer, &flaw.message), flaw.help.as_str());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::schema::SchemaSpec;
    use crate::webhook_source::EventSchemaSpec;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        let compile = |spec: &SchemaSpec, refs: &dyn Refs, problems: Problems<'_>| {
            super::compile(&spec.config_map_ref, refs, problems)
        };
        golden::check("schema", |spec, refs, problems| compile(spec, refs, problems));
        golden::check_page("schema", "/requestSchema", |spec, refs, problems| compile(spec, refs, problems));
        golden::check_page("schema", "/schema", |spec: &EventSchemaSpec, refs, problems| {
            super::compile(&spec.config_map_ref, refs, problems)
        });
    }
}
