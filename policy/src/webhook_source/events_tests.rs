//! Every event that a fixture becomes, against its golden file and against the published schemas in `docs/events`.
//!
//! `fixtures/<provider>-<case>.json` is a request's body; `fixtures/golden/` has the events that it becomes.
//! `POSTERN_GOLDEN=write cargo test -p policy golden` writes those, and the examples of `docs/events/README.md`,
//! anew; read the difference before you keep it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use http::HeaderMap;
use jsonschema::{Registry, Validator};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Entry, ExtractIr, ExtractionIr, Preset, Provider, SanitiseIr, sanitise, split};

/// The files of the published schemas.
const SCHEMAS: [&str; 3] = ["event.json", "whatsapp.json", "genesys.json"];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn schema(file: &str) -> Value {
    read(&root("../docs/events").join(file))
}

static EVENT: LazyLock<Validator> = LazyLock::new(|| {
    let all = SCHEMAS.map(|file| (schema(file)["$id"].as_str().unwrap().to_owned(), schema(file)));
    let registry = Registry::new().extend(all).unwrap().prepare().unwrap();
    jsonschema::options().with_registry(&registry).offline().build(&schema("event.json")).unwrap()
});

/// What does not fit, and where.
pub(super) fn misfits(event: &Value) -> Vec<String> {
    EVENT.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// An entry as it is delivered, but for what only the dataplane knows.
fn event(entry: &Entry, sanitised: Option<String>) -> Value {
    let time = entry.time_ms.and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    let subject = (!entry.conversation.is_empty()).then_some(&entry.conversation);
    let event = json!({
        "specversion": "1.0",
        "id": entry.id,
        "source": "/namespaces/acme/webhooksources/hooks",
        "type": entry.kind,
        "subject": subject,
        "time": time.unwrap_or_default().to_string(),
        "datacontenttype": "application/json",
        "tenant": "acme",
        "partitionkey": subject,
        "sequence": "1772530200000000",
        "unknown": entry.unknown.then_some(true),
        "sanitised": sanitised,
    });
    let mut event = super::shape::without_nulls(event);
    event["data"] = entry.data.clone();
    event
}

fn events(provider: Provider, body: &[u8]) -> Vec<Value> {
    let kind = Some(ExtractIr::Path(vec!["kind".into()]));
    let extraction = || ExtractionIr { kind, ..ExtractionIr::default() };
    let extraction = provider.preset().map_or_else(extraction, Preset::extraction);
    events_of(split(provider, &extraction, &HeaderMap::new(), body).unwrap_or_default())
}

/// Entries as they are delivered from a source that says nothing of `sanitise`.
pub(super) fn events_of(entries: Vec<Entry>) -> Vec<Value> {
    let one = |mut entry: Entry| {
        let sanitised = sanitise(&SanitiseIr::default(), &mut entry);
        event(&entry, sanitised)
    };
    entries.into_iter().map(one).collect()
}

struct Fixture {
    name: String,
    provider: Provider,
    body: Value,
}

fn fixtures() -> Vec<Fixture> {
    let entries = fs::read_dir(root("src/webhook_source/fixtures")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    let fixture = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let word = name.split('-').next().unwrap();
        let provider = Provider::ALL.iter().copied().find(|provider| provider.word() == word).unwrap();
        Fixture { provider, body: read(path), name }
    };
    files.iter().map(fixture).collect()
}

fn all_events() -> Vec<(String, Value)> {
    let of = |fixture: Fixture| {
        let events = events(fixture.provider, fixture.body.to_string().as_bytes());
        events.into_iter().map(move |event| (fixture.name.clone(), event))
    };
    fixtures().into_iter().flat_map(of).collect()
}

/// Checks a file, or writes it.
fn golden(path: &Path, text: &str) {
    if std::env::var_os("POSTERN_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(path, text).unwrap();
    } else {
        let kept = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, kept, "{} says otherwise", path.display());
    }
}

