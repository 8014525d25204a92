//! What was exported, sent to a repository of the Hub in one commit.
//!
//! The Hub says which files are large. Those go to its store by their SHA-256 (Git LFS, in one piece or in parts), the
//! others stand in the commit itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_files::{capped, sha256, text};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ureq::http::header;

use super::HubAccess;
use super::cache::is_commit;
use super::client::{Client, LFS};
use super::kind::Kind;
use crate::error::{Error, Result};
use host_web::Failure;

pub use super::exported::{Sent, files};

const JSON: &str = "application/json";
/// Where commits go.
const BRANCH: &str = "main";
/// Bytes of a file that the Hub looks at.
const SAMPLE: usize = 512;
/// Of a file that stands in the commit itself; more than the Hub takes there.
const LARGEST_IN_COMMIT: u64 = 32 << 20;
/// Parts of one file.
const MOST_PARTS: u64 = 10_000;

/// Where the files are now.
#[derive(Debug, Clone, Serialize)]
pub struct Pushed {
    /// Address of the commit, without what the server adds.
    pub url: String,
    /// The commit.
    pub commit: String,
}

/// Send the files to the repository `id` (`org/name`), which is made if there is none: for its owner alone unless
/// `public`. They are there all together, in one commit, or not at all.
///
/// # Errors
/// [`Error::Source`] when there is no token, it may not write, or the Hub fails; [`Error::Io`].
pub fn push(id: &str, files: &[Sent], public: bool, access: &HubAccess) -> Result<Pushed> {
    let pushing = Pushing { id, files };
    let client = pushing.client(access)?;
    pushing.run(&client, public).map_err(|failure| pushing.explain(&failure))
}

/// Whether there is what a push needs, without asking the Hub.
///
/// # Errors
/// [`Error::Source`] without a token, or with an endpoint that isn't to be trusted.
pub fn check(id: &str, access: &HubAccess) -> Result<()> {
    Pushing { id, files: &[] }.client(access).map(|_| ())
}

struct Pushing<'a> {
    id: &'a str,
    files: &'a [Sent],
}

#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

type Attempt<T> = std::result::Result<T, Failure>;

