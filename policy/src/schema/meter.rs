//! How much work it would be to list everything that is wrong.
//!
//! The library stops at the first answer when it is asked whether a value fits, and remembers what it has seen of a
//! schema that refers to itself. When it is asked for everything that does not fit, it does neither: a value of a few
//! hundred bytes can then take more memory than there is. So the work is counted beforehand, up to a bound.

use serde_json::Value;

use super::keywords::{Reach, inner, referred};

/// How deep the count itself may go.
const MAX_NESTING: usize = 1_024;

/// Whether listing takes at most `budget` visits of a schema to a value.
pub(super) fn within(document: &Value, instance: &Value, budget: usize) -> bool {
    let mut meter = Meter { document, left: budget };
    meter.visit(document, instance, 0).is_some()
}

struct Meter<'a> {
    document: &'a Value,
    left: usize,
}

impl Meter<'_> {
    /// `None` once the budget is spent.
    fn visit(&mut self, schema: &Value, instance: &Value, nesting: usize) -> Option<()> {
        self.spend(1)?;
        if nesting > MAX_NESTING {
            return None;
        }
        let Value::Object(map) = schema else { return Some(()) };
        if let Some(Value::String(reference)) = map.get("$ref")
            && let Some(target) = referred(self.document, reference)
        {
            self.visit(target, instance, nesting + 1)?;
        }
        for inner in inner(map) {
            self.reach(inner.schema, inner.reach, instance, nesting + 1)?;
        }
        Some(())
    }

    fn reach(&mut self, schema: &Value, reach: Reach<'_>, instance: &Value, nesting: usize) -> Option<()> {
        match (reach, instance) {
            (Reach::Same, _) => self.visit(schema, instance, nesting),
            (Reach::Member(name), Value::Object(members)) => match members.get(name) {
                Some(member) => self.visit(schema, member, nesting),
                None => Some(()),
            },
            // Which names a pattern fits is not asked: any might.
            (Reach::Members, Value::Object(members)) => {
                members.values().try_for_each(|member| self.visit(schema, member, nesting))
            }
            (Reach::Item(index), Value::Array(items)) => match items.get(index) {
                Some(item) => self.visit(schema, item, nesting),
                None => Some(()),
            },
            (Reach::Items, Value::Array(items)) => items.iter().try_for_each(|item| self.visit(schema, item, nesting)),
            (Reach::Names, Value::Object(members)) => self.spend(members.len()),
            (Reach::Member(_) | Reach::Members | Reach::Item(_) | Reach::Items | Reach::Names | Reach::Nothing, _) => {
                Some(())
            }
        }
    }

    fn spend(&mut self, visits: usize) -> Option<()> {
        self.left = self.left.checked_sub(visits)?;
        Some(())
    }
}
