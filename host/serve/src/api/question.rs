//! What both kinds of completions are asked with.

use host_model::SamplingOptions;

use super::error::ApiError;
use super::fields::Fields;
use super::service::Service;
use crate::engine::Ask;

/// Most texts that end an answer, and the longest of them in bytes.
const STOPS: (usize, usize) = (16, 1024);
/// Most likely tokens that are told at each place.
pub const MOST_LIKELIEST: usize = 20;

/// The common part of a request.
#[derive(Debug, Clone)]
pub struct Question {
    /// The answer comes in pieces.
    pub stream: bool,
    /// And the last of them tells how many tokens it was.
    pub include_usage: bool,
    /// Answers to each prompt.
    pub count: usize,
    sampling: SamplingOptions,
    seed: Option<u64>,
    stops: Vec<String>,
}

impl Question {
    /// Takes the common fields.
    ///
    /// # Errors
    /// [`ApiError`] for another model, and for values out of range.
    pub fn read(fields: &mut Fields, service: &Service) -> Result<Self, ApiError> {
        service.check_model(fields)?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let mut include_usage = false;
        if let Some(options) = fields.take("stream_options") {
            if !stream {
                return Err(ApiError::field("stream_options", "needs `stream`"));
            }
            include_usage = options["include_usage"] == true;
        }
        let count = fields.count("n", 1, service.limits().choices)?.unwrap_or(1);
        let sampling = SamplingOptions {
            temperature: fields.number("temperature", 0.0, 2.0)?.unwrap_or(1.0),
            top_p: fields.number("top_p", 0.0, 1.0)?.filter(|p| *p < 1.0),
            // As other servers have it: 0 and -1 are none.
            top_k: fields
                .number("top_k", -1.0, f64::from(u32::MAX))?
                .filter(|k| *k > 0.0)
                .map(|k| k as usize),
        };
        // Probabilities are single floats.
        if sampling.top_p.is_some_and(|p| p as f32 == 0.0) {
            return Err(ApiError::field("top_p", "must be above 0"));
        }
        let stops = fields.texts("stop", STOPS.0, STOPS.1)?;
        Ok(Self { stream, include_usage, count, sampling, seed: fields.seed()?, stops })
    }

    /// The answers that are asked of one prompt after the other, as `one` has them.
    ///
    /// With a seed the draws of answer `i` are those of prompt `i` of `host generate`; without one every answer that is
    /// drawn has a stream of the server's own seed.
    pub fn asks(&self, service: &Service, prompts: Vec<Vec<u32>>, one: &Ask) -> Vec<Ask> {
        let mut asks = Vec::with_capacity(prompts.len() * self.count);
        for prompt in prompts {
            for _ in 0..self.count {
                let stream = asks.len() as u64;
                let draws = match self.seed {
                    Some(seed) => (seed, stream),
                    None if self.sampling.temperature > 0.0 => service.next_draws(),
                    None => (0, 0),
                };
                asks.push(Ask {
                    prompt: prompt.clone(),
                    sampling: self.sampling,
                    draws,
                    stops: self.stops.clone(),
                    stream: self.stream,
                    ..one.clone()
                });
            }
        }
        asks
    }
}

/// Tokens that an answer may have behind a prompt: as many as are wanted, or as there is room for in the model's context.
///
/// # Errors
/// [`ApiError`] for a prompt that is empty, or that leaves no room for one token where any are wanted.
pub fn room(
    service: &Service,
    param: &str,
    prompt: &[u32],
    wanted: usize,
) -> Result<usize, ApiError> {
    let context = service.engine().model().config.max_position;
    if prompt.is_empty() {
        return Err(ApiError::field(param, "has no tokens; give it a text"));
    }
    let room = context.saturating_sub(prompt.len());
    if prompt.len() > context || room < wanted.min(1) {
        let count = prompt.len();
        let message = format!(
            "has {count} tokens, and the model takes {context} with those of the answer; shorten it"
        );
        return Err(ApiError::too_long(param, message));
    }
    Ok(room.min(wanted))
}
