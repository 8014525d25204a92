use serde_json::json;

use super::*;

fn chosen(files: &[&str], configs: &Value, what: Option<&str>) -> Result<Vec<String>> {
    choose(files, configs, &Wanted::parse(what, files))
}

fn assert_refused(files: &[&str], configs: &Value, what: Option<&str>, parts: &[&str]) {
    let problem = chosen(files, configs, what).expect_err("chosen");
    for part in parts {
        assert!(problem.contains(part), "`{part}` is missing in: {problem}");
    }
}

const PARTS: &[&str] = &[
    "README.md",
    "data/train-00001-of-00002.parquet",
    "data/train-00000-of-00002.parquet",
    "data/test-00000-of-00001.parquet",
    "dataset_infos.json",
];

#[test]
fn parts_of_a_split_are_taken_in_order() {
    let found = chosen(PARTS, &Value::Null, None).expect("good");
    assert_eq!(found, ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]);
    let found = chosen(PARTS, &Value::Null, Some("test")).expect("good");
    assert_eq!(found, ["data/test-00000-of-00001.parquet"]);
    assert_refused(PARTS, &Value::Null, Some("dev"), &["no split dev", "test, train"]);
    assert_refused(&PARTS[..2], &Value::Null, None, &["1 of 2 parts of train"]);
}

#[test]
fn names_of_files_and_folders_say_the_split() {
    for (files, what, expected) in [
        (&["train.jsonl", "test.jsonl"][..], None, "train.jsonl"),
        (&["my_training_set.csv.gz", "my-valid.csv.gz"], Some("validation"), "my-valid.csv.gz"),
        (&["train/a.json", "eval/a.json"], Some("test"), "eval/a.json"),
        (&["rows.csv", "README.md", "LICENSE"], None, "rows.csv"),
        (&["en/train.csv", "de/train.csv"], Some("de/train"), "de/train.csv"),
        (&["en/train.csv", "de/train.csv"], Some("de/train.csv"), "de/train.csv"),
        (&["en/train.csv", "de/train.csv"], Some("en/"), "en/train.csv"),
    ] {
        assert_eq!(chosen(files, &Value::Null, what), Ok(vec![expected.to_owned()]), "{files:?}");
    }
}

#[test]
fn what_may_be_several_is_refused_with_the_choices() {
    let null = Value::Null;
    assert_refused(
        &["en/train.csv", "de/train.csv"],
        &null,
        None,
        &["several files", "de/train.csv", "en/train.csv"],
    );
    assert_refused(&["a.jsonl", "b.jsonl"], &null, None, &["several files", "a.jsonl, b.jsonl"]);
    assert_refused(
        &["train.jsonl", "train.csv"],
        &null,
        None,
        &["several formats", "train.csv, train.jsonl"],
    );
    assert_refused(&["README.md", "model.bin"], &null, None, &["no files that are read"]);
    assert_refused(&["a.jsonl"], &null, Some("b.jsonl"), &["no file b.jsonl", "it has a.jsonl"]);
    assert_refused(&["a.jsonl"], &null, Some("x/train"), &["no folder x"]);
}

#[test]
fn a_card_says_which_files_a_split_is() {
    let files = [
        "main/train-00000-of-00001.parquet",
        "main/test-00000-of-00001.parquet",
        "other/rows.csv",
        "extra.csv",
    ];
    let configs = json!([
        { "config_name": "main", "data_files": [
            { "split": "train", "path": "main/train-*" },
            { "split": "test", "path": ["main/test-*"] },
        ] },
        { "config_name": "other", "data_files": "other/*.csv" },
        { "config_name": "folder", "data_dir": "other" },
        { "config_name": "map", "data_files": { "train": ["extra.csv", "other/rows.csv"] } },
    ]);
    let found = |what: &str| chosen(&files, &configs, Some(what)).map(|found| found.join(" "));
    assert_eq!(found("main/train").as_deref(), Ok(files[0]));
    assert_eq!(found("main/test").as_deref(), Ok(files[1]));
    assert_eq!(found("other/train").as_deref(), Ok("other/rows.csv"));
    assert_eq!(found("folder/train").as_deref(), Ok("other/rows.csv"));
    assert_eq!(found("map/train").as_deref(), Ok("extra.csv other/rows.csv"));
    assert_refused(&files, &configs, None, &["several configurations", "main, other, folder, map"]);
    assert_refused(&files, &configs, Some("none/train"), &["no configuration none", "main, other"]);
    assert_refused(&files, &configs, Some("main/dev"), &["no split dev", "test, train"]);
    let usual = json!([{ "config_name": "a" , "data_files": "x.csv" },
        { "config_name": "b", "default": true, "data_files": "extra.csv" }]);
    assert_eq!(chosen(&files, &usual, None), Ok(vec!["extra.csv".to_owned()]));
    for strange in [json!([{ "data_files": 7 }]), json!([7]), json!([{ "data_files": [[1]] }])] {
        let _ = chosen(&files, &strange, None);
    }
    assert_refused(&files, &json!([{ "data_files": 7 }]), None, &["aren't understood"]);
    assert_refused(&files, &json!([{ "data_files": "no/*" }]), None, &["no file of rows", "no/*"]);
}