/// JSON on one line.
fn line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, one)| format!("{}: {}", json!(name), line(one))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(line).collect::<Vec<_>>().join(", ")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// JSON that people read: what fits on a line stands on one.
fn page(value: &Value, indent: usize) -> String {
    const WIDTH: usize = 110;
    let flat = line(value);
    if flat.len() + indent <= WIDTH {
        return flat;
    }
    let pad = " ".repeat(indent + 2);
    let (open, lines, close): (_, Vec<String>, _) = match value {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{pad}{}: {}", json!(name), page(value, indent + 2));
            ("{", fields.iter().map(field).collect(), "}")
        }
        Value::Array(items) => {
            ("[", items.iter().map(|item| format!("{pad}{}", page(item, indent + 2))).collect(), "]")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return flat,
    };
    format!("{open}\n{}\n{}{close}", lines.join(",\n"), " ".repeat(indent))
}

#[test]
fn golden_events_of_every_fixture() {
    for fixture in fixtures() {
        let events = events(fixture.provider, fixture.body.to_string().as_bytes());
        assert!(!events.is_empty(), "{}", fixture.name);
        let path = root("src/webhook_source/fixtures/golden").join(format!("{}.json", fixture.name));
        golden(&path, &format!("{}\n", page(&events.into(), 0)));
    }
}

#[test]
fn every_event_fits_the_published_schemas() {
    for (name, event) in all_events() {
        assert_eq!(misfits(&event), Vec::<String>::new(), "{name}: {event:#}");
    }
}

#[test]
fn the_providers_own_object_is_found_in_every_event() {
    for fixture in fixtures() {
        let mut places = Vec::new();
        all_places(&fixture.body, String::new(), &mut places);
        let body = fixture.body.to_string();
        let entries = split(fixture.provider, &ExtractionIr::default(), &HeaderMap::new(), body.as_bytes());
        for entry in entries.unwrap() {
            let sent = places.iter().any(|place| fixture.body.pointer(place) == Some(entry.event()));
            assert!(sent, "{}: {}", fixture.name, entry.event());
        }
    }
}

#[test]
fn the_schemas_are_json_schemas() {
    for file in SCHEMAS {
        assert!(jsonschema::meta::is_valid(&schema(file)), "{file}");
    }
}

#[test]
fn every_type_that_is_published_has_a_fixture() {
    let events = all_events();
    for file in ["whatsapp.json", "genesys.json"] {
        for name in schema(file)["$defs"].as_object().unwrap().keys().filter(|name| name.contains('.')) {
            assert!(events.iter().any(|(_, event)| event["type"] == **name), "{file}: {name}");
        }
    }
}

#[test]
fn every_field_that_is_documented_is_passed_on_by_its_name() {
    for field in super::whatsapp::FIELDS {
        let body = json!({"entry": [{"id": "1", "changes": [{"field": field, "value": {"a": [1]}}]}]});
        let event = &events(Provider::WhatsApp, body.to_string().as_bytes())[0];
        assert_eq!((event["type"].as_str(), event.get("unknown")), (Some(&*format!("whatsapp.{field}")), None));
        assert_eq!(misfits(event), Vec::<String>::new(), "{event:#}");
    }
}

/// Places in an event whose names are ours.
fn ours(value: &Value, at: &str, places: &mut Vec<String>) {
    const THEIRS: [&str; 5] = ["message", "status", "error", "value", "notification"];
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (name, child) in children {
        let place = format!("{at}/{name}");
        if value.is_object() {
            places.push(place.clone());
        }
        if !(at == "/data" && THEIRS.contains(&name.as_str())) {
            ours(child, &place, places);
        }
    }
}

