//! `[trackers.mlflow]`

use std::path::PathBuf;

use host_data::failure::{Failure as Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::web::Address;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowConfig {
    /// Address of the tracking server, such as http://127.0.0.1:5000.
    pub url: String,
    /// Name of the experiment; made if it isn't there.
    pub experiment: String,
    /// Environment variable that holds the token, or `Basic` and a name with its password in base64.
    pub token_variable: Option<String>,
    /// PEM file with the certificates that an https server's own one must be signed by. Default:
    /// the public authorities.
    pub certificates: Option<PathBuf>,
    /// Whether whoever started the command agreed; no file can say so.
    #[serde(skip)]
    #[schemars(skip)]
    pub agreed: bool,
}

impl Default for MlflowConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            experiment: "host".into(),
            token_variable: None,
            certificates: None,
            agreed: false,
        }
    }
}

impl MlflowConfig {
    pub fn address(&self) -> Address<'_> {
        Address {
            kind: "mlflow",
            url: &self.url,
            token_variable: self.token_variable.as_deref(),
            certificates: self.certificates.as_deref(),
            agreed: self.agreed,
        }
    }

    /// # Errors
    /// The first key that is missing or can't be.
    pub fn check(&self) -> Result<()> {
        self.address().check()?;
        if self.experiment.trim().is_empty() || self.experiment.len() > 250 {
            return Err(Error::config("trackers.mlflow.experiment", "must have 1 to 250 bytes"));
        }
        Ok(())
    }
}
