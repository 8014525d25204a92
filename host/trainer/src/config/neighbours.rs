//! Keys as other trainers call them (TRL and transformers, peft, axolotl, LLaMA-Factory, torchtune).

/// Their name, and the key here that means the same.
const NAMES: [(&str, &str); 56] = [
    ("adam_beta1", "train.beta1"),
    ("adam_beta2", "train.beta2"),
    ("adam_epsilon", "train.epsilon"),
    ("adapter_path", "lora.start"),
    ("base_model", "model.source"),
    ("base_model_name_or_path", "model.source"),
    ("bf16", "model.dtype"),
    ("chat_template", "model.chat_template"),
    ("cutoff_len", "data.max_tokens"),
    ("dataset", "data.train"),
    ("datasets", "data.train"),
    ("dtype", "model.dtype"),
    ("eval_batch_size", "eval.batch"),
    ("gradient_accumulation_steps", "train.micro_batch"),
    ("gradient_checkpointing", "train.checkpoint_activations"),
    ("init_lora_weights", "lora.init"),
    ("layers_to_transform", "lora.layers"),
    ("learning_rate", "train.learning_rate"),
    ("load_in_4bit", "model.weights"),
    ("load_in_8bit", "model.weights"),
    ("lora_alpha", "lora.alpha"),
    ("lora_dropout", "lora.dropout"),
    ("lora_modules", "lora.targets"),
    ("lora_r", "lora.rank"),
    ("lora_rank", "lora.rank"),
    ("lora_target", "lora.targets"),
    ("lora_target_modules", "lora.targets"),
    ("lr", "train.learning_rate"),
    ("max_grad_norm", "train.gradient_clip"),
    ("max_length", "data.max_tokens"),
    ("max_new_tokens", "eval.max_new_tokens"),
    ("max_seq_length", "data.max_tokens"),
    ("max_steps", "train.max_steps"),
    ("micro_batch_size", "train.micro_batch"),
    ("model_name_or_path", "model.source"),
    ("model_path", "model.source"),
    ("neftune_noise_alpha", "train.neftune_alpha"),
    ("num_epochs", "train.epochs"),
    ("num_train_epochs", "train.epochs"),
    ("optimizer_lr", "train.learning_rate"),
    ("output_dir", "output"),
    ("per_device_eval_batch_size", "eval.batch"),
    ("per_device_train_batch_size", "train.batch"),
    ("r", "lora.rank"),
    ("save_steps", "checkpoints.every_steps"),
    ("sequence_len", "data.max_tokens"),
    ("target_modules", "lora.targets"),
    ("template", "model.chat_template"),
    ("test_datasets", "eval.task"),
    ("torch_dtype", "model.dtype"),
    ("train_file", "data.train"),
    ("train_on_dataset", "data.train"),
    ("use_dora", "lora.dora"),
    ("use_rslora", "lora.rank_stabilized"),
    ("warmup_ratio", "train.warmup"),
    ("weight_decay", "train.weight_decay"),
];

/// The key that means the same here.
pub fn here(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RunConfig, property};

    #[test]
    fn every_name_leads_to_a_key_that_there_is() {
        let mut schema = RunConfig::schema().to_value();
        for (theirs, ours) in NAMES {
            assert!(property(&mut schema, ours).is_some(), "{theirs}: {ours}");
        }
    }
}