#[test]
fn an_event_with_a_field_renamed_does_not_fit() {
    let opaque = |event: &Value| event["data"].get("content").is_none() && event["data"].get("field").is_none();
    let mut renamed = 0;
    for (name, event) in all_events().into_iter().filter(|(_, event)| !opaque(event)) {
        let mut places = Vec::new();
        ours(&event, "", &mut places);
        for place in places {
            let mut other = event.clone();
            let (within, field) = place.rsplit_once('/').unwrap();
            let fields = other.pointer_mut(within).unwrap().as_object_mut().unwrap();
            let value = fields.remove(field).unwrap();
            fields.insert(format!("{field}_"), value);
            assert!(!EVENT.is_valid(&other), "{name}: {place} may be renamed");
            renamed += 1;
        }
    }
    assert!(renamed > 1000, "{renamed}");
}

#[test]
fn what_is_not_known_says_so_and_is_complete() {
    for (name, event) in all_events() {
        let unknown = ["unknown", "of-another-shape", "holograms", "nothing-known", "without-any"];
        let unknown = unknown.iter().any(|word| name.contains(word));
        assert_eq!(event["unknown"] == true, unknown, "{name}");
    }
    let fixture = fixtures().into_iter().find(|fixture| fixture.name == "whatsapp-message-unknown").unwrap();
    let sent = fixture.body.pointer("/entry/0/changes/0/value/messages/0").unwrap();
    let events = events(fixture.provider, fixture.body.to_string().as_bytes());
    assert_eq!((&events[0]["data"]["message"], events[0]["type"].as_str()), (sent, Some("whatsapp.message.hologram")));
}

#[test]
fn golden_examples_stand_on_the_page() {
    const MARK: &str = "<!-- examples: written by the tests -->\n";
    let path = root("../docs/events/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (kept, _) = text.split_once(MARK).expect("the page has a place for the examples");
    let whole = kept.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(misfits(&serde_json::from_str(whole).unwrap()), Vec::<String>::new());
    let mut examples = BTreeMap::new();
    for (_, event) in all_events() {
        let of = event["type"].as_str().unwrap().to_owned();
        examples.entry(of).or_insert(event);
    }
    let mut page_text = format!("{kept}{MARK}");
    for (of, event) in examples {
        let id = event["id"].as_str().unwrap();
        let subject = event["subject"].as_str().map_or_else(String::new, |subject| format!(", `subject` `{subject}`"));
        let unknown = if event["unknown"] == true { ", `unknown`" } else { "" };
        let data = page(&event["data"], 0);
        page_text += &format!("\n### `{of}`\n\n`id` `{id}`{subject}{unknown}\n\n```json\n{data}\n```\n");
    }
    golden(&path, &page_text);
}

/// Any JSON, not too large.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof!["[a-z_]{0,8}", "(text|group|read|Typing|[0-9]{1,12})", any::<String>()].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("(type|id|text|body|[a-z]{1,6})", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn all_places(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, one)| all_places(one, format!("{at}/{name}"), places)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, one)| all_places(one, format!("{at}/{index}"), places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push(at);
}

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_providers_change_becomes_events_that_fit(
        which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), new in anything(),
    ) {
        let fixture = which.get(&FIXTURES);
        let (mut body, mut places) = (fixture.body.clone(), Vec::new());
        all_places(&body, String::new(), &mut places);
        *body.pointer_mut(place.get(places.as_slice()).as_str()).unwrap() = new;
        let events = events(fixture.provider, body.to_string().as_bytes());
        prop_assert!(!events.is_empty());
        for event in events {
            prop_assert_eq!(misfits(&event), Vec::<String>::new(), "{}: {:#}", fixture.name, event);
        }
    }

    #[test]
    fn whatever_any_provider_sends_becomes_events_that_fit(
        provider in prop::sample::select(Provider::ALL), body in anything(),
    ) {
        let in_list = provider.preset().and_then(|preset| preset.each).filter(|each| !each.is_empty());
        let body = in_list.map_or_else(|| body.clone(), |each| json!({ each: [body.clone(), body.clone()] }));
        for event in events(provider, body.to_string().as_bytes()) {
            prop_assert_eq!(misfits(&event), Vec::<String>::new(), "{:?}: {:#}", provider, event);
        }
    }
}
