//! What fits and what does not, and what is told of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::refusal::{Extra, Reason, Refusal};

fn schema(document: &Value) -> Schema {
    Schema::new(&SchemaIr { document: document.to_string().into() }).unwrap()
}

fn refused(document: &str) -> Vec<String> {
    let error = Schema::new(&SchemaIr { document: document.into() }).unwrap_err();
    error.flaws().iter().map(|flaw| format!("{} {}", flaw.pointer, flaw.message)).collect()
}

fn violations(refusal: &Refusal) -> &[Violation] {
    refusal
        .extras
        .iter()
        .find_map(|extra| if let Extra::Violations(list) = extra { Some(&list[..]) } else { None })
        .unwrap()
}

fn order() -> Schema {
    schema(&json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 3},
            "kind": {"enum": ["retail", "wholesale"]},
        },
        "required": ["id"],
        "additionalProperties": false,
        "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}, "required": ["count"]}},
    }))
}

#[test]
fn a_violation_says_where_and_what_was_expected() {
    let refusal = order().check_body(br#"{"lines": [{"count": 1}, {"count": 0}, {}], "kind": "x"}"#).unwrap_err();
    assert_eq!(refusal.reason, Reason::SchemaInvalid);
    let told: Vec<String> = violations(&refusal).iter().map(|one| format!("{} {}", one.schema, one.told())).collect();
    let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "/$defs/line/properties/count/minimum /lines/1/count: expected minimum 1, found an integer",
            "/$defs/line/required /lines/2: expected a member `count`, found an object of 0 members",
            "/properties/kind/enum /kind: expected enum [\"retail\",\"wholesale\"], found a string of 1 characters",
            "/required the whole: expected a member `id`, found an object of 2 members",
        ]
    );
    assert!(refusal.detail.ends_with("(and 3 more)"), "{}", refusal.detail);
}

