use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::webhook_source::EntryIdentifiers;

fn ir() -> SanitiseIr {
    SanitiseIr { max_string_length: 8, max_depth: 3, ..SanitiseIr::default() }
}

fn run(ir: &SanitiseIr, data: Value) -> (Value, Option<String>) {
    let mut entry = Entry { data, ..Entry::of(EntryIdentifiers::default()) };
    let told = sanitise(ir, &mut entry);
    (entry.data, told)
}

#[test]
fn what_is_clean_stays_and_nothing_is_told() {
    let data = json!({"text": "ä\t\r\n", "list": [1, null, true, {}]});
    assert_eq!(run(&ir(), data.clone()), (data, None));
}

#[test]
fn control_characters_go_in_texts_and_names() {
    let dirty = || json!({"a": "x\u{0}y\u{1b}[2J", "b\u{7}": {"c": "\u{9b}z"}});
    let (clean, told) = run(&ir(), dirty());
    assert_eq!(clean, json!({"a": "xy[2J", "b": {"c": "z"}}));
    assert_eq!(told.as_deref(), Some("# #/a #/b/c"));
    let replace = SanitiseIr { control_characters: ControlCharacters::Replace, ..ir() };
    assert_eq!(run(&replace, json!(["\u{7f}"])), (json!(["\u{fffd}"]), Some("#/0".to_owned())));
    let keep = SanitiseIr { control_characters: ControlCharacters::Keep, ..ir() };
    assert_eq!(run(&keep, dirty()), (dirty(), None));
    let long = json!("\u{0}23456789");
    assert_eq!(run(&keep, long), (json!("\u{0}2345678"), Some("#".to_owned())));
}

#[test]
fn names_that_become_one_leave_one() {
    assert_eq!(run(&ir(), json!({"a": 1, "a\u{1}": 2})).0, json!({"a": 1}));
}

#[test]
fn long_texts_are_cut_between_characters_and_deep_values_become_null() {
    let (cut, told) = run(&ir(), json!({"a/b~ c": "1234567ä", "deep": [[[1]], [2]]}));
    assert_eq!(cut, json!({"a/b~ c": "1234567", "deep": [[null], [2]]}));
    assert_eq!(told.as_deref(), Some("#/a~1b~0%20c #/deep/0/0"));
}

#[test]
fn what_was_mended_is_told() {
    let mut entry = Entry { mended: true, data: json!(["\u{fffd}", "b"]), ..Entry::of(EntryIdentifiers::default()) };
    assert_eq!(sanitise(&ir(), &mut entry).as_deref(), Some("#/0"));
}

#[test]
fn the_list_of_places_has_an_end() {
    let (_, told) = run(&ir(), json!(vec!["\u{0}"; 10_000]));
    let told = told.unwrap();
    assert!(told.len() <= MAX_PLACES_BYTES && told.ends_with(" ..."), "{told}");
    let wide = SanitiseIr { max_string_length: 4096, ..ir() };
    assert_eq!(run(&wide, json!({"x".repeat(2000): "\u{0}"})).1.as_deref(), Some("# ..."));
}

proptest! {
    #[test]
    fn whatever_comes_out_is_within_its_bounds_and_comes_out_the_same_again(
        texts in prop::collection::vec(any::<String>(), 1..6), depth in 0_usize..6,
    ) {
        let leaf: Value = texts.iter().map(|text| (text.clone(), Value::from(text.as_str()))).collect::<Map<_, _>>().into();
        let data = (0..depth).fold(leaf, |inner, _| json!([inner]));
        let (clean, _) = run(&ir(), data);
        prop_assert_eq!(run(&ir(), clean.clone()), (clean.clone(), None));
        let mut strings = vec![&clean];
        while let Some(value) = strings.pop() {
            match value {
                Value::String(text) => prop_assert!(text.len() <= 8 && !text.contains(is_unwanted)),
                Value::Array(items) => strings.extend(items),
                Value::Object(fields) => strings.extend(fields.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
    }
}