impl Pushing<'_> {
    fn client(&self, access: &HubAccess) -> Result<Client> {
        if access.offline {
            return Err(self.error("HF_HUB_OFFLINE is set", "unset it to push"));
        }
        if access.token.is_none() {
            return Err(self.error(
                "there is no token",
                "set HF_TOKEN to one that may write, or log in with Python's `hf auth login`",
            ));
        }
        access.client().map_err(|failure| self.explain(&failure))
    }

    fn run(&self, client: &Client, public: bool) -> Attempt<Pushed> {
        let (organization, name) = self.id.split_once('/').unwrap_or_default();
        let repository = json!({
            "type": "model", "name": name, "organization": organization, "private": !public,
        });
        match client.post("/api/repos/create", JSON, repository.to_string().as_bytes(), true) {
            // It is there already.
            Ok(_) | Err(Failure::Status(409)) => {}
            // A token may write to a repository and make none, and mirrors answer in ways of their own.
            Err(Failure::Status(400..=403))
                if client.describe(Kind::Model, self.id, BRANCH).is_ok() => {}
            Err(failure) => return Err(failure),
        }
        let large = self.large(client)?;
        let mut lines = vec![json!({
            "key": "header",
            "value": { "summary": "Exported with host", "description": "" },
        })];
        let mut digests = Vec::new();
        for (file, is_large) in self.files.iter().zip(large) {
            if is_large {
                let digest = sha256::file(&file.path)?;
                lines.push(json!({ "key": "lfsFile", "value": {
                    "path": file.name, "algo": "sha256", "oid": digest, "size": file.size } }));
                digests.push((file, digest));
            } else {
                let bytes = capped::read(&file.path, LARGEST_IN_COMMIT)?;
                lines.push(json!({ "key": "file", "value": {
                    "path": file.name, "encoding": "base64", "content": STANDARD.encode(bytes) } }));
            }
        }
        self.store(client, &digests)?;
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        let path = format!("/api/models/{}/commit/{BRANCH}", self.id);
        let answer =
            client.post(&path, "application/x-ndjson", lines.concat().as_bytes(), false)?;
        let committed: Committed = understood(&answer, "a commit")?;
        let commit = committed.commit_oid;
        if !is_commit(&commit) {
            return Err(Failure::Untrusted(format!("names `{}` as a commit", text::name(&commit))));
        }
        Ok(Pushed { url: client.page(self.id, &commit), commit })
    }

    /// Per file whether it goes to the store.
    fn large(&self, client: &Client) -> Attempt<Vec<bool>> {
        let mut described = Vec::new();
        for file in self.files {
            let mut sample = Vec::new();
            let opened = std::fs::File::open(&file.path)?;
            std::io::Read::read_to_end(
                &mut std::io::Read::take(opened, SAMPLE as u64),
                &mut sample,
            )?;
            described.push(json!({
                "path": file.name, "size": file.size, "sample": STANDARD.encode(sample),
            }));
        }
        let asked = json!({ "files": described }).to_string();
        let path = format!("/api/models/{}/preupload/{BRANCH}", self.id);
        let modes: Modes = understood(&client.post(&path, JSON, asked.as_bytes(), true)?, "modes")?;
        let mode = |file: &Sent| {
            let mode = modes.files.iter().find(|mode| mode.path == file.name);
            match mode.map(|mode| mode.upload_mode.as_str()) {
                // The store takes no empty file.
                Some(_) if file.size == 0 => Ok(false),
                Some("lfs") => Ok(true),
                Some("regular") if file.size <= LARGEST_IN_COMMIT => Ok(false),
                _ => Err(Failure::Untrusted(format!("doesn't say how it takes {}", file.name))),
            }
        };
        self.files.iter().map(mode).collect()
    }

    /// Brings files into the Hub's store that it doesn't have yet.
    fn store(&self, client: &Client, files: &[(&Sent, String)]) -> Attempt<()> {
        if files.is_empty() {
            return Ok(());
        }
        let objects: Vec<Value> = files
            .iter()
            .map(|(file, digest)| json!({ "oid": digest, "size": file.size }))
            .collect();
        let asked = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": objects,
        });
        let path = format!("/{}.git/info/lfs/objects/batch", self.id);
        let batch: Batch =
            understood(&client.post(&path, LFS, asked.to_string().as_bytes(), true)?, "a batch")?;
        for (file, digest) in files {
            let object = batch.objects.iter().find(|object| object.oid == *digest);
            let object = object
                .ok_or_else(|| Failure::Untrusted(format!("says nothing of {}", file.name)))?;
            if let Some(error) = &object.error {
                let why = error["message"].as_str().unwrap_or("no reason is given");
                let Sent { name, size, .. } = file;
                let problem = format!("refuses {name}, {size} bytes ({})", text::brief(why, 200));
                return Err(Failure::Untrusted(problem));
            }
            // Without an action the store has it already.
            let Some(actions) = &object.actions else { continue };
            if let Some(upload) = &actions.upload {
                tracing::info!("{}: sending {}, {} MiB", self.id, file.name, file.size >> 20);
                send(client, file, digest, upload)?;
            }
            if let Some(verify) = &actions.verify {
                let asked = json!({ "oid": digest, "size": file.size }).to_string();
                client.post_to(&verify.href, LFS, asked.as_bytes(), true)?;
            }
        }
        Ok(())
    }

    fn error(&self, problem: &str, action: &str) -> Error {
        Error::Source {
            source_name: self.id.to_owned(),
            problem: format!("not pushed: {}", text::line(problem)),
            action: action.to_owned(),
        }
    }

    fn explain(&self, failure: &Failure) -> Error {
        let whole = "what was exported is whole: push it later with --exported";
        match failure {
            Failure::Status(401) => {
                self.error("the token isn't accepted", "set HF_TOKEN to a token that may write")
            }
            Failure::Status(403 | 404) => self.error(
                "the token may not write there",
                "check the name, or set HF_TOKEN to a token with write access to it",
            ),
            Failure::Status(409 | 412) => self.error(
                "another commit was made there at the same time",
                "what was exported is whole: push it again with --exported",
            ),
            Failure::Status(413) => self.error(
                "the Hub takes no files that large",
                "export in fewer bits (--dtype, --quantize), or push the adapter alone",
            ),
            Failure::Status(status) => {
                self.error(&format!("the Hub answers with status {status}"), whole)
            }
            Failure::Unreachable(problem) => {
                self.error(&format!("the Hub can't be reached ({problem})"), whole)
            }
            Failure::Untrusted(problem) => {
                self.error(&format!("the Hub {problem}"), "check HF_ENDPOINT")
            }
            Failure::Cache(error) => {
                self.error(&format!("a file can't be read ({error})"), "export it again")
            }
        }
    }
}

fn understood<T: serde::de::DeserializeOwned>(answer: &[u8], what: &str) -> Attempt<T> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Untrusted(format!("describes {what} in no known form ({error})")))
}

/// In one piece, or in parts where the store says how large they are and where each goes.
fn send(client: &Client, file: &Sent, digest: &str, upload: &Action) -> Attempt<()> {
    let Some(size) = upload.header.get("chunk_size") else {
        client.put(&upload.href, &file.path, 0, file.size)?;
        return Ok(());
    };
    let odd = || Failure::Untrusted(format!("takes {} in parts of no known size", file.name));
    let size = size.as_u64().or_else(|| size.as_str()?.parse().ok()).filter(|size| *size > 0);
    let size = size.filter(|size| file.size.div_ceil(*size) <= MOST_PARTS).ok_or_else(odd)?;
    let mut parts = Vec::new();
    for number in 1..=file.size.div_ceil(size) {
        // The Hub numbers them with leading zeros.
        let of_it = |(key, _): &(&String, &Value)| key.parse::<u64>().ok() == Some(number);
        let url =
            upload.header.iter().find(of_it).and_then(|(_, url)| url.as_str()).ok_or_else(odd)?;
        let from = (number - 1) * size;
        let headers = client.put(url, &file.path, from, size.min(file.size - from))?;
        let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).ok_or_else(|| {
            Failure::Untrusted(format!("confirms no part {number} of {}", file.name))
        })?;
        parts.push(json!({ "partNumber": number, "etag": tag }));
    }
    let done = json!({ "oid": digest, "parts": parts }).to_string();
    client.post_to(&upload.href, LFS, done.as_bytes(), true)?;
    Ok(())
}
