//! The rope settings of a `config.json`, in the forms of transformers 4 and 5, read as transformers 5 reads them.

use serde_json::Value;

use crate::config::{
    Family, Fields, Rope, RopeScaling, long_rope_attention_factor, yarn_attention_factor,
};
use crate::error::Result;

/// What the rope settings amount to.
pub struct RopeSettings {
    pub rope: Rope,
    /// That of the layers with a window, if the family has one for them.
    pub local_rope: Option<Rope>,
    /// Fraction of a head that is rotated.
    pub partial_rotary_factor: f64,
    /// The longest sequence, in tokens: more than `max_position_embeddings` where frequencies are stretched on the way.
    pub max_position: usize,
}

/// Kinds of layers that may have settings of their own: those without and with a window.
const LAYERS: [&str; 2] = ["full_attention", "sliding_attention"];
const SCALING: &str = "rope_scaling";
const PARAMETERS: &str = "rope_parameters";
const ORIGINAL: &str = "original_max_position_embeddings";
const THETA: &str = "rope_theta";
const PARTIAL: &str = "partial_rotary_factor";

/// Reads them for a model of `max_position` positions.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) for a kind of scaling that isn't supported, or a number that is missing.
pub fn read(json: &Fields, family: &dyn Family, max_position: usize) -> Result<RopeSettings> {
    let rope = object(json);
    let (rope, local) = match &rope {
        Some(rope)
            if family.local_theta().is_some() && LAYERS.iter().any(|name| rope.has(name)) =>
        {
            (rope.object(LAYERS[0]), rope.object(LAYERS[1]))
        }
        _ => (rope, None),
    };
    let rope = rope.as_ref();
    let kind = kind(rope, family)?;
    if let Some(rope) = rope {
        note_unread(rope, &kind);
    }
    let mut partial_rotary_factor = stated(json, rope, PARTIAL)?.unwrap_or(1.0);
    if partial_rotary_factor != 1.0 && !family.rotates_a_part() {
        let (partial, class) = (partial_rotary_factor, family.class());
        // The code of these families builds the frequencies of whole heads, or fails.
        if kind != "default" {
            let problem = format!("is {partial}, but {class} rotates whole heads");
            let action = "use the configuration the weights were published with";
            return Err(json.fail(PARTIAL, problem, action));
        }
        json.note(
            PARTIAL,
            format!("is {partial}, which {class} doesn't read: heads are rotated whole"),
        );
        partial_rotary_factor = 1.0;
    }
    let reader = Reader { json, rope, family, max_position };
    let (scaling, max_position) = reader.scaling(&kind)?;
    let theta = stated(json, rope, THETA)?.unwrap_or_else(|| family.default_theta());
    let local_rope = local_rope(json, local.as_ref(), family, max_position)?;
    let rope = Rope { theta, scaling };
    Ok(RopeSettings { rope, local_rope, partial_rotary_factor, max_position })
}

/// The rope of layers with a window, where the family has one for them.
fn local_rope(
    json: &Fields,
    rope: Option<&Fields>,
    family: &dyn Family,
    max_position: usize,
) -> Result<Option<Rope>> {
    let Some((field, absent)) = family.local_theta() else {
        return Ok(None);
    };
    let inner = rope.map(|rope| rope.number(THETA)).transpose()?.flatten();
    let theta = inner.or(json.number(field)?).unwrap_or(absent);
    let kind = kind(rope, family)?;
    if let Some(rope) = rope {
        note_unread(rope, &kind);
    }
    let (scaling, _) = Reader { json, rope, family, max_position }.scaling(&kind)?;
    Ok(Some(Rope { theta, scaling }))
}