#[test]
fn what_fits_is_let_through() {
    order().check_body(br#"{"id": "12", "lines": [{"count": 1, "note": null}], "kind": "retail"}"#).unwrap();
}

#[test]
fn neither_values_nor_unknown_names_are_repeated() {
    let body = r#"{"id": "canary-1", "kind": "canary-2", "canary-3": {"canary-4": 5}, "lines": "canary-6"}"#;
    let refusal = order().check_body(body.as_bytes()).unwrap_err();
    assert!(violations(&refusal).len() >= 4);
    assert!(!format!("{refusal:?}").contains("canary"), "{refusal:?}");
    let map = schema(&json!({"additionalProperties": {"properties": {"age": {"type": "integer"}}}}));
    let refusal = map.check_body(br#"{"canary@example.com": {"age": "x"}}"#).unwrap_err();
    assert_eq!(violations(&refusal)[0].pointer, "/*/age");
    for document in [
        json!({"propertyNames": {"maxLength": 2}}),
        json!({"not": {}}),
        json!({"const": 1}),
        json!({"oneOf": [{"type": "string"}, {"required": ["a"]}]}),
        json!({"patternProperties": {"^c": false}}),
        json!({"if": true, "then": {"minProperties": 9}}),
        json!({"dependentRequired": {"canary": ["b"]}}),
        json!({"unevaluatedProperties": false}),
        json!({"properties": {"canary": {"contains": {"const": 7}, "uniqueItems": true}}}),
    ] {
        let refusal = schema(&document).check_body(br#"{"canary": ["hush", "hush"]}"#).unwrap_err();
        let (told, named) = (format!("{refusal:?}"), document.to_string().contains("canary"));
        assert!(!violations(&refusal).is_empty());
        assert!(!told.contains("hush") && (named || !told.contains("canary")), "{told}");
    }
}

#[test]
fn what_cannot_be_used_is_told_all_at_once() {
    let document = json!({
        "properties": {
            "a": {"$ref": "https://example.com/a.json"},
            "b": {"$ref": "file:///etc/passwd"},
            "c": {"$ref": "#/$defs/nobody"},
            "d": {"pattern": "(?=look)ahead"},
            "e": {"type": "text"},
            "f": {"$id": "https://example.com/f", "minLength": -1},
            "g": {"$dynamicRef": "#node"},
            "$ref": {"enum": [{"$ref": "https://example.com/data"}]},
        },
        "patternProperties": {"(a)\\1": true},
    });
    let told = refused(&document.to_string()).join("\n");
    for pointer in ["a/$ref", "b/$ref", "c/$ref", "d/pattern", "e/type", "f/$id", "f/minLength", "g/$dynamicRef"] {
        assert!(told.contains(&format!("/properties/{pointer} ")), "{pointer}: {told}");
    }
    assert!(told.contains("/patternProperties/(a)\\1 "), "{told}");
    assert!(!told.contains("/properties/$ref"), "{told}");
    assert_eq!(told.lines().count(), 9, "{told}");
}

#[test]
fn both_drafts_are_read_in_their_own_words() {
    let tuple = |draft: &str, keyword: &str| {
        let schema = schema(&json!({"$schema": draft, keyword: [{"type": "string"}]}));
        (schema.check_body(b"[\"a\"]").is_ok(), schema.check_body(b"[1]").is_ok())
    };
    assert_eq!(tuple("http://json-schema.org/draft-07/schema#", "items"), (true, false));
    assert_eq!(tuple("https://json-schema.org/draft/2020-12/schema", "prefixItems"), (true, false));
    assert_eq!(tuple("http://json-schema.org/draft-07/schema#", "prefixItems"), (true, true));
    assert_eq!(refused(r#"{"$schema": "http://json-schema.org/draft-04/schema#"}"#).len(), 1);
}

#[test]
fn a_schema_is_bounded_in_size_depth_and_number() {
    let one = |document: &Value| refused(&document.to_string()).join("; ");
    let many: serde_json::Map<_, _> = (0..1_001).map(|n| (n.to_string(), json!({}))).collect();
    assert!(one(&json!({"properties": many})).contains("more than 1000 schemas"));
    let patterns: serde_json::Map<_, _> = (0..65).map(|n| (n.to_string(), json!({"pattern": "a"}))).collect();
    assert!(one(&json!({"properties": patterns})).contains("more than 64 regular expressions"));
    let chain = |length: usize| -> serde_json::Map<_, _> {
        let link = |n: usize| (format!("s{n}"), json!({"allOf": [{"$ref": format!("#/$defs/s{}", n + 1)}]}));
        (0..length).map(link).chain([(format!("s{length}"), json!({}))]).collect()
    };
    assert!(one(&json!({"$ref": "#/$defs/s0", "$defs": chain(40)})).contains("more than 64 schemas one in another"));
    assert!(one(&json!({"title": "x".repeat(MAX_SCHEMA_BYTES)})).contains("longer than 131072 bytes"));
    assert!(one(&json!({"pattern": "a".repeat(1_025)})).contains("longer than 1024 bytes"));
    assert!(one(&json!({"pattern": "((a{99}){99}){99}"})).contains("no regular expression that is taken"));
    assert!(refused(&format!("{}{}", "{\"not\":".repeat(99), "{}")).join("").contains("deeper than"));
}

#[test]
fn a_schema_that_doubles_with_each_reference_is_refused() {
    let link = |n: usize| {
        let next = json!({"$ref": format!("#/$defs/s{}", n + 1)});
        (format!("s{n}"), json!({"anyOf": [next.clone(), next]}))
    };
    let defs: serde_json::Map<_, _> =
        (0..24).map(link).chain([("s24".to_owned(), json!({"type": "string"}))]).collect();
    let told = refused(&json!({"$ref": "#/$defs/s0", "$defs": defs}).to_string());
    assert!(told.join("").contains("values with every $ref written out"), "{told:?}");
}

/// Each level of such a body would be listed twice, so the whole 2^depth times.
#[test]
fn a_body_that_is_too_much_to_list_is_refused_without_a_list() {
    let branch = |kind: &str| json!({"properties": {"kind": {"type": kind}, "next": {"$ref": "#"}}});
    let schema = schema(&json!({"anyOf": [branch("string"), branch("integer")], "required": ["end"]}));
    let body = format!("{}{{}}{}", "{\"kind\": null, \"next\": ".repeat(40), "}".repeat(40));
    let refusal = schema.check_body(body.as_bytes()).unwrap_err();
    assert_eq!((refusal.reason, refusal.extras.len()), (Reason::SchemaInvalid, 0));
}

/// As deep as both may be at once, on the stack that a core or a worker has.
#[test]
fn the_deepest_body_and_schema_fit_the_stack() {
    let mut inside = json!({"properties": {"a": {"$ref": "#"}}, "required": ["b"]});
    for _ in 0..20 {
        inside = json!({"anyOf": [inside]});
    }
    let schema = schema(&inside);
    let deep = |levels: usize| format!("{}{{}}{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let fits = |levels: usize| schema.check_body(deep(levels).as_bytes()).unwrap_err().reason;
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    std::thread::scope(|scope| {
        let run = || {
            let deepest = (1..64).take_while(|levels| fits(*levels) == Reason::SchemaInvalid).count();
            assert!((10..64).contains(&deepest), "{deepest}");
            let deep: Value = serde_json::from_str(&deep(100)).unwrap();
            assert_eq!(schema.check_event(&deep).unwrap_err().reason, Reason::SchemaInvalid);
        };
        thread.spawn_scoped(scope, run).unwrap().join().unwrap();
    });
}

#[test]
fn a_schema_that_refers_to_itself_for_the_same_value_is_refused() {
    let behind =
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"if": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}});
    for document in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}]}), json!({"not": {"$ref": "#"}}), behind] {
        assert!(refused(&document.to_string()).join("").contains("refers to itself for the same value"), "{document}");
    }
    for document in [json!({"properties": {"a": {"$ref": "#"}}}), json!({"items": {"anyOf": [{"$ref": "#"}, {}]}})] {
        schema(&document).check_body(b"{}").unwrap();
    }
}

