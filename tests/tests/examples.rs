//! The examples and the benchmark's manifests are what the kinds say.

#![cfg(test)]

use std::fs;
use std::path::Path;

use policy::rate_limit::RateLimitPolicy;
use policy::route::Route;
use policy::tenant::Tenant;

/// Every document of a folder with the file it stands in.
fn documents(folder: &str) -> Vec<(String, serde_json::Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            // The benchmark fills these in; any value of the right type shows the rest.
            let text = fs::read_to_string(&path).unwrap().replace("${ORIGIN_PORT}", "1").replace("${JWKS}", "{}");
            for document in text.split("\n---\n") {
                let document = serde_yaml::from_str(document).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
                found.push((path.display().to_string(), document));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn reads(file: &str, document: &serde_json::Value) -> Result<(), String> {
    let document = document.clone();
    let read = match document["kind"].as_str() {
        Some("Tenant") => serde_json::from_value::<Tenant>(document).map(drop),
        Some("Route") => serde_json::from_value::<Route>(document).map(drop),
        Some("RateLimitPolicy") => serde_json::from_value::<RateLimitPolicy>(document).map(drop),
        Some("WebhookSource" | "Secret" | "ConfigMap" | "Service" | "EndpointSlice") => Ok(()),
        other => return Err(format!("{file}: the gateway does not read {other:?}")),
    };
    read.map_err(|why| format!("{file}: {why}"))
}

#[test]
fn every_example_is_of_its_kind() {
    let problems: Vec<String> = ["examples", "bench/ours"]
        .iter()
        .flat_map(|folder| documents(folder))
        .filter_map(|(file, document)| reads(&file, &document).err())
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