/// `rope_scaling` if it says anything, else `rope_parameters`.
fn object<'a>(json: &Fields<'a>) -> Option<Fields<'a>> {
    let says = |field: &str| json.object(field).filter(|object| object.names().next().is_some());
    match (says(SCALING), says(PARAMETERS)) {
        (Some(scaling), Some(_)) => {
            if json.get(SCALING) != json.get(PARAMETERS) {
                json.note(SCALING, format!("counts, as in transformers; `{PARAMETERS}` says something else and isn't read"));
            }
            Some(scaling)
        }
        (scaling, parameters) => scaling.or(parameters),
    }
}

fn kind(rope: Option<&Fields>, family: &dyn Family) -> Result<String> {
    let Some(rope) = rope else {
        return Ok("default".into());
    };
    if let Some(nested) = LAYERS.into_iter().find(|name| rope.has(name)) {
        let problem =
            format!("gives rope settings per kind of layer, which {} doesn't read", family.class());
        return Err(rope.fail(nested, problem, "use one set of settings for all layers"));
    }
    let known = || format!("use a model with one of: {}", family.rope_types().join(", "));
    let text = |field: &str| match rope.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(value) => Err(rope.fail(field, format!("is {value}"), known())),
    };
    let (new, old) = (text("rope_type")?, text("type")?);
    if let (Some(new), Some(old)) = (new, old)
        && new != old
        && !(new == "longrope" && old == "su")
    {
        rope.note("rope_type", format!("is {new:?} and counts; `type` is {old:?}"));
    }
    let Some(kind) = new.or(old) else {
        return Ok("default".into());
    };
    if !family.rope_types().contains(&kind) {
        let field = if new.is_some() { "rope_type" } else { "type" };
        return Err(rope.fail(
            field,
            format!("is {kind:?}, which isn't supported for {}", family.name()),
            known(),
        ));
    }
    Ok(match kind {
        "su" => "longrope".into(),
        "yarn" if family.rope_types().contains(&"su") => "longrope".into(),
        other => other.into(),
    })
}

/// Fields that this kind of scaling doesn't read.
fn note_unread(rope: &Fields, kind: &str) {
    let read: &[&str] = match kind {
        "linear" | "dynamic" => &["factor"],
        "yarn" => &[
            "factor",
            ORIGINAL,
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ],
        "llama3" => &["factor", ORIGINAL, "low_freq_factor", "high_freq_factor"],
        "longrope" => &["factor", ORIGINAL, "attention_factor", "short_factor", "long_factor"],
        _ => &[],
    };
    let always = ["rope_type", "type", THETA, PARTIAL];
    let says = |name: &&str| rope.get(name).is_some();
    let unread = rope.names().filter(|name| !read.contains(name) && !always.contains(name));
    for name in unread.filter(says) {
        let typed = rope.get("rope_type").or_else(|| rope.get("type")).is_some();
        let why = if typed {
            format!("isn't read for rope type {kind:?}, as in transformers")
        } else {
            format!("isn't read: without a `rope_type` the type is {kind:?}, as in transformers")
        };
        rope.note(name, why);
    }
}

/// A number of the rope settings, or of the document if they don't have it.
fn stated(json: &Fields, rope: Option<&Fields>, field: &str) -> Result<Option<f64>> {
    let inner = rope.map(|rope| rope.number(field)).transpose()?.flatten();
    let outer = json.number(field)?;
    if let (Some(inner), Some(outer)) = (inner, outer)
        && inner != outer
    {
        json.note(
            field,
            format!(
                "is {outer}, but the rope settings say {inner}, which counts, as in transformers"
            ),
        );
    }
    Ok(inner.or(outer))
}

struct Reader<'a> {
    json: &'a Fields<'a>,
    rope: Option<&'a Fields<'a>>,
    family: &'a dyn Family,
    max_position: usize,
}

