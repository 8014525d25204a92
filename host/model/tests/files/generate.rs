//! Answers of a tiny random model.

use std::path::Path;

use candle_core::{IndexOp, Tensor};
use host_model::{GenerateOptions, Kernels, LoadOptions, Model, Packed, Source, generate, load};

use crate::tiny;

fn model(dir: &Path) -> Model {
    load(&Source::Directory(dir.to_owned()), &LoadOptions::default()).unwrap()
}

fn run(
    model: &Model,
    prompts: &[Vec<u32>],
    stop: &[u32],
    options: &GenerateOptions,
) -> Vec<Vec<u32>> {
    generate(&model.decoder, None, prompts, stop, options, &mut |_| {}).unwrap()
}

fn greedy(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens, ..GenerateOptions::default() }
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![5, 9, 13], vec![40], vec![7, 7, 7, 8, 90, 100, 110], vec![200, 201]]
}

/// The likeliest next token by a whole forward pass without a cache.
fn next(model: &Model, tokens: &[u32]) -> u32 {
    let hidden =
        model.decoder.forward(&Packed::from_sequences(&[tokens]), None, &[]).unwrap().hidden;
    let last: Tensor = hidden.i(tokens.len() - 1..).unwrap();
    let logits: Vec<f32> =
        model.decoder.logits(&last).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    best.0 as u32
}

#[test]
fn greedy_answers_are_those_of_whole_forward_passes() {
    for family in tiny::FAMILIES {
        let dir = tiny::folder(family);
        let model = model(dir.path());
        for (prompt, answer) in prompts().iter().zip(run(&model, &prompts(), &[], &greedy(6))) {
            let mut tokens = prompt.clone();
            for token in answer {
                assert_eq!(token, next(&model, &tokens), "{family}");
                tokens.push(token);
            }
            assert_eq!(tokens.len(), prompt.len() + 6);
        }
    }
}

#[test]
fn the_rest_of_the_batch_does_not_matter() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let together = run(&model, &prompts(), &[], &greedy(8));
    let alone: Vec<_> = prompts()
        .iter()
        .map(|p| run(&model, std::slice::from_ref(p), &[], &greedy(8)).remove(0))
        .collect();
    assert_eq!(together, alone);
}

/// Those that wait join where others have ended, which changes no answer.
#[test]
fn answers_are_the_same_however_many_are_decoded_together() {
    for family in ["llama", "mistral", "phi3"] {
        let dir = tiny::folder(family);
        let source = Source::Directory(dir.path().to_owned());
        for kernels in [Kernels::Fused, Kernels::Plain] {
            let options = LoadOptions { kernels: Some(kernels), ..LoadOptions::default() };
            let model = load(&source, &options).unwrap();
            let prompts: Vec<Vec<u32>> = (0..23u32)
                .map(|i| (0..1 + i * 7 % 11).map(|t| (i * 31 + t * 17) % 250).collect())
                .collect();
            let whole = run(&model, &prompts, &[], &greedy(9));
            let stop = [whole[2][3], whole[5][1], whole[9][0]];
            let of = |batch| run(&model, &prompts, &stop, &GenerateOptions { batch, ..greedy(9) });
            let together = of(64);
            assert!(together.iter().any(|answer| answer.len() < 9));
            for batch in [1, 2, 5, 8] {
                assert_eq!(of(batch), together, "{family} {kernels:?} {batch}");
            }
        }
    }
}

#[test]
fn a_stop_token_ends_one_answer_and_not_the_others() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let whole = run(&model, &prompts(), &[], &greedy(8));
    let stop = whole[2][3];
    let stopped = run(&model, &prompts(), &[stop], &greedy(8));
    for (whole, stopped) in whole.iter().zip(&stopped) {
        let end = whole.iter().position(|token| *token == stop).unwrap_or(whole.len());
        assert_eq!(stopped, &whole[..end]);
    }
    assert!(stopped[2].len() <= 3 && stopped.iter().any(|answer| answer.len() == 8));
}

#[test]
fn progress_counts_every_token() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let mut count = 0;
    let answers =
        generate(&model.decoder, None, &prompts(), &[], &greedy(5), &mut |new| count += new.len())
            .unwrap();
    assert_eq!(count, answers.iter().map(Vec::len).sum::<usize>());
    assert_eq!(count, 20);
    assert_eq!(run(&model, &prompts(), &[], &greedy(0)), vec![Vec::<u32>::new(); 4]);
    assert_eq!(run(&model, &[], &[], &greedy(5)), Vec::<Vec<u32>>::new());
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let drawn = |seed, top_k, top_p| {
        let options = GenerateOptions {
            max_new_tokens: 12,
            temperature: 2.0,
            top_k,
            top_p,
            seed,
            ..GenerateOptions::default()
        };
        run(&model, &prompts(), &[], &options)
    };
    assert_eq!(drawn(1, None, None), drawn(1, None, None));
    assert_ne!(drawn(1, None, None), drawn(2, None, None));
    // One candidate leaves no choice.
    let best = run(&model, &prompts(), &[], &greedy(12));
    assert_eq!(drawn(1, Some(1), None), best);
    assert_eq!(drawn(1, None, Some(1e-6)), best);
    assert_eq!(drawn(1, Some(1), Some(0.9)), best);
}

#[test]
fn the_context_is_the_end() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    let long: Vec<u32> = (0..126).collect();
    assert_eq!(run(&model, std::slice::from_ref(&long), &[], &greedy(50))[0].len(), 2);
    let too_long: Vec<u32> = (0..128).collect();
    for (prompt, words) in [(vec![], "is empty"), (too_long, "128 tokens")] {
        let prompts = [vec![1], prompt];
        let error = generate(&model.decoder, None, &prompts, &[], &greedy(5), &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains("prompt 2") && error.contains(words), "{error}");
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = tiny::folder("llama");
    let model = model(dir.path());
    for options in [
        GenerateOptions { temperature: f64::NAN, ..greedy(1) },
        GenerateOptions { temperature: -1.0, ..greedy(1) },
        GenerateOptions { top_p: Some(0.0), ..greedy(1) },
        GenerateOptions { top_k: Some(0), ..greedy(1) },
    ] {
        assert!(
            generate(&model.decoder, None, &prompts(), &[], &options, &mut |_| {}).is_err(),
            "{options:?}"
        );
    }
}
