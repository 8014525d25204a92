//! manifest.json: what a run was made of, and how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_audit::journal::Identity;
use host_audit::seal::Seal;
use host_contract::Version;
use host_data::Digests;
use host_files::sha256::hex as sha256;
use host_sandbox::Confinement;
use serde::{Deserialize, Serialize};

use crate::actuators::vectors::Vectors;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::policies::ActivePolicy;
use crate::program;
use crate::records::run_dir::RunDir;
use crate::step::RunContext;

pub(crate) const FILE: &str = "manifest.json";

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub host: String,
    /// Contracts of its policies.
    pub wit: String,
    pub seed: u64,
    pub model: ModelEntry,
    pub policies: Vec<PolicyEntry>,
    /// How the policies were kept from the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Confinement>,
    /// sha256 of all that decides what each says.
    pub judges: BTreeMap<String, String>,
    /// Of the vectors that a policy steers by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steering_sha256: Option<String>,
    pub data: Vec<FileEntry>,
    pub samples: usize,
    pub steps: u64,
    /// Seconds since 1970.
    pub started: u64,
    pub ended: Option<u64>,
    /// running, finished, interrupted, stopped or failed.
    pub status: String,
    pub error: Option<String>,
    /// What a person was told that is no error, such as a field that another one overrides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Of the files that were read.
    #[serde(skip)]
    read: Digests,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    pub name: String,
    pub sha256: String,
    pub tokenizer_sha256: String,
    /// Of the model before its alignment, if a policy compares the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_sha256: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyEntry {
    pub name: String,
    pub version: String,
    pub file: String,
    pub sha256: String,
    pub settings: serde_json::Value,
    pub parameters_sha256: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    pub file: String,
    pub sha256: Option<String>,
}

impl PolicyEntry {
    fn new(active: &ActivePolicy) -> Self {
        Self {
            name: active.policy.name().to_owned(),
            version: active.policy.descriptor().version.clone(),
            file: active.policy.path().to_owned(),
            sha256: active.policy.digest().to_owned(),
            settings: serde_json::from_str(&active.settings).unwrap_or_default(),
            parameters_sha256: (!active.parameters.is_empty()).then(|| sha256(&active.parameters)),
        }
    }
}

/// The contracts that the policies were built for; without policies the newest.
fn contracts(policies: &[ActivePolicy]) -> String {
    let versions: BTreeSet<Version> = policies.iter().map(|one| one.policy.version()).collect();
    if versions.is_empty() {
        return Version::NEWEST.interface().into();
    }
    let names: Vec<&str> = versions.into_iter().map(Version::interface).collect();
    names.join(" and ")
}

impl Manifest {
    /// `read` are the digests of what was read already.
    pub fn new(
        config: &RunConfig,
        context: &RunContext,
        policies: &[ActivePolicy],
        read: Digests,
    ) -> Self {
        let RunContext { model, plan, judges, .. } = context;
        Self {
            host: env!("CARGO_PKG_VERSION").into(),
            wit: contracts(policies),
            seed: config.seed.0,
            model: ModelEntry {
                name: model.name.clone(),
                sha256: model.digest.clone(),
                tokenizer_sha256: model.tokenizer.digest(),
                base_sha256: context.base.as_ref().map(|base| base.digest.clone()),
            },
            policies: policies.iter().map(PolicyEntry::new).collect(),
            sandbox: policies.first().map(|one| one.policy.engine().confinement()),
            judges: judges
                .identities()
                .map(|(name, identity)| (name.to_owned(), sha256(identity)))
                .collect(),
            steering_sha256: context.steering.as_ref().map(Vectors::digest),
            data: config
                .data
                .sources()
                .iter()
                .flat_map(|source| entries(&source.path, &read))
                .collect(),
            samples: plan.samples().len(),
            steps: plan.total_steps(),
            started: now(),
            ended: None,
            status: "running".into(),
            error: None,
            notices: Vec::new(),
            read,
        }
    }