impl Reader<'_> {
    /// The scaling, and the longest sequence under it.
    fn scaling(&self, kind: &str) -> Result<(RopeScaling, usize)> {
        let (Some(rope), max) = (self.rope, self.max_position) else {
            return Ok((RopeScaling::None, self.max_position));
        };
        match kind {
            "linear" => Ok((RopeScaling::Linear { factor: rope.positive("factor")? }, max)),
            "dynamic" => {
                let factor = rope.positive("factor")?;
                let longest = (max as f64 * factor.max(1.0)).min(f64::from(1u32 << 28)) as usize;
                Ok((RopeScaling::Dynamic { factor, original_max_position: max }, longest))
            }
            "yarn" => self.yarn(rope),
            "llama3" => {
                let scaling = RopeScaling::Llama3 {
                    factor: rope.positive("factor")?,
                    low_freq_factor: rope.positive("low_freq_factor")?,
                    high_freq_factor: rope.positive("high_freq_factor")?,
                    original_max_position: self.original(rope)?,
                };
                Ok((scaling, max))
            }
            "longrope" => Ok((self.long_rope(rope)?, max)),
            _ => Ok((RopeScaling::None, max)),
        }
    }

    /// The original context: outside of the rope settings first, as transformers has it for Phi-3.
    fn original(&self, rope: &Fields) -> Result<usize> {
        let inner = rope.size(ORIGINAL)?;
        let outer = self.json.size(ORIGINAL)?.or(self.family.default_original_context());
        if let (Some(inner), Some(outer)) = (inner, outer)
            && inner != outer
        {
            let what = format!(
                "is {inner}, but {outer} counts, as in transformers: the field of that name outside of the rope settings, or its default"
            );
            rope.note(ORIGINAL, what);
        }
        let original = outer.or(inner).unwrap_or(self.max_position);
        if original == 0 {
            return Err(rope.fail(ORIGINAL, "is 0", "make it positive"));
        }
        Ok(original)
    }

    fn yarn(&self, rope: &Fields) -> Result<(RopeScaling, usize)> {
        let original = self.original(rope)?;
        let implied = self.max_position as f64 / original as f64;
        if !rope.has("factor") {
            return Err(rope.fail("factor", "is missing", "add it"));
        }
        // With null in its place it is the ratio of the two contexts.
        let factor = match rope.number("factor")? {
            Some(_) => rope.positive("factor")?,
            None => implied,
        };
        if implied != factor && implied != 1.0 {
            let what = format!(
                "is {factor} and counts, as in transformers; max_position_embeddings is {implied} times the original context"
            );
            rope.note("factor", what);
        }
        let nonzero = |number: Option<f64>| number.filter(|m| *m != 0.0);
        let scales = (nonzero(rope.number("mscale")?), nonzero(rope.number("mscale_all_dim")?));
        let attention_factor = match (rope.number("attention_factor")?, scales.0, scales.1) {
            (Some(factor), _, _) => factor,
            (None, Some(m), Some(all)) => {
                yarn_attention_factor(factor, m) / yarn_attention_factor(factor, all)
            }
            (None, _, _) => yarn_attention_factor(factor, 1.0),
        };
        let turns = |field: &str, absent: f64| -> Result<f64> {
            Ok(nonzero(rope.number(field)?).unwrap_or(absent))
        };
        let scaling = RopeScaling::Yarn {
            factor,
            original_max_position: original,
            attention_factor,
            beta_fast: turns("beta_fast", 32.0)?,
            beta_slow: turns("beta_slow", 1.0)?,
            truncate: rope.flag_or("truncate", true)?,
        };
        let stretched = (original as f64 * factor).min(f64::from(1u32 << 28)) as usize;
        Ok((scaling, self.max_position.max(stretched)))
    }

    fn long_rope(&self, rope: &Fields) -> Result<RopeScaling> {
        let original = self.original(rope)?;
        let stretch = match rope.number("factor")? {
            Some(factor) => factor,
            None => self.max_position as f64 / original as f64,
        };
        let attention_factor = match rope.number("attention_factor")? {
            Some(factor) => factor,
            None => long_rope_attention_factor(stretch, original),
        };
        Ok(RopeScaling::LongRope {
            short_factor: rope.factors("short_factor")?,
            long_factor: rope.factors("long_factor")?,
            original_max_position: original,
            attention_factor,
        })
    }
}
