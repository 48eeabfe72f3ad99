//! What is delivered, held against the schemas that are published.

use std::fs;
use std::path::Path;

use jsonschema::Registry;
use serde_json::Value;

/// The files in `docs/events`.
const SCHEMAS: [&str; 3] = ["event.json", "whatsapp.json", "genesys.json"];

fn schema(file: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events").join(file);
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// Where an event does not fit its schema.
///
/// # Errors
/// When the schemas cannot be read.
pub fn misfits(event: &Value) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut registry = Registry::new();
    for file in SCHEMAS {
        let schema = schema(file)?;
        let id = schema.get("$id").and_then(Value::as_str).unwrap_or_default().to_owned();
        registry = registry.add(id, schema)?;
    }
    let registry = registry.prepare()?;
    let validator = jsonschema::options().with_registry(&registry).offline().build(&schema("event.json")?)?;
    let told = validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path()));
    Ok(told.collect())
}
