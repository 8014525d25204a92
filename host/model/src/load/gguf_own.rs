//! Keys of GGUF metadata that only some families read.

use candle_core::quantized::gguf_file::Value;

use super::config_gguf::{Metadata, shortest, whole};
use crate::config::{Config, GgufKey, Rope, RopeScaling};
use crate::error::Result;

impl Metadata<'_> {
    /// Sets what a key of some families states. As in llama.cpp, 0 says nothing.
    pub(super) fn set(&self, key: GgufKey, config: &mut Config) -> Result<()> {
        match key {
            GgufKey::Window => {
                config.sliding_window = self.size(key.name())?.filter(|size| *size > 0);
                return Ok(());
            }
            GgufKey::WindowPattern => {
                config.window_layers = self.window_pattern(key.name(), config.num_layers)?;
                return Ok(());
            }
            GgufKey::Rotates => {
                let off = matches!(self.get(key.name()), Some(Value::Bool(false)));
                config.rotated_layers = off.then(|| vec![false; config.num_layers]);
                return Ok(());
            }
            _ => {}
        }
        let Some(number) = self.number(key.name())?.filter(|number| *number != 0.0) else {
            return Ok(());
        };
        let number = shortest(number);
        match key {
            GgufKey::AttentionScale => config.scales.attention = Some(number),
            GgufKey::EmbeddingScale => config.scales.embedding = number,
            GgufKey::ResidualScale => config.scales.residual = number,
            GgufKey::LogitDivisor => config.logits.divisor = number,
            GgufKey::AttentionCap => config.attention_cap = Some(number),
            GgufKey::LogitCap => config.logits.cap = Some(number),
            GgufKey::LocalTheta => {
                config.local_rope = Some(Rope { theta: number, scaling: RopeScaling::None });
            }
            GgufKey::Window | GgufKey::WindowPattern | GgufKey::Rotates => {}
        }
        Ok(())
    }

    /// Per layer whether it has the window, if the key is there. As in llama.cpp every layer has it with 0.
    fn window_pattern(&self, field: &str, layers: usize) -> Result<Option<Vec<bool>>> {
        let wrong = || self.fail(field, "is neither a whole number nor a flag for every layer");
        let flags = match self.get(field) {
            None => return Ok(None),
            Some(Value::Array(list)) => {
                let flag = |value: &Value| match value {
                    Value::Bool(flag) => Some(*flag),
                    other => whole(other).map(|number| number != 0),
                };
                list.iter().map(flag).collect::<Option<Vec<bool>>>()
            }
            Some(value) => whole(value).map(|every| {
                let slides = |layer: u64| every == 0 || !(layer + 1).is_multiple_of(every);
                (0..layers as u64).map(slides).collect()
            }),
        };
        flags.filter(|flags| flags.len() == layers).map(Some).ok_or_else(wrong)
    }
}
