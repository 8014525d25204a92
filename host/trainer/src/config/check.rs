//! What a type can't say: ranges, and values that must fit together.

use super::RunConfig;
use crate::error::{Error, Result};

impl RunConfig {
    pub(super) fn check(&self) -> Result<()> {
        let train = &self.train;
        require(train.batch >= 1, "train.batch", "must be at least 1")?;
        let data = &self.data;
        require(
            (0.0..=1.0).contains(&data.bad_row_limit),
            "data.bad_row_limit",
            "must be in [0, 1]: it is a share of a file's rows",
        )?;
        require(train.micro_batch != Some(0), "train.micro_batch", "must be at least 1")?;
        require(train.epochs > 0.0 && train.epochs <= 1e6, "train.epochs", "must be above 0")?;
        require(train.max_steps != Some(0), "train.max_steps", "must be at least 1")?;
        require(
            train.learning_rate > 0.0 && train.learning_rate <= 1.0,
            "train.learning_rate",
            "must be in (0, 1]",
        )?;
        require(
            (0.0..=1.0).contains(&train.warmup),
            "train.warmup",
            "is a share of the steps, in [0, 1]",
        )?;
        require(
            (0.0..=1.0).contains(&train.floor),
            "train.floor",
            "is a share of the peak, in [0, 1]",
        )?;
        require((0.0..1.0).contains(&train.beta1), "train.beta1", "must be in [0, 1)")?;
        require((0.0..1.0).contains(&train.beta2), "train.beta2", "must be in [0, 1)")?;
        require(train.epsilon > 0.0, "train.epsilon", "must be above 0")?;
        require(
            (0.0..=1.0).contains(&train.weight_decay),
            "train.weight_decay",
            "must be in [0, 1]",
        )?;
        require(
            train.gradient_clip >= 0.0,
            "train.gradient_clip",
            "must not be negative; 0 switches clipping off",
        )?;
        require(self.lora.rank >= 1, "lora.rank", "must be at least 1")?;
        require(
            self.lora.alpha > 0.0 && self.lora.alpha.is_finite(),
            "lora.alpha",
            "must be above 0",
        )?;
        require(
            !self.lora.targets.is_empty(),
            "lora.targets",
            "needs at least one of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
        )?;
        require((0.0..1.0).contains(&self.lora.dropout), "lora.dropout", "is a chance, in [0, 1)")?;
        require(
            train.neftune_alpha >= 0.0 && train.neftune_alpha.is_finite(),
            "train.neftune_alpha",
            "must not be negative; 0 switches the noise off",
        )?;
        if let Some(key) = self.lora.against_start() {
            let problem = "the adapter of lora.start has its own; leave the key out";
            return Err(Error::config(key, problem));
        }
        require(self.data.max_tokens >= 2, "data.max_tokens", "must be at least 2")?;
        require(self.eval.max_new_tokens >= 1, "eval.max_new_tokens", "must be at least 1")?;
        require(
            self.eval.max_task_tokens != Some(0),
            "eval.max_task_tokens",
            "must be at least 1",
        )?;
        self.check_evaluations()?;
        require(self.eval.batch >= 1, "eval.batch", "must be at least 1")?;
        require(
            self.eval.refusal_phrases.iter().all(|phrase| !phrase.trim().is_empty()),
            "eval.refusal_phrases",
            "an empty phrase is in every answer; take it out",
        )?;
        require(self.canary.limit >= 1, "canary.limit", "must be at least 1")?;
        require(self.anchors.limit >= 1, "anchors.limit", "must be at least 1")?;
        require(!self.canary.refusal.is_empty(), "canary.refusal", "must not be empty")?;
        require(!self.canary.compliance.is_empty(), "canary.compliance", "must not be empty")?;
        require(self.steering.coefficient.is_finite(), "steering.coefficient", "must be finite")?;
        require(
            !self.steering.instruction.is_empty(),
            "steering.instruction",
            "must not be empty",
        )?;
        require(
            self.steering.layers.windows(2).all(|pair| pair[0] < pair[1]),
            "steering.layers",
            "must be ascending without repeats",
        )?;
        let checkpoints = &self.checkpoints;
        require(
            checkpoints.every_steps != Some(0),
            "checkpoints.every_steps",
            "must be at least 1; leave it out to go by minutes alone",
        )?;
        require(
            (0.0..=1e6).contains(&checkpoints.every_minutes),
            "checkpoints.every_minutes",
            "must be in [0, 1000000]; 0 switches it off",
        )?;
        require(checkpoints.keep >= 1, "checkpoints.keep", "must be at least 1")?;
        for (number, policy) in self.policies.iter().enumerate() {
            let key = |field: &str| match self.policies.len() {
                1 => format!("policy.{field}"),
                _ => format!("policy.{number}.{field}"),
            };
            require(
                !policy.path.as_os_str().is_empty(),
                &key("path"),
                "names no file; give the policy's .wasm",
            )?;
            if let Some(pin) = &policy.sha256 {
                let is_digest = pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
                require(is_digest, &key("sha256"), "must be 64 hex digits")?;
            }
        }
        for (name, judge) in &self.judges {
            judge.check(name)?;
        }
        for name in &self.eval.judges {
            let problem = format!("there is no [judges.{name}] in the configuration");
            require(self.judges.contains_key(name), "eval.judges", &problem)?;
        }
        for name in &self.trust.unchecked_judges {
            let problem = format!("there is no [judges.{name}] in the configuration");
            require(self.judges.contains_key(name), "trust.unchecked_judges", &problem)?;
        }
        require(
            (0.0..=1.0).contains(&self.trust.judge_failures),
            "trust.judge_failures",
            "is a share of the judgements, in [0, 1]",
        )?;
        self.trackers.check()?;
        self.trust.guardrails()?;
        require(
            self.trust.strict_steps >= 1,
            "trust.strict_steps",
            "must be at least 1; on_fault = \"stop\" survives no fault",
        )?;
        Ok(())
    }

    /// Those during training.
    fn check_evaluations(&self) -> Result<()> {
        let (train, during) = (&self.train, &self.eval.during);
        require(during.every != Some(0), "eval.during.every", "must be at least 1")?;
        require(
            during.max_new_tokens >= 1,
            "eval.during.max_new_tokens",
            "must be at least 1; eval.during.harmful and harmless = 0 generate nothing",
        )?;
        require(train.patience != Some(0), "train.patience", "must be at least 1")?;
        require(
            (0.0..=1.0).contains(&train.best_tolerance),
            "train.best_tolerance",
            "is a share of the harmful prompts, in [0, 1]",
        )?;
        let part =
            |part: f64| part > 0.0 && part.is_finite() && (part < 1.0 || part.fract() == 0.0);
        require(
            self.data.validation.is_none_or(part),
            "data.validation",
            "must be a share of the rows in (0, 1), or a number of rows",
        )?;
        self.choice().map(drop)
    }
}

fn require(holds: bool, key: &str, problem: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::config(key, problem)) }
}
