//! From the gradient of a step to new parameters.

use host_contract::Regularization;

use super::State;
use crate::error::Result;
use crate::parameters::norm;
use crate::records::StepRecord;

impl State<'_> {
    pub fn update(
        &mut self,
        asked: Option<&Regularization>,
        record: &mut StepRecord,
    ) -> Result<()> {
        let mut gradient = std::mem::take(&mut self.gradient);
        let limit = asked.and_then(|asked| asked.gradient_clip);
        record.gradient_norm = self.clip(&mut gradient, limit);
        self.gradient = gradient;
        record.learning_rate =
            self.schedule.at(record.step) * asked.map_or(1.0, |asked| asked.learning_rate_scale);
        self.act(|actuator, at| actuator.before_update(at));
        // Decay and averages are for what is trained.
        let held = self.layout.held_values(&self.parameters);
        self.optimizer.step(&mut self.parameters, &self.gradient, record.learning_rate);
        if let Some(asked) = asked {
            self.act(|actuator, at| actuator.after_update(asked, at));
        }
        self.layout.hold(&held, &mut self.parameters);
        self.layout.write(&self.parameters)?;
        let projection =
            asked.map(|asked| (asked.adapter_projection, asked.adapter_projection_count));
        match projection {
            None | Some((None, None)) => Ok(()),
            Some((threshold, least)) => self.project(threshold, least, record),
        }
    }

    /// Shortens a gradient to this L2 norm, or the run's own; returns what it was. Of several
    /// policies one may be silent, for which the run's own stands, so it is the most.
    pub(super) fn clip(&self, gradient: &mut [f32], limit: Option<f64>) -> f64 {
        let own = self.spec.config.gradient_clip;
        let limit = match limit {
            Some(limit) if self.spec.needs.len() > 1 && own > 0.0 => limit.min(own),
            Some(limit) => limit,
            None => own,
        };
        let norm = norm(gradient);
        if limit > 0.0 && norm > limit {
            let scale = (limit / norm) as f32;
            gradient.iter_mut().for_each(|value| *value *= scale);
        }
        norm
    }
}
