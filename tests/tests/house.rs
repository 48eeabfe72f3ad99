//! What the pages promise, held against the code.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use operator::status::ConditionReason;
use policy::refusal::Reason;

/// No source file is longer.
const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_reason_has_its_cause_and_its_way_out() {
    let page = page("docs/troubleshooting.md");
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.word(), reason.status().as_u16());
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(&row)).collect();
        assert_eq!(lines.len(), 1, "docs/troubleshooting.md must have one row that starts with {row}");
        let cells: Vec<&str> = lines[0].split('|').map(str::trim).collect();
        assert!(cells.len() >= 6 && !cells[3].is_empty() && !cells[4].is_empty(), "{row} lacks a cause or a way out");
    }
}

#[test]
fn no_page_explains_a_reason_that_does_not_exist() {
    for line in page("docs/troubleshooting.md").lines().filter(|line| line.starts_with("| `")) {
        let word = line.split('`').nth(1).unwrap();
        assert!(Reason::ALL.iter().any(|reason| reason.word() == word), "{word} is no reason");
    }
}

#[test]
fn every_reason_of_a_condition_has_its_meaning_and_its_way_out() {
    let page = page("docs/operator.md");
    let section = page.split("## What an object says").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let words: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').nth(2)).collect();
    let all: Vec<String> = ConditionReason::ALL.iter().map(|reason| format!("{reason:?}")).collect();
    assert_eq!(words, all);
}

#[test]
fn no_error_is_logged_without_its_causes() {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    for path in found.iter().filter(|path| !path.ends_with("tests/tests/house.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let named = ["error = %", "error = ?", "as &dyn std::error::Error", "as &dyn Error"];
        let without = named.iter().find(|form| text.contains(**form));
        assert_eq!(without, None, "{}: log error = chain(&error) instead", path.display());
    }
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    assert!(found.len() > 20);
    for path in found {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines; split it by what it does", path.display());
    }
}

#[test]
fn every_decision_is_numbered_once_and_says_why() {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(root().join("decisions")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for part in ["**Context.**", "**Decision.**", "**Consequences.**"] {
            assert!(text.contains(part), "{} lacks {part}", path.display());
        }
        numbers.push(path.file_name().unwrap().to_string_lossy()[..4].to_owned());
    }
    numbers.sort();
    let total = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), total, "two decisions have one number");
}

#[test]
fn the_dashboard_is_json() {
    let dashboard: serde_json::Value = serde_json::from_str(&page("charts/postern/dashboards/postern.json")).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn the_description_of_the_admin_port_is_yaml_and_names_every_path() {
    let text = page("docs/openapi.yaml");
    let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/snapshot",
        "/breakers",
        "/events",
        "/events/{row}",
        "/events/find",
        "/events/replay",
        "/events/skip",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
}

/// Words that begin as metrics do, between these signs.
fn metrics(text: &str, sign: char) -> BTreeSet<String> {
    let words = text.split(sign).filter_map(|word| word.split(['{', ' ']).next());
    let is_metric = |word: &&str| word.starts_with("postern_") && word.len() > "postern_".len();
    let is_whole =
        |word: &&str| !word.ends_with('_') && word.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_');
    words.filter(is_metric).filter(is_whole).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_told_by_a_page_and_no_page_tells_of_others() {
    let (mut found, mut shown) = (Vec::new(), BTreeSet::new());
    ["dataplane/src", "operator/src"].iter().for_each(|folder| sources(&root().join(folder), &mut found));
    for path in found {
        shown.append(&mut metrics(&fs::read_to_string(&path).unwrap(), '"'));
    }
    let pages = ["docs/operations.md", "docs/operator.md", "docs/events.md", "docs/troubleshooting.md"];
    let told: BTreeSet<String> = pages.iter().flat_map(|path| metrics(&page(path), '`')).collect();
    assert!(shown.len() > 20);
    assert_eq!(shown.difference(&told).collect::<Vec<_>>(), [""; 0], "no page tells of these");
    assert_eq!(told.difference(&shown).collect::<Vec<_>>(), [""; 0], "nothing counts these");
    for path in ["charts/postern/templates/alerts.yaml", "charts/postern/dashboards/postern.json"] {
        let asked = metrics(&page(path).replace("_bucket{", "{"), '(');
        assert!(asked.len() > 5, "{path}: {asked:?}");
        assert_eq!(
            asked.difference(&shown).collect::<Vec<_>>(),
            [""; 0],
            "{path} asks for these, and nothing counts them"
        );
    }
}

#[test]
fn every_path_that_the_first_pages_name_exists() {
    for file in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/README.md"] {
        let text = page(file);
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/') && !word.contains([' ', ':', '<']) && !word.starts_with(['/', '~']);
            if is_path && !word.starts_with("postern.dev/") {
                // A module may be a file or a folder.
                let there = root().join(word).exists() || root().join(format!("{word}.rs")).exists();
                assert!(there, "{file} names {word}, which is not there");
            }
        }
    }
}
