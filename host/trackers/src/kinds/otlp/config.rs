//! `[trackers.otlp]`

use std::path::PathBuf;

use host_data::failure::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::web::Address;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Address of the collector, such as http://127.0.0.1:4318; `/v1/metrics` and `/v1/traces` are
    /// below it.
    pub url: String,
    /// Environment variable that holds the token.
    pub token_variable: Option<String>,
    /// PEM file with the certificates that an https server's own one must be signed by. Default:
    /// the public authorities.
    pub certificates: Option<PathBuf>,
    /// Whether whoever started the command agreed; no file can say so.
    #[serde(skip)]
    #[schemars(skip)]
    pub agreed: bool,
}

impl OtlpConfig {
    pub fn address(&self) -> Address<'_> {
        Address {
            kind: "otlp",
            url: &self.url,
            token_variable: self.token_variable.as_deref(),
            certificates: self.certificates.as_deref(),
            agreed: self.agreed,
        }
    }

    /// # Errors
    /// The first key that is missing or can't be.
    pub fn check(&self) -> Result<()> {
        self.address().check()
    }
}
