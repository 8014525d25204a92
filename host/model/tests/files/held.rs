//! Matrices in blocks: as a GGUF file has them, or rounded while a model is loaded.

use candle_core::quantized::GgmlDType;
use host_model::load::Held;
use host_model::{
    BlockFormat, LayerWeights, Linear, LoadOptions, MlpWeights, Model, Source, Target, load,
};

use crate::gguf::open;
use crate::tiny;
use crate::tiny_gguf::{metadata, tensors, write, write_as};

fn up(layer: &LayerWeights) -> &Linear {
    layer.linear(Target::Up).unwrap()
}

#[test]
fn quantized_matrices_stay_as_the_file_has_them() {
    for family in ["llama", "phi3"] {
        let dir = tempfile::tempdir().unwrap();
        let path = write_as(dir.path(), &metadata(family), &tensors(family), GgmlDType::Q4_0);
        let stored = LoadOptions { held: Held::Stored, ..LoadOptions::default() };
        let widened = open(&path).unwrap();
        let held = load(&Source::Gguf(path), &stored).unwrap();
        let layers = |model: &Model| model.decoder.weights.layers.clone();
        for (a, b) in layers(&widened).iter().zip(&layers(&held)) {
            for (a, b) in [(&a.q, &b.q), (&a.k, &b.k), (&a.v, &b.v), (up(a), up(b))] {
                assert_eq!(b.weight.format(), Some(BlockFormat::Q4_0), "{family}");
                assert_eq!(tiny::apart(&a.weight, &b.weight), 0.0, "{family}");
            }
            // Its lines are of 48 values.
            assert_eq!(b.linear(Target::Down).unwrap().weight.format(), None);
        }
        let held_in_f32 = |notice: &String| notice.contains("2 as F32");
        assert!(held.notices.iter().any(held_in_f32), "{:?}", held.notices);
        assert!(held.decoder.weights.bytes() < widened.decoder.weights.bytes());
        assert_eq!(held.digest, widened.digest);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &metadata("llama"), &tensors("llama"));
    let stored = LoadOptions { held: Held::Stored, ..LoadOptions::default() };
    let message = load(&Source::Gguf(path), &stored).err().unwrap().to_string();
    assert!(message.contains("no matrix in blocks") && message.contains("q8_0"), "{message}");
}

/// A tensor of all experts is cut within its blocks.
#[test]
fn quantized_experts_stay_as_the_file_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let family = "mixtral";
    let path = write_as(dir.path(), &metadata(family), &tensors(family), GgmlDType::Q4_0);
    let stored = LoadOptions { held: Held::Stored, ..LoadOptions::default() };
    let widened = open(&path).unwrap();
    let held = load(&Source::Gguf(path), &stored).unwrap();
    for (a, b) in widened.decoder.weights.layers.iter().zip(&held.decoder.weights.layers) {
        let (a, b) = (tiny::linears(a), tiny::linears(b));
        assert_eq!(a.len(), 4 + 3 * tiny::EXPERTS);
        for (a, b) in a.into_iter().zip(b) {
            assert_eq!(b.weight.format(), Some(BlockFormat::Q4_0));
            assert_eq!(tiny::apart(&a.weight, &b.weight), 0.0);
        }
    }
    // Rounded while it is loaded: the router never is.
    let dir = tiny::folder(family);
    let blocks = LoadOptions { held: Held::Blocks(BlockFormat::Q8_0), ..LoadOptions::default() };
    let source = Source::Directory(dir.path().to_owned());
    let (exact, rounded) =
        (load(&source, &LoadOptions::default()).unwrap(), load(&source, &blocks).unwrap());
    let [exact, rounded] = [exact, rounded].map(|it| it.decoder.weights.layers[0].clone());
    let (MlpWeights::Experts(a), MlpWeights::Experts(b)) = (exact.mlp, rounded.mlp) else {
        panic!("no experts");
    };
    assert_eq!(tiny::distance(&a.router, &b.router), 0.0);
    assert_eq!(b.experts[1].down.weight.format(), Some(BlockFormat::Q8_0));
}

#[test]
fn any_model_is_rounded_to_blocks() {
    let dir = tiny::folder("llama");
    let source = Source::Directory(dir.path().to_owned());
    let held = |format| LoadOptions { held: Held::Blocks(format), ..LoadOptions::default() };
    let exact = load(&source, &LoadOptions::default()).unwrap();
    let rounded = load(&source, &held(BlockFormat::Q4_0)).unwrap();
    let weights = &rounded.decoder.weights;
    assert_eq!(weights.embed.format(), Some(BlockFormat::Q8_0));
    assert_eq!(weights.layers[0].q.weight.format(), Some(BlockFormat::Q4_0));
    let q = &exact.decoder.weights.layers[0].q.weight;
    let gap = tiny::apart(q, &weights.layers[0].q.weight);
    let largest = q.tensor().unwrap().abs().unwrap().max_all().unwrap();
    let largest: f32 = largest.to_scalar().unwrap();
    assert!(gap > 0.0 && gap < largest / 7.0, "{gap} of {largest}");
    let told =
        |notice: &String| notice.contains("14 of 16 matrices") && notice.contains("2 as F32");
    assert!(rounded.notices.iter().any(told), "{:?}", rounded.notices);
    // No line is as long as a block of it.
    let message = load(&source, &held(BlockFormat::Q4K)).err().unwrap().to_string();
    assert!(message.contains("no matrix whose lines") && message.contains("q8_0"), "{message}");
}
