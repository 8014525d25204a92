//! Rules of the person who starts a run, which every assessment must keep: a policy that
//! breaks one has failed, whatever an audit said of it before.
//!
//! ```text
//! monotone                                  within a step, more risk is never held less
//! kl_weight >= 0.5 * risk                   for every sample
//! task_weight <= 0.2 if risk >= 0.8         for every sample of such risk
//! without ratio-clip                        the policy may not even declare it
//! ```
//!
//! A rule is about what the training does, not about what a field says: the KL weight of a
//! sample is that of its token that is held least, and 0 under another divergence than KL; its
//! task weight is that of the token that is learned most, with a ratio clip at its steepest. A
//! step that is skipped, or the last one, learns nothing and keeps every rule.

mod parse;

use std::fmt;

use crate::{
    actuators::{ACTUATORS, Divergence, RatioClip, Regularization},
    assessment::Assessment,
    invalid::Invalid,
    signals::Needs,
    types::{Action, Sample},
};

/// Rules of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guardrails {
    rules: Vec<(String, Rule)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    Monotone,
    Without(&'static str),
    Compare { holds: Comparison, condition: Option<Comparison> },
}

#[derive(Debug, Clone, PartialEq)]
struct Comparison {
    left: Expression,
    relation: Relation,
    right: Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Number(f64),
    Value(Value),
    Negative(Box<Expression>),
    Both(Operation, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Least,
    Most,
}

/// What a rule can speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Risk,
    KlWeight,
    TaskWeight,
    LearningRateScale,
}

impl Value {
    const NAMES: [(&'static str, Self); 4] = [
        ("risk", Self::Risk),
        ("kl_weight", Self::KlWeight),
        ("task_weight", Self::TaskWeight),
        ("learning_rate_scale", Self::LearningRateScale),
    ];
}

/// What is done about one sample, whatever fields it follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// As the policy says.
    pub risk: f64,
    /// KL weight of the token that is held least.
    pub kl_weight: f64,
    /// Task weight of the token that is learned most.
    pub task_weight: f64,
    /// Of the step.
    pub learning_rate_scale: f64,
}

/// Rounding of a weight that was computed from a risk.
const SLACK: f64 = 1e-9;
/// Largest ratio of probabilities that a ratio clip distinguishes, e^60.
const LARGEST_RATIO: f64 = 1.142_007_389_815_684_3e26;

impl Guardrails {
    /// No rules at all.
    pub fn none() -> &'static Self {
        static NONE: Guardrails = Guardrails { rules: Vec::new() };
        &NONE
    }

    /// Reads rules, one each.
    ///
    /// # Errors
    /// The position of the first text that is no rule, and what is wrong with it.
    pub fn parse(texts: &[String]) -> Result<Self, (usize, String)> {
        let rule = |(i, text): (usize, &String)| {
            let rule = parse::rule(text).map_err(|problem| (i, problem))?;
            Ok((text.clone(), rule))
        };
        let rules = texts.iter().enumerate().map(rule);
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The rule that forbids what a policy with these needs may use, with the actuator.
    pub fn forbids(&self, needs: &Needs) -> Option<(&str, &'static str)> {
        let declared = |name: &str| {
            let row = ACTUATORS.iter().find(|one| one.name() == name);
            row.is_some_and(|one| one.is_declared(needs.declared()))
        };
        self.rules.iter().find_map(|(text, rule)| match rule {
            Rule::Without(name) if declared(name) => Some((text.as_str(), *name)),
            _ => None,
        })
    }

    /// Checks a valid assessment of these samples.
    ///
    /// # Errors
    /// The first rule that it breaks, with the sample at which it does.
    pub fn check(&self, assessment: &Assessment, samples: &[Sample]) -> Result<(), Invalid> {
        let r = &assessment.regularization;
        if self.rules.is_empty() || r.action != Action::Update {
            return Ok(());
        }
        let held = held(assessment, samples);
        for (text, rule) in &self.rules {
            if let Some(problem) = rule.broken(r, &held) {
                let problem = format!("has the rule `{text}`, which this breaks: {problem}");
                return Err(Invalid::new("trust.require", problem));
            }
        }
        Ok(())
    }
}

