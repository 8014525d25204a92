//! What an authority outside says of when a run was as it is.

use std::path::{Path, PathBuf};

use clap::Args;
use host_audit::timestamp::{self, Timestamp};
use host_files::own;
use host_trainer::run_dir::write_atomically;
use host_trainer::{Error, evidence};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Most bytes of an answer, and of a file of certificates.
const FILE_BYTES: u64 = 4 << 20;

#[derive(Debug, Args)]
pub struct TimestampFlags {
    /// With --run: write what an RFC 3161 authority is asked for a timestamp of the run; it holds
    /// a digest and nothing else.
    #[arg(long, value_name = "FILE", requires = "run", conflicts_with = "file")]
    timestamp_query: Option<PathBuf>,
    /// With --run: the authority's answer, which must be of this run.
    #[arg(long, value_name = "FILE", requires_all = ["run", "timestamp_ca"], conflicts_with = "file")]
    timestamp: Option<PathBuf>,
    /// With --timestamp: certificates of authorities that you trust, as PEM.
    #[arg(long, value_name = "FILE", requires = "timestamp")]
    timestamp_ca: Option<PathBuf>,
}

impl TimestampFlags {
    /// What was named, checked; or why it isn't of this run.
    pub fn check(&self, run: &Path) -> Result<Option<Result<Timestamp, String>>, Error> {
        let (Some(answer), Some(roots)) = (&self.timestamp, &self.timestamp_ca) else {
            return Ok(None);
        };
        let content = evidence::signed(run)?;
        let roots_of = read(roots)?;
        let found = CertificateDer::pem_slice_iter(&roots_of).collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|error| {
            Error::file(roots, format!("holds what is no certificate as PEM ({error})"))
        })?;
        if found.is_empty() {
            return Err(Error::file(roots, "holds no certificate; name the authority's, as PEM"));
        }
        Ok(Some(timestamp::check(&read(answer)?, &content, &found)))
    }

    /// Writes what is asked, if it is asked for.
    pub fn ask(&self, run: &Path) -> Result<Option<&Path>, Error> {
        let Some(path) = &self.timestamp_query else {
            return Ok(None);
        };
        write_atomically(path, &timestamp::query(&evidence::signed(run)?))?;
        Ok(Some(path))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    own::read(path, FILE_BYTES).map_err(|source| Error::read(path, source))
}
