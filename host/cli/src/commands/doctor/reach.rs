//! The Hub and judges, over the network.

use host_model::HubAccess;
use host_trainer::judges::Judges;

use super::{Arguments, Check};
use crate::flags::with_defaults;
use crate::signal;

/// The configuration itself is an error of its own: it was asked for by name.
pub(super) fn checks(arguments: &Arguments) -> anyhow::Result<Vec<Check>> {
    let config = with_defaults(arguments.config.layers(None)?)?;
    if !arguments.online {
        return Ok(vec![Check::ok("network", "not asked; --online asks the Hub and judges")]);
    }
    let mut checks = vec![hub()];
    let stop = signal::stop_flag(true);
    for (name, judge) in &config.judges {
        let alone = [(name.clone(), judge.clone())].into_iter().collect();
        let tried = Judges::load(&alone, None)
            .and_then(|judges| judges.try_out([name.as_str()], &[], &stop));
        checks.push(match tried {
            Ok(notices) if notices.is_empty() => Check::ok("judge", format!("{name} scores")),
            Ok(notices) => Check::note("judge", format!("{name} scores"), notices.join("; ")),
            Err(error) => Check::problem("judge", error.to_string(), "see docs/guide/judges.md"),
        });
    }
    Ok(checks)
}

fn hub() -> Check {
    let access = HubAccess::from_env();
    if access.offline {
        return Check::ok("hub", "not asked: HF_HUB_OFFLINE is set");
    }
    let remedy = "without it only models and data that are on this machine can be used; HF_ENDPOINT \
                  names a mirror";
    let found = access.reach().map(|endpoint| format!("{endpoint} answers"));
    match found {
        Ok(found) => Check::ok("hub", found),
        Err(problem) => Check::note("hub", problem, remedy),
    }
}
