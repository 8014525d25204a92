//! Sizes and settings that no decoder can have.

use super::{Config, Experts, MOST, ORIGINAL};
use crate::error::{Error, Result};

impl Config {
    /// Refuses sizes that no decoder can have; `file` names the source in errors.
    pub(crate) fn validated(self, file: &str) -> Result<Self> {
        let fail = |field: &str, problem: String| {
            Err(Error::Config {
                file: file.into(),
                field: field.into(),
                problem,
                action: ORIGINAL.into(),
            })
        };
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_layers),
            ("num_attention_heads", self.num_heads),
            ("num_key_value_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position),
        ] {
            if value == 0 || value > MOST {
                return fail(field, format!("is {value}, outside 1 to {MOST}"));
            }
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            let problem = format!(
                "is {}, which does not divide the {} heads",
                self.num_kv_heads, self.num_heads
            );
            return fail("num_key_value_heads", problem);
        }
        if !(self.partial_rotary_factor > 0.0 && self.partial_rotary_factor <= 1.0) {
            let problem = format!("is {}, outside 0 to 1", self.partial_rotary_factor);
            return fail("partial_rotary_factor", problem);
        }
        if self.rotary_dim() == 0 || !self.head_dim.is_multiple_of(2) {
            return fail("head_dim", format!("is {}, which is odd", self.head_dim));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return fail("rms_norm_eps", format!("is {}", self.rms_norm_eps));
        }
        if let Some((field, problem)) = self.bad_scale() {
            return fail(field, problem);
        }
        if let Some((field, problem)) = self.experts.as_ref().and_then(Experts::problem) {
            return fail(field, problem);
        }
        if self.sliding_window == Some(0) {
            return fail("sliding_window", "is 0".into());
        }
        for rope in [&self.rope].into_iter().chain(&self.local_rope) {
            if !(rope.theta.is_finite() && rope.theta > 1.0) {
                return fail("rope_theta", format!("is {}", rope.theta));
            }
            if let Err(problem) = rope.scaling.check(self.rotary_dim() / 2) {
                return fail("rope_scaling", problem);
            }
        }
        Ok(self)
    }

    /// A factor or cap that isn't positive, by the name that most families give it.
    fn bad_scale(&self) -> Option<(&'static str, String)> {
        let settings = [
            ("embedding_multiplier", Some(self.scales.embedding)),
            ("attention_multiplier", self.scales.attention),
            ("residual_multiplier", Some(self.scales.residual)),
            ("logits_scaling", Some(self.logits.divisor)),
            ("attn_logit_softcapping", self.attention_cap),
            ("final_logit_softcapping", self.logits.cap),
        ];
        let positive = |value: f64| value.is_finite() && value > 0.0;
        settings.into_iter().find_map(|(field, value)| {
            let value = value.filter(|value| !positive(*value))?;
            Some((field, format!("is {value}, which isn't positive")))
        })
    }
}
