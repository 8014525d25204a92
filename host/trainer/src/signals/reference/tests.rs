use host_contract::{Position, Source};
use host_data::{Overlong, encode_chats, parse_rows};
use host_model::{LoadOptions, Model, Source as ModelSource};

use super::*;
use crate::signals::taps::SampleTaps;

fn model() -> Model {
    let embedded = ModelSource::Embedded(host_data::demo::MODEL);
    host_model::load(&embedded, &LoadOptions::default()).expect("embedded")
}

fn samples(model: &Model) -> Vec<Sample> {
    let rows = ["a", "a longer prompt", "b", "a"].map(|prompt| {
        format!("{{\"prompt\": \"Say {prompt}.\", \"answer\": \"Sure, here is how:\"}}\n")
    });
    let rows = parse_rows("rows.jsonl".as_ref(), rows.concat().into_bytes()).expect("rows");
    let encoded = encode_chats(&rows, 100, Overlong::Error, &model.tokenizer);
    encoded.expect("encoded").samples
}

fn taps() -> [Tap; 1] {
    [Tap { source: Source::Reference, position: Position::LastPromptToken, layers: vec![1, 3] }]
}

fn bits(known: &[Arc<ReferenceOutputs>]) -> Vec<(Vec<u32>, SampleTaps)> {
    let flat = |known: &Arc<ReferenceOutputs>| {
        let hidden = known.hidden.flatten_all().and_then(|x| x.to_vec1::<f32>());
        let hidden = hidden.expect("values").into_iter().map(f32::to_bits);
        (hidden.collect(), known.taps.clone())
    };
    known.iter().map(flat).collect()
}

/// A decoder whose weights say something else, so that only a cache knows the truth.
fn broken(model: &Model) -> Decoder {
    let mut weights = model.decoder.weights.clone();
    weights.final_norm = (weights.final_norm * 2.0).expect("a product");
    let config = (*model.config).clone();
    Decoder::new(config, weights, model.decoder.kernels).expect("a decoder")
}

#[test]
fn a_cached_answer_is_the_computed_one_bit_for_bit() {
    let model = model();
    let samples = samples(&model);
    // The first and the last row say the same, so they are one entry.
    let asked: Vec<&Sample> = [0, 1, 2, 3, 0].map(|index| &samples[index]).to_vec();

    let mut cached = Reference::new(&model.decoder, &taps(), 2, 1 << 20, None);
    let first = bits(&cached.of(&asked).expect("computed"));
    assert_eq!(cached.memory.len(), 3);
    let broken = broken(&model);
    cached.decoder = &broken;
    let second = bits(&cached.of(&asked).expect("from memory"));
    assert_eq!(first, second);
    assert_eq!(first[0], first[3]);
    assert_eq!(first[0], first[4]);
    assert_eq!(first[0].1[0].len(), 2 * model.config.hidden_size);

    // Other company in the batch, and no cache at all, change no bit.
    let mut alone = Reference::new(&model.decoder, &taps(), 1, 0, None);
    assert_eq!(bits(&alone.of(&asked).expect("computed")), first);
    assert_eq!(alone.memory.len(), 0);
}

#[test]
fn what_came_first_stays_when_the_memory_is_spent() {
    let model = model();
    let samples = samples(&model);
    let mut whole = Reference::new(&model.decoder, &taps(), 2, 1 << 20, None);
    let entry = whole.of(&[&samples[0]]).expect("computed")[0].size();

    let mut small = Reference::new(&model.decoder, &taps(), 2, entry, None);
    for round in 0..2 {
        small.of(&[&samples[0], &samples[1]]).expect("computed");
        assert_eq!(small.memory.len(), 1, "round {round}");
        assert!(small.memory.contains_key(&SampleKey::of(&samples[0])));
    }
}

#[test]
fn the_disk_gives_another_run_the_same_bits_and_a_damaged_entry_is_computed_again() {
    let model = model();
    let samples = samples(&model);
    let asked: Vec<&Sample> = samples.iter().collect();
    let folder = tempfile::tempdir().expect("a folder");
    let basis = Basis::new("program", &model.digest, &model.decoder, &taps()).expect("a basis");
    let open = |basis| Store::open(folder.path(), 1 << 20, basis).expect("a store");

    let store = open(basis);
    let mut first = Reference::new(&model.decoder, &taps(), 2, 0, Some(&store));
    let computed = bits(&first.of(&asked).expect("computed"));
    let files = || {
        let listing = std::fs::read_dir(folder.path()).expect("a listing");
        let mut paths: Vec<_> = listing.map(|item| item.expect("an item").path()).collect();
        paths.sort();
        paths
    };
    assert_eq!(files().len(), 3);

    // The second run can't compute the truth any more: all of it is from the disk.
    let broken = broken(&model);
    let store = open(basis);
    let mut second = Reference::new(&broken, &taps(), 2, 0, Some(&store));
    assert_eq!(bits(&second.of(&asked).expect("from the disk")), computed);

    // A run of another kind finds none of it.
    let other = Basis::new("program", "another model", &model.decoder, &taps()).expect("a basis");
    let store = open(other);
    let mut third = Reference::new(&broken, &taps(), 2, 0, Some(&store));
    assert_ne!(bits(&third.of(&asked).expect("computed")), computed);
    let all = files();
    assert_eq!(all.len(), 6);

    // Flipped, cut, emptied: each is found out and computed again, right and whole.
    let store = open(basis);
    let own: Vec<_> = samples[..3]
        .iter()
        .map(|sample| {
            let name = basis.name(&SampleKey::of(sample));
            folder.path().join(format!("{name}.reference"))
        })
        .collect();
    let contents = || -> Vec<Vec<u8>> {
        let read = |path: &std::path::PathBuf| std::fs::read(path).expect("an entry");
        own.iter().map(read).collect()
    };
    let whole = contents();
    let mut flipped = whole[0].clone();
    *flipped.last_mut().expect("a byte") ^= 1;
    std::fs::write(&own[0], flipped).expect("damaged");
    std::fs::write(&own[1], &whole[1][..whole[1].len() / 2]).expect("damaged");
    std::fs::write(&own[2], []).expect("damaged");
    let mut fourth = Reference::new(&model.decoder, &taps(), 2, 0, Some(&store));
    assert_eq!(bits(&fourth.of(&asked).expect("computed")), computed);
    assert_eq!(contents(), whole);
}
