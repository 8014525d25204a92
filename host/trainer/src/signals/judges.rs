//! Harm scores of the samples, of whole answers and of cut ones.

use host_contract::{JudgeNeed, Needs, Signals};
use host_judges::Judged;

use super::measured::{MeasuredSignal, Measurements, Moment};
use crate::error::Result;

pub(super) struct Judges;

/// Scores of cut answers, which [`Judges`] measures with the whole ones.
pub(super) struct Prefixes;

impl MeasuredSignal for Judges {
    fn name(&self) -> &'static str {
        "judges"
    }

    fn measure(&self, at: &Moment<'_>, to: &mut Measurements) -> Result<()> {
        let needs = at.needs.iter().flat_map(|needs| &needs.judges);
        to.judged = at.judges.of_step(needs, &at.step.samples, at.tokenizer)?;
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.judges = judged(needs, measured).map(|one| one.scores.clone()).collect();
    }
}

impl MeasuredSignal for Prefixes {
    fn name(&self) -> &'static str {
        "prefixes"
    }

    fn measure(&self, _at: &Moment<'_>, _to: &mut Measurements) -> Result<()> {
        Ok(())
    }

    fn view(&self, needs: &Needs, measured: &Measurements, to: &mut Signals) {
        to.prefixes = judged(needs, measured).filter_map(|one| one.prefixes.clone()).collect();
    }
}

/// What judges said that the policy asked, in its order.
fn judged<'m>(needs: &Needs, measured: &'m Measurements) -> impl Iterator<Item = &'m Judged> {
    let of_need = |need: &JudgeNeed| measured.judged.iter().find(|one| one.need == *need);
    needs.judges.iter().filter_map(of_need)
}