/// What a valid assessment does about each sample.
pub fn held(assessment: &Assessment, samples: &[Sample]) -> Vec<Held> {
    let r = &assessment.regularization;
    let mut token = 0;
    let each = samples.iter().enumerate().map(|(i, sample)| {
        let own = token..token + sample.answer_tokens as usize;
        token = own.end;
        let factors = |weights: &Option<Vec<f32>>| -> Vec<f64> {
            let own = weights.as_ref().and_then(|all| all.get(own.clone()));
            own.filter(|own| !own.is_empty())
                .map_or_else(|| vec![1.0], |own| own.iter().map(|one| f64::from(*one)).collect())
        };
        let least = factors(&r.token_kl_weight).into_iter().fold(f64::MAX, f64::min);
        let most = factors(&r.token_task_weight).into_iter().fold(0.0, f64::max);
        let kl = if r.divergence == Divergence::ForwardKl { r.kl_weight[i] * least } else { 0.0 };
        let steepest = r.ratio_clip.as_ref().map_or(1.0, |clips| steepest(&clips[i]));
        let task = r.task_weight[i] * most;
        Held {
            risk: assessment.risk[i],
            kl_weight: kl,
            // Nothing of what is steep without bound is nothing.
            task_weight: if task == 0.0 { 0.0 } else { task * steepest },
            learning_rate_scale: r.learning_rate_scale,
        }
    });
    each.collect()
}

/// Most that a unit of task weight can pull under this clip.
fn steepest(clip: &RatioClip) -> f64 {
    if clip.direction > 0.0 { clip.direction * clip.high.min(LARGEST_RATIO) } else { 0.0 }
}

impl Rule {
    /// How it is broken, if it is.
    fn broken(&self, r: &Regularization, held: &[Held]) -> Option<String> {
        match self {
            Self::Monotone => less_held(held).map(|(i, j)| {
                format!("sample {i} ({}) is held less than sample {j} ({})", held[i], held[j])
            }),
            Self::Without(name) => {
                let row = ACTUATORS.iter().find(|one| one.name() == *name)?;
                row.used(r).map(|field| format!("it uses regularization.{field}"))
            }
            Self::Compare { holds, condition } => {
                let applies =
                    |one: &Held| condition.as_ref().is_none_or(|condition| condition.may_hold(one));
                let broken = |one: &Held| applies(one) && !holds.holds(one);
                let i = held.iter().position(broken)?;
                Some(format!("sample {i} has {}", held[i]))
            }
        }
    }
}

/// A riskier sample that is held less than a safer one, and that one: by their positions.
pub fn less_held(held: &[Held]) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by(|a, b| held[*a].risk.total_cmp(&held[*b].risk));
    // Of those with less risk: the largest KL and the smallest task weight.
    let mut strongest: Option<(usize, usize)> = None;
    for same in order.chunk_by(|a, b| held[*b].risk - held[*a].risk <= SLACK) {
        for i in same {
            if let Some((kl, task)) = strongest {
                if held[*i].kl_weight < held[kl].kl_weight - SLACK {
                    return Some((*i, kl));
                }
                if held[*i].task_weight > held[task].task_weight + SLACK {
                    return Some((*i, task));
                }
            }
        }
        for i in same {
            let (kl, task) = strongest.get_or_insert((*i, *i));
            if held[*i].kl_weight > held[*kl].kl_weight {
                *kl = *i;
            }
            if held[*i].task_weight < held[*task].task_weight {
                *task = *i;
            }
        }
    }
    None
}

impl Comparison {
    /// What has no value doesn't hold.
    fn holds(&self, held: &Held) -> bool {
        let (left, right) = (self.left.of(held), self.right.of(held));
        match self.relation {
            Relation::AtLeast => left >= right - SLACK,
            Relation::AtMost => left <= right + SLACK,
            Relation::Above => left > right,
            Relation::Below => left < right,
        }
    }

    /// As a condition, what has no value may hold.
    fn may_hold(&self, held: &Held) -> bool {
        self.holds(held) || self.left.of(held).is_nan() || self.right.of(held).is_nan()
    }
}

impl Expression {
    fn of(&self, held: &Held) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Value(Value::Risk) => held.risk,
            Self::Value(Value::KlWeight) => held.kl_weight,
            Self::Value(Value::TaskWeight) => held.task_weight,
            Self::Value(Value::LearningRateScale) => held.learning_rate_scale,
            Self::Negative(one) => -one.of(held),
            Self::Both(operation, a, b) => {
                let (a, b) = (a.of(held), b.of(held));
                match operation {
                    Operation::Add => a + b,
                    Operation::Subtract => a - b,
                    Operation::Multiply => a * b,
                    Operation::Divide => a / b,
                    // Neither hides what has no value.
                    _ if a.is_nan() || b.is_nan() => f64::NAN,
                    Operation::Least => a.min(b),
                    Operation::Most => a.max(b),
                }
            }
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { risk, kl_weight, task_weight, learning_rate_scale } = self;
        write!(f, "risk {risk}, kl_weight {kl_weight}, task_weight {task_weight}")?;
        match learning_rate_scale {
            1.0 => Ok(()),
            scale => write!(f, ", learning_rate_scale {scale}"),
        }
    }
}

#[cfg(test)]
mod tests;
