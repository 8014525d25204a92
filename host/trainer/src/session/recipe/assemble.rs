//! From a configuration to everything that a fine-tune needs before its first step.

use host_audit::journal::Identity;
use host_contract::Needs;
use host_sandbox::Signer;

use super::{Prepared, Runtime};
use crate::actuators::vectors::Vectors;
use crate::config::RunConfig;
use crate::error::Result;
use crate::records::observer::Observer;
use crate::records::run_dir::RunDir;
use crate::session::anchors::Beside;
use crate::session::calibration::Fitting;
use crate::session::capabilities::{about_mixture, capabilities};
use crate::session::load_policies::check_all;
use crate::session::prepare::{self, Loaded};
use crate::session::steering;
use crate::signals::reference;
use crate::signals::sensors;
use crate::step::RunContext;

/// Loads everything, configures and calibrates the policies, and fits what they steer by,
/// if that is not kept in the folder of a run that goes on.
pub(super) fn prepare_all<'a>(
    config: RunConfig,
    goes_on: Option<&RunDir>,
    means: Runtime<'a>,
    signer: impl FnOnce() -> Result<Option<Signer>>,
    observer: &mut dyn Observer,
) -> Result<Prepared<'a>> {
    let Runtime { engine, caches, ranks } = means;
    ranks.broadcast(&config)?;
    let reader = config.reader();
    let judge_cache = caches.judges.as_deref();
    let mut loaded = Loaded::new(&config, signer, engine, judge_cache, &reader, observer)?;
    let examination = loaded.examination(&config)?;
    prepare::agree(ranks, &loaded.model, &loaded.plan)?;
    let info = loaded.info(&config);
    let Loaded { policies: found, judges, sets, signer, model, plan, shape, canary, .. } = loaded;
    let (mut policies, mut calibrations) = (Vec::new(), Vec::new());
    let capabilities = capabilities(&config, &plan, canary.as_ref(), &info.judges, &shape);
    check_all(&found, &config, &info, &capabilities)?;
    let fitting = Fitting {
        run: &config,
        reader: &reader,
        info: &info,
        model: &model,
        samples: plan.samples(),
        judges: &judges,
    };
    for (number, policy) in found.into_iter().enumerate() {
        let (active, calibration) = policy.activate(&fitting, &capabilities, observer)?;
        policies.push(active);
        calibrations.extend(calibration.map(|calibration| (number, calibration)));
    }
    if let Some(line) = about_mixture(policies.iter().map(|active| &active.needs)) {
        observer.notice(line);
    }
    let base = if policies.iter().any(|active| active.needs.base()) {
        prepare::load_base(&config, (&model, &shape), observer)?
    } else {
        None
    };
    let reference = if policies.is_empty() {
        None
    } else {
        let taps = sensors::reference_taps(policies.iter().map(|active| &active.needs));
        reference::open(&config.train, caches.reference, &model, &taps)?
    };
    let needs: Vec<&Needs> = policies.iter().map(|active| &active.needs).collect();
    let beside = Beside {
        config: &config,
        needs: &needs,
        reader: &reader,
        model: &model,
        store: reference.as_ref(),
    };
    let steps = plan.total_steps();
    let anchors = beside.anchors(steps, observer)?;
    let token_set = beside.token_set(observer)?;
    let kept = match goes_on {
        Some(folder) => Vectors::kept(folder.path(), config.steering.coefficient)?,
        None => None,
    };
    let steering = match kept {
        None => steering::prepare(&policies, &config, &reader, &model, observer)?,
        kept => kept,
    };
    reader.keep(judges.notices());
    let notices = reader.notices();
    notices.lines().for_each(|line| observer.notice(&line));
    Ok(Prepared {
        notices,
        digests: reader.digests(),
        ranks,
        config,
        context: RunContext {
            model,
            plan,
            judges,
            canary,
            base,
            reference,
            anchors,
            token_set,
            steering,
        },
        policies,
        signer,
        calibrations,
        sets,
        examination,
        identity: Identity::default(),
    })
}
