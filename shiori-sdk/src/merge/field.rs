//! The fields of the outermost node, other than its blocks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::{RawValue, to_raw_value};

use super::{OnOverlap, block::Canonical};

pub(super) type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Fields after a merge.
pub(super) struct Merged {
    /// Each to the letter.
    pub(super) fields: BTreeMap<String, Box<RawValue>>,
    /// Whether both sides changed one of them, and to different values.
    pub(super) overlap: bool,
}

/// Merges field by field, and `attrs` attribute by attribute. Where both sides changed one to
/// different values it cannot hold both: ours is taken, unless the caller asks for theirs.
pub(super) fn merge(
    base: &Fields<'_>,
    ours: &Fields<'_>,
    theirs: &Fields<'_>,
    on_overlap: OnOverlap,
) -> Merged {
    let mut merged = Merged { fields: BTreeMap::new(), overlap: false };
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let three = [base, ours, theirs].map(|fields| fields.get(key).copied());
        let value = if let Picked::Agreed(value) = pick(three) {
            value.map(ToOwned::to_owned)
        } else if let Some(attributes) = merge_attributes(key, three, on_overlap) {
            merged.overlap |= attributes.overlap;
            to_raw_value(&attributes.fields).ok()
        } else {
            merged.overlap = true;
            let [_, ours, theirs] = three;
            let kept = if on_overlap == OnOverlap::Theirs { theirs } else { ours };
            kept.map(ToOwned::to_owned)
        };
        if let Some(value) = value {
            merged.fields.insert(key.clone(), value);
        }
    }
    merged
}

/// What a field became.
enum Picked<'a> {
    /// At most one side changed its value, or both did alike.
    Agreed(Option<&'a RawValue>),
    Disagreed,
}

/// Where a side changed no more than the letter of a field, that is kept too.
fn pick([base, ours, theirs]: [Option<&RawValue>; 3]) -> Picked<'_> {
    let [b, o, t] = [base, ours, theirs].map(|raw| raw.map(RawValue::get));
    if o == b {
        return Picked::Agreed(theirs);
    }
    if t == b {
        return Picked::Agreed(ours);
    }
    let [b, o, t] = [base, ours, theirs].map(|raw| raw.map(Canonical::of));
    if o == b || o == t {
        Picked::Agreed(theirs)
    } else if t == b {
        Picked::Agreed(ours)
    } else {
        Picked::Disagreed
    }
}

/// The attributes of the document, when both sides have an object there.
fn merge_attributes(
    key: &str,
    [base, ours, theirs]: [Option<&RawValue>; 3],
    on_overlap: OnOverlap,
) -> Option<Merged> {
    if key != "attrs" {
        return None;
    }
    let base = base.map_or(Some(Fields::new()), object)?;
    Some(merge(&base, &object(ours?)?, &object(theirs?)?, on_overlap))
}

fn object(raw: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str(raw.get()).ok()
}
