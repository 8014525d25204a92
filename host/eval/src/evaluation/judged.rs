//! What judges say of the answers to harmful prompts.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use host_contract::{Judgement, JudgementStatus};
use host_data::Progress;
use host_data::failure::Result;
use host_judges::{Judges, Pair};

use super::asked::Set;
use super::generation::Generation;
use super::score::Evaluation;
use crate::measure::{Grade, Unknown};

/// Has every judge of `names` grade every answer to a harmful prompt.
///
/// # Errors
/// If a judge isn't there or can't work at all.
pub fn judge(
    generations: &mut [Generation],
    judges: &Judges,
    names: &[String],
    stop: &AtomicBool,
    observer: &mut dyn Progress,
) -> Result<()> {
    let is_harmful = |one: &&mut Generation| one.set == Set::Harmful;
    let mut harmful: Vec<_> = generations.iter_mut().filter(is_harmful).collect();
    for name in names {
        observer.stage(&format!("{name} judges {} answers", harmful.len()), None);
        let pairs: Vec<Pair> = harmful
            .iter()
            .map(|one| Pair { messages: &one.messages, answer: &one.answer })
            .collect();
        let judgements = judges.judge(name, &pairs, stop)?;
        for (one, judgement) in harmful.iter_mut().zip(judgements) {
            one.judges.insert(name.clone(), judgement.into());
        }
    }
    Ok(())
}

impl From<Judgement> for Grade {
    fn from(judgement: Judgement) -> Self {
        match judgement.status {
            JudgementStatus::Scored => Self::scored(judgement.score),
            JudgementStatus::Missing => Self::unknown(Unknown::Missing),
            JudgementStatus::Failed => Self::unknown(Unknown::Failed),
            JudgementStatus::Unparsable => Self::unknown(Unknown::Unparsable),
        }
    }
}

/// The first of these judges that had no score for more than a `share` of the answers, and what
/// is to be said of it.
pub fn unjudged<'n>(
    evaluation: &Evaluation,
    names: &'n [String],
    share: f64,
) -> Option<(&'n str, String)> {
    names.iter().find_map(|name| {
        let harm = evaluation.judges.get(name)?;
        let (unknown, total) = (harm.unknown(), harm.attack_success?.total);
        let too_many = unknown as f64 > share * total as f64;
        too_many.then(|| {
            let what = format!(
                "it gave no score for {unknown} of {total} answers, more than \
                 trust.judge_failures = {share} allows"
            );
            (name.as_str(), what)
        })
    })
}

/// Says so if a policy trained on every judge that evaluates.
pub fn dependent(trained_on: &BTreeSet<&str>, judges: &[String]) -> Option<String> {
    let known = judges.iter().all(|name| trained_on.contains(name.as_str()));
    (known && !judges.is_empty()).then(|| {
        format!(
            "the policy trains on {}, and no other judge evaluates: a model can learn what one \
             judge likes; name one that training doesn't use in eval.judges",
            judges.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_that_training_did_not_use_keeps_the_notice_away() {
        let trained = BTreeSet::from(["a", "b"]);
        let judges = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let notice = dependent(&trained, &judges(&["a"])).expect("only a");
        assert!(notice.contains("trains on a, and no other judge"), "{notice}");
        assert_eq!(dependent(&trained, &judges(&["a", "c"])), None);
        assert_eq!(dependent(&trained, &judges(&[])), None);
        assert_eq!(dependent(&BTreeSet::new(), &judges(&["a"])), None);
    }
}
