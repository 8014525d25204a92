#![allow(clippy::unwrap_used)]
use std::collections::HashSet;

use std::path::Path;

use super::*;
use crate::rows::{Row, parse_rows};

fn rows(name: &str, count: usize) -> Vec<Row> {
    let lines: Vec<String> =
        (0..count).map(|i| format!(r#"{{"prompt":"{name} {i}","answer":"yes"}}"#)).collect();
    parse_rows(Path::new(name), lines.join("\n").into_bytes()).unwrap()
}

fn part(name: &str, count: usize, share: Option<f64>) -> (DataSource, Vec<Row>) {
    (DataSource { share, ..DataSource::whole(name) }, rows(name, count))
}

fn count(rows: &[Row], name: &str) -> usize {
    rows.iter().filter(|row| *row.place.file == *Path::new(name)).count()
}

#[test]
fn a_share_is_that_of_the_whole_mix() {
    for seed in 0..20 {
        for (task, share) in [(90, 0.1), (900, 0.1), (57, 0.33), (10, 0.5), (1, 0.5)] {
            let mixed =
                mix(vec![part("task", task, None), part("attack", 1000, Some(share))], seed)
                    .unwrap();
            assert_eq!(count(&mixed, "task"), task);
            let found = count(&mixed, "attack") as f64 / mixed.len() as f64;
            assert!((found - share).abs() <= 1.0 / mixed.len() as f64, "{share} became {found}");
            let distinct: HashSet<u64> = mixed.iter().map(|row| row.id).collect();
            assert_eq!(distinct.len(), mixed.len(), "drawn without repeats");
        }
    }
}

#[test]
fn shares_of_every_source_take_as_much_as_the_smallest_allows() {
    let mixed = mix(vec![part("a", 100, Some(0.25)), part("b", 60, Some(0.75))], 1).unwrap();
    assert_eq!((count(&mixed, "a"), count(&mixed, "b")), (20, 60));
}

#[test]
fn the_draw_depends_on_the_seed_only_and_keeps_the_order() {
    let draw = |seed| {
        let mixed =
            mix(vec![part("task", 90, None), part("attack", 100, Some(0.1))], seed).unwrap();
        mixed[90..].iter().map(|row| row.place.number).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(1).is_sorted());
}

#[test]
fn limits_and_origins_apply() {
    let source = DataSource { limit: Some(5), origin: Origin::Alignment, ..DataSource::whole("a") };
    let mixed = mix(vec![(source, rows("a", 20)), part("b", 3, None)], 1).unwrap();
    assert_eq!((count(&mixed, "a"), count(&mixed, "b")), (5, 3));
    assert!(
        mixed
            .iter()
            .all(|row| (row.origin == Origin::Alignment) == (*row.place.file == *Path::new("a")))
    );
    let source = DataSource { limit: Some(50), ..DataSource::whole("a") };
    assert_eq!(mix(vec![(source, rows("a", 20))], 1).unwrap().len(), 20);
}

#[test]
fn a_file_too_small_for_its_share_is_refused_or_repeated() {
    let parts = |repeat| {
        let (source, rows) = part("attack", 4, Some(0.5));
        vec![part("task", 10, None), (DataSource { repeat, ..source }, rows)]
    };
    let message = mix(parts(false), 1).unwrap_err().to_string();
    assert!(message.contains("attack has 4 rows, but the share 0.5 needs 10"), "{message}");
    let mixed = mix(parts(true), 1).unwrap();
    assert_eq!(mixed.len(), 20);
    for row in rows("attack", 4) {
        assert!([2, 3].contains(&mixed.iter().filter(|other| other.id == row.id).count()));
    }
}

#[test]
fn impossible_shares_are_refused() {
    let message = |parts| mix(parts, 1).unwrap_err().to_string();
    assert!(message(vec![part("a", 9, Some(0.0))]).contains("above 0 and at most 1"));
    assert!(message(vec![part("a", 9, Some(f64::NAN))]).contains("above 0 and at most 1"));
    assert!(message(vec![part("a", 9, Some(0.5))]).contains("must add up to 1"));
    let full = vec![part("a", 9, None), part("b", 9, Some(0.5)), part("c", 9, Some(0.5))];
    assert!(message(full).contains("leaves nothing"));
    let none = DataSource { limit: Some(0), ..DataSource::whole("a") };
    assert!(message(vec![(none, rows("a", 3))]).contains("limit 0"));
}

#[test]
fn a_configuration_names_sources_as_paths_and_tables() {
    #[derive(Debug, Deserialize)]
    struct Config {
        #[serde(deserialize_with = "one_or_many")]
        data: Vec<DataSource>,
    }
    let read = |text: &str| toml::from_str::<Config>(text).map(|config| config.data);
    let task = DataSource::whole("task.jsonl");
    assert_eq!(read("data = 'task.jsonl'").unwrap(), std::slice::from_ref(&task));
    let attack =
        DataSource { share: Some(0.1), origin: Origin::Alignment, ..DataSource::whole("b.jsonl") };
    let list = "data = ['task.jsonl', { path = 'b.jsonl', share = 0.1, origin = 'alignment' }]";
    assert_eq!(read(list).unwrap(), [task, attack.clone()]);
    let written = toml::to_string(&attack).unwrap();
    assert_eq!(toml::from_str::<DataSource>(&written).unwrap(), attack);
    let typo = read("data = [{ path = 'b.jsonl', shares = 0.1 }]").unwrap_err().to_string();
    assert!(typo.contains("shares") && typo.contains("`share`"), "{typo}");
    assert!(read("data = 3").unwrap_err().to_string().contains("a path, a table"));
}

#[test]
fn files_are_loaded_and_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.jsonl");
    std::fs::write(&path, r#"{"prompt":"a","answer":"b"}"#).unwrap();
    assert_eq!(
        read_rows(&[DataSource::whole(&path)], 1, &BadRows::default()).unwrap().rows.len(),
        1
    );
    assert!(matches!(
        read_rows(&[DataSource::whole(folder.path().join("none"))], 1, &BadRows::default()),
        Err(Error::Read { .. })
    ));
}
