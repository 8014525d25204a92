#![allow(clippy::unwrap_used)]
use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn check(files: &[&PathBuf], against: &[PathBuf]) -> Check {
        let train = files.iter().map(DataSource::whole).collect();
        let config = DataConfig { train, max_tokens: 60, ..DataConfig::default() };
        let question = Question { config: &config, seed: 1, against, examples: 1 };
        check(&question, &crate::demo::model().tokenizer).unwrap()
    }
}

#[test]
fn a_check_tells_what_a_training_would_find() {
    let here = Files(tempfile::tempdir().unwrap());
    let long = "word ".repeat(100);
    let good = here.write(
        "good.csv",
        &format!(
            "question,answer,source\nName a red fruit of summer.,A cherry.,x\nName a red fruit of summer.,A \
             cherry.,x\nName some red summer fruit!,Cherries.,\nWhy?,{long},\n"
        ),
    );
    let other = here.write("other.jsonl", "{\"prompt\":\"Two and two?\",\"answer\":\"Four.\"}\n");
    let set = here.write(
        "set.jsonl",
        "{\"prompt\":\"What?\"}\n{\"prompt\":\"Two and two?\"}\n{\"prompt\":\"Is there a red fruit in summer?\"}\n",
    );
    let found = Files::check(&[&good, &other], &[set]);
    assert_eq!(found.refused, None);
    let [csv, lines] = found.files.as_slice() else { panic!("{found:?}") };
    assert_eq!((csv.rows, csv.usable, csv.over_limit), (4, 4, 1));
    assert_eq!(csv.content.as_ref().unwrap().shape, "`question` + `answer`");
    assert_eq!((csv.duplicates.same, csv.duplicates.near), (1, Some(1)));
    assert_eq!(csv.duplicates.first, [(2, 3), (2, 4)]);
    assert_eq!(csv.ignored, BTreeMap::from([("source".to_owned(), 2)]));
    let tokens = csv.tokens.unwrap();
    assert!(tokens.min <= tokens.median && tokens.p95 == tokens.max && tokens.max > 100);
    assert!((csv.share + lines.share - 1.0).abs() < 1e-9 && csv.share > 0.9);
    assert!(csv.examples[0].contains("A cherry.") && csv.examples[0].contains('⟦'));
    let overlaps: Vec<_> =
        found.against.iter().map(|it| (it.same, it.near, it.first.clone())).collect();
    assert_eq!(overlaps[0], (0, 2, vec![(2, 3), (4, 3)]));
    assert_eq!(overlaps[1], (1, 0, vec![(1, 2)]));
    let page = found.page().to_string();
    for part in [
        "1 the same, 1 near ones (first: 2 and 3, 2 and 4)",
        "would take",
        "`source` in 2 of 4 rows",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn what_a_training_refuses_is_refused_here_with_all_reasons() {
    let here = Files(tempfile::tempdir().unwrap());
    let bad = here
        .write("bad.csv", "prompt,answer\nHello?,Yes.\nHello?\nThree,fields,here\nHi\u{1b}[2J?,\n");
    let found = Files::check(&[&bad], &[]);
    let refused = found.refused.as_deref().unwrap();
    assert!(
        refused.contains("bad.csv, line 3") && refused.contains("1 fields and the header 2"),
        "{refused}"
    );
    let left_out = found.files[0].left_out.as_ref().unwrap();
    assert_eq!((left_out.rows, left_out.reasons.len(), found.files[0].usable), (3, 3, 1));
    let page = found.page().to_string();
    assert!(page.contains("would refuse") && !page.contains('\u{1b}'), "{page}");
    let none = here.write("none.csv", "");
    assert!(Files::check(&[&none], &[]).files[0].problem.as_ref().unwrap().contains("no rows"));
}
