//! Matrices in blocks: as a GGUF file has them, or rounded while a model is loaded.

use candle_core::quantized::GgmlDType;
use host_model::load::Held;
use host_model::{BlockFormat, LoadOptions, Model, Source, load};

use crate::gguf::open;
use crate::tiny;
use crate::tiny_gguf::{metadata, tensors, write, write_as};

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
            for (a, b) in [(&a.q, &b.q), (&a.k, &b.k), (&a.v, &b.v), (&a.up, &b.up)] {
                assert_eq!(b.weight.format(), Some(BlockFormat::Q4_0), "{family}");
                assert_eq!(tiny::apart(&a.weight, &b.weight), 0.0, "{family}");
            }
            // Its lines are of 48 values.
            assert_eq!(b.down.weight.format(), None);
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
