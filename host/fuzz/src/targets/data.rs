//! Configurations, rows and answers.

use std::path::Path;

use host_data::{parse_prompts, parse_rows};
use host_eval::evaluation::read_generations;
use host_eval::measure::{RefusalDetector, RefusalJudge};
use host_trainer::config::Layers;

use crate::place;

/// `config.toml`; the lines of a second part are `--set`.
pub fn config(input: &[u8]) {
    let (text, assignments) = place::two(input);
    let mut layers = Layers::default();
    if layers.add_text(&String::from_utf8_lossy(text), "config.toml").is_err() {
        return;
    }
    for line in String::from_utf8_lossy(assignments).lines() {
        let _ = layers.add_assignment(line);
    }
    if let Ok(config) = layers.resolve() {
        let _ = (config.trust.guardrails(), config.demo_data());
    }
}

fn read(name: &str, input: &[u8]) {
    let name = Path::new(name);
    if let Ok(rows) = parse_rows(name, input.to_vec()) {
        for row in rows {
            let _ = host_data::content_digest(row.chat());
        }
    }
    let _ = parse_prompts(name, input.to_vec());
}

/// JSON Lines.
pub fn rows(input: &[u8]) {
    read("rows.jsonl", input);
}

/// An array of JSON.
pub fn array(input: &[u8]) {
    read("rows.json", input);
}

/// CSV with commas, semicolons or tabs.
pub fn csv(input: &[u8]) {
    read("rows.csv", input);
    read("rows.tsv", input);
    read("rows", input);
}

/// Files packed with gzip or Zstandard.
pub fn packed(input: &[u8]) {
    read("rows.jsonl", input);
    read("rows.csv", input);
}

/// Parquet.
pub fn parquet(input: &[u8]) {
    read("rows.parquet", input);
}

/// `generations.jsonl`.
pub fn generations(input: &[u8]) {
    let path = place::file("generations.jsonl", input);
    let _ = read_generations(&path, &RefusalDetector::new(RefusalJudge::default(), &[]));
}
