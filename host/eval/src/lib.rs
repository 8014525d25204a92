//! How safe and how useful a model is, how several runs compare, and the report of a run.

pub mod canary;
pub mod compare;
pub mod config;
pub mod evaluation;
pub mod measure;
pub mod report;
pub mod selection;
