//! Keys that change what a row means and can't be honoured: named, not passed over.

use serde_json::Value;

use super::error::Result;
use super::fields::{Fields, says_nothing};

/// Keys that are refused for one reason.
struct Refused {
    keys: &'static [&'static str],
    /// What a value of theirs is.
    reads: fn(&Value) -> Reading,
    problem: &'static str,
    remedy: &'static str,
}

enum Reading {
    Refused,
    /// Says what holds in any case.
    Harmless,
    /// Means something else; passed over like any key that isn't known.
    Foreign,
}

/// Refused if it says anything.
fn anything(value: &Value) -> Reading {
    if says_nothing(value) { Reading::Harmless } else { Reading::Refused }
}

/// Harmless where `is_harmless` or it says nothing, else refused.
fn anything_but(value: &Value, is_harmless: bool) -> Reading {
    if is_harmless { Reading::Harmless } else { anything(value) }
}

/// A switch that is harmless when it is `harmless`.
fn switch(value: &Value, harmless: bool) -> Reading {
    let on = value.as_bool().or_else(|| value.as_f64().map(|number| number != 0.0));
    match on {
        Some(on) if on == harmless => Reading::Harmless,
        Some(_) => Reading::Refused,
        None => Reading::Foreign,
    }
}

const MEDIA: Refused = Refused {
    keys: &["images", "image", "videos", "video", "audios", "audio"],
    reads: anything,
    problem: "isn't text, and only text is read",
    remedy: "remove the row, or the key if the text is whole without it",
};

const BY_POSITION: Refused = Refused {
    keys: &[
        "train_detail",
        "training_detail",
        "completion_mask",
        "assistant_mask",
        "assistant_masks",
    ],
    reads: anything,
    problem: "says by position what is learned, and only whole messages can be chosen",
    remedy: "set `train` to true or false on messages, or remove the key",
};

/// Refused in a row to learn from.
const IN_TRAINING_ROWS: &[Refused] = &[
    Refused {
        keys: &[
            "chosen",
            "rejected",
            "chosen_response",
            "rejected_response",
            "rejected_messages",
            "preferred_output",
            "non_preferred_output",
        ],
        reads: anything,
        problem: "belongs to preference data, and preferences aren't learned",
        remedy: "keep the answer to learn as `completion` (a whole conversation as `messages`) \
                 and remove the others",
    },
    Refused {
        keys: &["kto_tag"],
        reads: |value| switch(value, true),
        problem: "marks an answer not to be learned",
        remedy: "remove the row, or the key if the answer is right",
    },
    Refused {
        keys: &["weight", "sample_weight", "loss_weight"],
        reads: |value| anything_but(value, value.as_f64() == Some(1.0)),
        problem: "weights the row, and all rows count alike",
        remedy: "set it to 1 or remove it, and leave out the rows that shall not count",
    },
    Refused {
        keys: &["train", "training", "trainable", "learn"],
        reads: |value| switch(value, true),
        problem: "says that the row isn't learned",
        remedy: "remove the row, or the key",
    },
    Refused {
        keys: &["masked", "mask_loss", "ignore_loss"],
        reads: |value| switch(value, false),
        problem: "says that the row isn't learned",
        remedy: "remove the row, or the key",
    },
    Refused {
        // Some name the role whose messages are masked.
        keys: &["mask"],
        reads: |value| {
            let user = value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("user"));
            anything_but(value, user || *value == false)
        },
        problem: "says what is learned in a way that isn't honoured",
        remedy: "set `train` to true or false on messages, and remove it",
    },
    Refused { keys: &["loss_mask"], ..BY_POSITION },
    BY_POSITION,
];

const IN_MESSAGES: &[Refused] = &[
    MEDIA,
    BY_POSITION,
    Refused {
        keys: &["prefix"],
        reads: |value| anything_but(value, *value == false),
        problem: "asks to go on with the message",
        remedy: "write the whole answer into one message, and remove the key",
    },
    Refused {
        keys: &["channel"],
        reads: |value| anything_but(value, *value == "final"),
        problem: "isn't the final answer",
        remedy: "put an analysis into `reasoning_content` of the answer it belongs to",
    },
    Refused {
        keys: &["tool_plan"],
        reads: anything,
        problem: "isn't read",
        remedy: "put it into `reasoning_content`",
    },
];

fn check(fields: &mut Fields<'_>, table: &[Refused]) -> Result<()> {
    for entry in table {
        for key in entry.keys {
            match fields.left().get(*key).map(entry.reads) {
                None | Some(Reading::Foreign) => {}
                Some(Reading::Harmless) => drop(fields.take(key)),
                Some(Reading::Refused) => {
                    return Err(fields.refused(key, entry.problem, entry.remedy));
                }
            }
        }
    }
    Ok(())
}

/// Of a row, whatever it is for.
pub(super) fn in_row(row: &mut Fields<'_>) -> Result<()> {
    check(row, &[MEDIA])
}

/// Of a row to learn from, beside [`in_row`].
pub(super) fn in_training_row(row: &mut Fields<'_>) -> Result<()> {
    check(row, IN_TRAINING_ROWS)?;
    if row.has("input_ids") && row.has("labels") {
        let problem = "says token by token what is learned, and text is read here";
        return Err(row.refused("labels", problem, BY_POSITION.remedy));
    }
    // In KTO's format; harmful prompts are labelled too, but with true or 1.
    if row.left().get("label").is_some_and(|label| *label == false) {
        let problem = "is false, which marks an answer not to be learned";
        return Err(row.refused(
            "label",
            problem,
            "remove the row, or the key if it means another thing",
        ));
    }
    if let Some(split) = row.left().get("split").and_then(Value::as_str)
        && ["val", "valid", "validation", "dev", "test"].contains(&split)
    {
        let problem = format!("is {split}, so the row isn't for training");
        return Err(row.refused("split", problem, "remove the row, or the key to learn it"));
    }
    Ok(())
}

/// Of a message.
pub(super) fn in_message(message: &mut Fields<'_>) -> Result<()> {
    check(message, IN_MESSAGES)
}