/// Seen from the root each reference leads back, so counted that way the document is small.
#[test]
fn a_schema_whose_recursion_hides_what_it_costs_is_refused() {
    let link = |n: usize| {
        let up = json!({"$ref": format!("#/$defs/s{}", n + 1)});
        let down = json!({"$ref": format!("#/$defs/s{}", n.max(1) - 1)});
        (format!("s{n}"), json!({"anyOf": [up, up, up, up], "properties": {"down": down}}))
    };
    let defs: serde_json::Map<_, _> = (0..12).map(link).chain([("s12".to_owned(), json!(false))]).collect();
    let told = refused(&json!({"$ref": "#/$defs/s11", "$defs": defs}).to_string());
    assert!(told.join("").contains("values with every $ref written out"), "{told:?}");
}

#[test]
fn what_is_named_and_not_checked_is_told() {
    let schema = schema(&json!({"properties": {"a": {"format": "int32"}, "b": {"format": "uuid"}}}));
    let places: Vec<&str> = schema.doubts().iter().map(|flaw| flaw.pointer.as_str()).collect();
    assert_eq!(places, ["/properties/a/format"]);
    assert_eq!(schema.check_body(br#"{"b": "x"}"#).unwrap_err().reason, Reason::SchemaInvalid);
}

#[test]
fn only_a_request_that_acts_must_have_a_body() {
    use http::Method;
    assert!(Schema::concerns(&Method::POST, false) && Schema::concerns(&Method::PATCH, false));
    assert!(!Schema::concerns(&Method::GET, false) && !Schema::concerns(&Method::DELETE, false));
    assert!(Schema::concerns(&Method::GET, true));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..9).prop_map(Value::from),
        "[a-c0-9]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = prop::sample::select(vec!["id", "lines", "count", "kind", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_the_bytes_there_is_a_verdict(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = order().check_body(&body);
    }

    #[test]
    fn the_verdict_and_the_list_agree(value in value()) {
        let schema = order();
        match schema.check_body(value.to_string().as_bytes()) {
            Ok(()) => prop_assert!(schema.check_event(&value).is_ok()),
            Err(refusal) => {
                prop_assert_eq!(refusal.reason, Reason::SchemaInvalid);
                prop_assert!(!violations(&refusal).is_empty());
                prop_assert_eq!(schema.check_event(&value), Err(refusal));
            }
        }
    }

    #[test]
    fn whatever_the_document_it_is_used_or_refused(document in value(), keyword in "[a-zA-Z]{2,8}") {
        for keyword in [keyword.as_str(), "items", "properties", "$ref", "allOf", "pattern", "required", "type"] {
            let _ = Schema::new(&SchemaIr { document: json!({keyword: document}).to_string().into() });
        }
    }
}
