//! A fitted classifier, whichever method it came from.

use crate::bytes::{Reader, Writer};
use crate::logistic::{self, Linear};
use crate::matrix::Matrix;
use crate::mean_difference;
use crate::mlp::{self, Mlp, UNITS};

use super::settings::Method;

#[derive(Debug, Clone, PartialEq)]
pub enum Classifier {
    Linear(Linear),
    Mlp(Mlp),
}

impl Classifier {
    /// Fits on standardised rows. The weights are rounded to the f32 in which they
    /// are stored, so that what is reported is measured on what will be used.
    pub fn fit(method: Method, data: &Matrix, harmful: &[bool], l2: f64, seed: u64) -> Self {
        match method {
            Method::Logistic => Self::Linear(logistic::fit(data, harmful, l2)),
            Method::DifferenceOfMeans => Self::Linear(mean_difference::fit(data, harmful)),
            Method::Mlp => Self::Mlp(mlp::fit(data, harmful, l2, seed)),
        }
        .rounded()
    }

    pub fn logit(&self, x: &[f32]) -> f64 {
        match self {
            Self::Linear(linear) => linear.logit(x),
            Self::Mlp(mlp) => mlp.logit(x),
        }
    }

    fn rounded(mut self) -> Self {
        let round = |values: &mut [f64]| {
            for value in values {
                *value = f64::from(*value as f32);
            }
        };
        match &mut self {
            Self::Linear(linear) => {
                round(&mut linear.weights);
                round(std::slice::from_mut(&mut linear.bias));
            }
            Self::Mlp(mlp) => {
                round(&mut mlp.hidden);
                round(&mut mlp.hidden_bias);
                round(&mut mlp.output);
                round(std::slice::from_mut(&mut mlp.bias));
            }
        }
        self
    }

    pub fn write(&self, writer: Writer) -> Writer {
        match self {
            Self::Linear(linear) => {
                writer.f32s(&narrow(&linear.weights)).f32s(&[linear.bias as f32])
            }
            Self::Mlp(mlp) => writer
                .f32s(&narrow(&mlp.hidden))
                .f32s(&narrow(&mlp.hidden_bias))
                .f32s(&narrow(&mlp.output))
                .f32s(&[mlp.bias as f32]),
        }
    }

    pub fn read(reader: &mut Reader<'_>, method: Method, hidden: usize) -> Result<Self, String> {
        Ok(match method {
            Method::Logistic | Method::DifferenceOfMeans => {
                Self::Linear(Linear { weights: wide(reader, hidden)?, bias: wide(reader, 1)?[0] })
            }
            Method::Mlp => Self::Mlp(Mlp {
                hidden: wide(reader, hidden * UNITS)?,
                hidden_bias: wide(reader, UNITS)?,
                output: wide(reader, UNITS)?,
                bias: wide(reader, 1)?[0],
            }),
        })
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn wide(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, String> {
    Ok(reader.f32s(count)?.into_iter().map(f64::from).collect())
}
