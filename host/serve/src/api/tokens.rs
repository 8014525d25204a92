//! The tokenizer, for harnesses that have none of their own: in the form in which vLLM serves it.

use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Fields;
use super::service::Service;

/// GET /tokenizer_info
pub fn info(service: &Service) -> Value {
    let tokenizer = &service.engine().model().tokenizer;
    let special = tokenizer.special_tokens();
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": text(&special.bos),
        "eos_token": text(&special.eos),
        "pad_token": text(&special.pad),
        "unk_token": text(&special.unk),
        "chat_template": tokenizer.chat_template(),
        "model_max_length": service.engine().model().config.max_position,
    })
}

/// POST /tokenize
///
/// # Errors
/// [`ApiError`] for what is no text.
pub fn tokenize(service: &Service, body: &[u8]) -> Result<Value, ApiError> {
    let mut fields = Fields::read(body)?;
    service.check_model(&mut fields)?;
    let surrounded = fields.flag("add_special_tokens")?.unwrap_or(true);
    let Some(Value::String(text)) = fields.take("prompt") else {
        return Err(ApiError::field("prompt", "must be a text"));
    };
    service.count_ignored(fields.finish()?);
    let tokenizer = &service.engine().model().tokenizer;
    let tokens =
        if surrounded { tokenizer.encode_text(&text)? } else { tokenizer.encode(&text)? };
    Ok(json!({
        "tokens": tokens,
        "count": tokens.len(),
        "max_model_len": service.engine().model().config.max_position,
    }))
}

/// POST /detokenize
///
/// # Errors
/// [`ApiError`] for what are no token ids.
pub fn detokenize(service: &Service, body: &[u8]) -> Result<Value, ApiError> {
    let mut fields = Fields::read(body)?;
    service.check_model(&mut fields)?;
    let Some(Value::Array(ids)) = fields.take("tokens") else {
        return Err(ApiError::field("tokens", "must be a list of token ids"));
    };
    service.count_ignored(fields.finish()?);
    let tokens = service.token_ids("tokens", &ids)?;
    let text = service.engine().model().tokenizer.decode_with_special(&tokens)?;
    Ok(json!({"prompt": text}))
}
