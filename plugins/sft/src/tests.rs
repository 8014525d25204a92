#![allow(clippy::unwrap_used)]

use risk_policy::fixtures;
use risk_policy::prelude::*;
use risk_policy::settings;

use super::{Settings, Sft};

#[test]
fn every_sample_gets_task_weight_one_and_kl_weight_zero() {
    let (run, signals) = (fixtures::run(3), fixtures::signals(7, 3));
    let call =
        Call { settings: &Settings {}, run: &run, parameters: &[], state: &[], signals: &signals };
    let assessment = Sft::assess(&call).unwrap();
    assert_eq!(assessment.regularization.task_weight, [1.0; 3]);
    assert_eq!(assessment.regularization.kl_weight, [0.0; 3]);
    assert_eq!(assessment.risk, [0.0; 3]);
    assert_eq!(assessment.regularization.learning_rate_scale, 1.0);
    assert!(assessment.state.is_empty());
}

#[test]
fn nothing_is_measured() {
    assert_eq!(Sft::needs(&Settings {}, &fixtures::run(3)).unwrap(), Needs::new());
}

#[test]
fn any_setting_is_refused() {
    assert!(settings::parse::<Settings>("{}", Sft::SETTINGS_SCHEMA).is_ok());
    let error = settings::parse::<Settings>(r#"{"kl_weight": 1}"#, Sft::SETTINGS_SCHEMA);
    assert_eq!(error.err().unwrap(), "unknown setting `kl_weight`: this policy takes no settings");
}