    /// For a run that goes on in `folder`: everything that it is made of must be what it
    /// was when it began. What the run was told before is taken from its seal, if it has one,
    /// and else from the file, which anyone may have written.
    ///
    /// # Errors
    /// [`Error::Resume`] that names what is another now.
    pub fn resumed(mut self, folder: &RunDir, seal: Option<&Seal>) -> Result<Self> {
        if let Some(seal) = seal {
            self.started = seal.started;
            self.notices.clone_from(&seal.notices);
        }
        let path = folder.file(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // Killed before anything was done.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(self),
            Err(source) => return Err(Error::read(&path, source)),
        };
        let before: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::file(&path, format!("is damaged ({error})")))?;
        if let Some(what) = self.first_change(&before) {
            let problem = format!(
                "{what} not what it was when the run began (manifest.json has the digests); \
                 bring that back, or start a new run"
            );
            let path = folder.path().to_owned();
            return Err(Error::Resume { path, problem });
        }
        if seal.is_none() {
            self.started = before.started;
            self.notices = before.notices;
        }
        Ok(self)
    }

    fn first_change(&self, before: &Self) -> Option<String> {
        let policies = self.policies.iter().zip(&before.policies);
        let mut policies = policies.filter(|(now, before)| now != before);
        let mut data = self.data.iter().zip(&before.data);
        let mut changes = [
            (self.host != before.host).then(|| {
                format!("the version of this program ({}; then {}) is", self.host, before.host)
            }),
            (self.model != before.model).then(|| format!("the model {} is", before.model.name)),
            policies
                .next()
                .map(|(_, policy)| format!("the policy {} or its settings are", policy.file)),
            (self.judges.iter())
                .find(|(name, identity)| before.judges.get(*name) != Some(*identity))
                .map(|(name, _)| format!("the judge {name} is")),
            (self.steering_sha256 != before.steering_sha256)
                .then(|| "the vectors that are steered by are".to_owned()),
            data.find(|(now, before)| now != before)
                .map(|(_, file)| format!("the data {} are", file.file)),
            (self.policies.len() != before.policies.len() || self.data.len() != before.data.len())
                .then(|| "the number of policies or data files is".to_owned()),
            ((self.seed, self.samples, self.steps) != (before.seed, before.samples, before.steps))
                .then(|| "the number of samples or steps, or the seed, is".to_owned()),
        ];
        changes.iter_mut().find_map(Option::take)
    }

    /// What the run is made of, for its journal and for whatever its owner signs. `settled` is the
    /// digest of its configuration.
    pub fn identity(
        &self,
        config: &RunConfig,
        settled: &str,
        policies: &[ActivePolicy],
    ) -> Result<Identity> {
        let mut parts = BTreeMap::from([
            ("config".to_owned(), settled.to_owned()),
            (program::PART.to_owned(), program::digest()?.to_owned()),
            ("version".to_owned(), sha256(&self.host)),
            ("model".to_owned(), self.model.sha256.clone()),
            ("tokenizer".to_owned(), self.model.tokenizer_sha256.clone()),
        ]);
        parts.extend(self.model.base_sha256.clone().map(|base| ("model.base".into(), base)));
        parts.extend(self.steering_sha256.clone().map(|digest| ("steering".into(), digest)));
        for (name, digest) in &self.judges {
            parts.insert(format!("judge.{name}"), digest.clone());
        }
        for (number, active) in policies.iter().enumerate() {
            parts.insert(format!("policy.{number}"), active.policy.digest().to_owned());
            parts.insert(format!("policy.{number}.parameters"), sha256(&active.parameters));
        }
        for (number, file) in self.data.iter().enumerate() {
            parts.extend(file.sha256.clone().map(|digest| (format!("data.{number}"), digest)));
        }
        let (eval, calibration) = (&config.eval, &config.calibration);
        let further = eval.further.iter().flat_map(|(name, set)| {
            let of = |what: &str| format!("eval.further.{name}.{what}");
            [(of("harmful"), &set.harmful), (of("harmless"), &set.harmless)]
        });
        // What is read for a policy that asks for it, and for nobody else.
        let beside =
            policies.iter().any(|one| one.needs.anchors.is_some() || one.needs.token_set.is_some());
        let of_policies = [
            ("anchors.harmful", &config.anchors.harmful),
            ("anchors.harmless", &config.anchors.harmless),
        ];
        let main = [
            ("eval.harmful", &eval.harmful),
            ("eval.harmless", &eval.harmless),
            ("eval.task", &eval.task),
            ("calibration", &calibration.data),
            ("calibration.validation", &calibration.validation),
            ("calibration.test", &calibration.test),
            ("canary", &config.canary.prompts),
        ];
        let main = main.into_iter().chain(of_policies.into_iter().filter(|_| beside));
        let main = main.map(|(of, sources)| (of.to_owned(), sources));
        for (of, sources) in main.chain(further) {
            for (number, source) in sources.iter().enumerate() {
                let digest = digest(&source.path, &self.read);
                parts.extend(digest.map(|digest| (format!("{of}.{number}"), digest)));
            }
        }
        Ok(Identity::new(parts))
    }

    /// How the run ended, or that it didn't.
    pub fn status(&self) -> &str {
        &self.status
    }

    /// Seconds since 1970.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// When it began.
    pub fn moment(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.started)
    }

    /// Names and digests of model and policies, for who compares runs.
    pub fn tags(&self) -> Vec<(String, String)> {
        let mut tags = vec![
            ("host.version".to_owned(), self.host.clone()),
            ("model.sha256".to_owned(), self.model.sha256.clone()),
        ];
        for (number, policy) in self.policies.iter().enumerate() {
            tags.push((format!("policy.{number}.name"), policy.name.clone()));
            tags.push((format!("policy.{number}.version"), policy.version.clone()));
            tags.push((format!("policy.{number}.sha256"), policy.sha256.clone()));
        }
        tags
    }

    /// What a person was told.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What tells the content of model, policies and data from others, by dotted keys.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let short = |digest: &str| digest.chars().take(12).collect::<String>();
        let mut digests = BTreeMap::from([("model.sha256".into(), short(&self.model.sha256))]);
        for (number, policy) in self.policies.iter().enumerate() {
            digests.insert(format!("policies.{number}.sha256"), short(&policy.sha256));
        }
        for (name, digest) in &self.judges {
            digests.insert(format!("judges.{name}.sha256"), short(digest));
        }
        for (number, file) in self.data.iter().enumerate() {
            let digest = file.sha256.as_deref().map(short);
            digests.insert(format!("data.{number}.sha256"), digest.unwrap_or_default());
        }
        digests
    }

    pub fn end(&mut self, status: &str, error: Option<String>) {
        self.status = status.into();
        self.error = error;
        self.ended = Some(now());
    }

    /// Adds notices that it doesn't hold yet.
    pub fn note(&mut self, notices: &[String]) {
        for notice in notices {
            if !self.notices.contains(notice) {
                self.notices.push(notice.clone());
            }
        }
    }

    pub fn write(&self, folder: &RunDir) -> Result<()> {
        folder.write_json(FILE, self)
    }
}

/// The configuration as it was resolved, readable by `--config`.
pub fn resolved_toml(config: &RunConfig) -> Result<String> {
    toml::to_string(config).map_err(|error| Error::config("config.toml", error.to_string()))
}

/// Digest of a configuration, as far as it decides what a run learns and records: not of where
/// that is kept, nor of what `--resume` may change.
pub fn settled(config: &RunConfig) -> Result<String> {
    let usual = RunConfig::default();
    let mut settled = config.clone();
    settled.output = None;
    settled.checkpoints = usual.checkpoints;
    settled.journal.key = None;
    settled.trackers = usual.trackers;
    settled.data.memory_mib = usual.data.memory_mib;
    let (train, usual) = (&mut settled.train, usual.train);
    train.checkpoint_activations = usual.checkpoint_activations;
    train.reference_cache_mib = usual.reference_cache_mib;
    train.reference_cache_disk_mib = usual.reference_cache_disk_mib;
    Ok(sha256(resolved_toml(&settled)?))
}

/// The files of a data source.
fn entries(path: &Path, read: &Digests) -> impl Iterator<Item = FileEntry> {
    let files = host_data::hub::digests(path, read).into_iter();
    files.map(|(name, sha256)| FileEntry { file: name.display().to_string(), sha256 })
}

/// Digest of a data source: of its file, or of the digests of several.
fn digest(path: &Path, read: &Digests) -> Option<String> {
    let digests: Option<Vec<String>> = entries(path, read).map(|entry| entry.sha256).collect();
    digests.map(|digests| match digests.as_slice() {
        [one] => one.clone(),
        several => host_files::sha256::hex_of(several),
    })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
