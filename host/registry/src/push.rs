//! Sending an artifact: its parts, then the manifest that names them, then what refers to it. Until the manifest is there
//! nothing has its tag, so a push that breaks off leaves nothing that can be pulled.

use std::collections::BTreeMap;

use host_web::address::{origin, target};
use serde::Serialize;
use serde_json::json;
use ureq::http::request::Builder;
use ureq::http::{HeaderValue, Request, header};

use crate::error::{Attempt, Problem};
use crate::manifest::{COMPONENT, CONFIG, Descriptor, EMPTY, MANIFEST, MINISIGN, Manifest};
use crate::pull::CONTENT_DIGEST;
use crate::reference::Digest;
use crate::referrers::SUBJECT;
use crate::session::Session;

/// The same file has the same manifest, whenever it is pushed.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Under which an artifact's layer has the name of its file.
const TITLE: &str = "org.opencontainers.image.title";

/// What is pushed.
#[derive(Debug, Clone, Default)]
pub struct Artifact {
    /// What tools that unpack artifacts call the file.
    pub file_name: Option<String>,
    /// A component, or a package of WIT as one.
    pub component: Vec<u8>,
    /// Names of its exports, for whoever lists a registry.
    pub exports: Vec<String>,
    /// Of the manifest, such as `org.opencontainers.image.title`.
    pub annotations: BTreeMap<String, String>,
    /// Texts of signatures in minisign's format.
    pub signatures: Vec<String>,
}

/// Where it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Pushed {
    /// Name with tag and digest.
    pub reference: String,
    /// Of the manifest.
    pub digest: String,
    /// Of the component: SHA-256, 64 digits.
    pub sha256: String,
    /// Signatures that went with it.
    pub signatures: usize,
}

impl Session<'_> {
    /// Sends it under a tag. The digest of the manifest.
    pub fn push(&self, artifact: &Artifact, tag: &str) -> Attempt<Digest> {
        let mut layer = Descriptor::new(COMPONENT, &artifact.component);
        let title = |name: &String| (TITLE.to_owned(), name.clone());
        layer.annotations.extend(artifact.file_name.iter().map(title));
        let config = serde_json::to_vec(&json!({
            "created": CREATED,
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer.digest],
            "component": {"exports": artifact.exports, "imports": [], "target": null},
        }))
        .map_err(unwritten)?;
        let mut manifest = Manifest::new(Descriptor::new(CONFIG, &config), layer);
        manifest.annotations.clone_from(&artifact.annotations);
        self.put_blob(&artifact.component)?;
        self.put_blob(&config)?;
        let bytes = serde_json::to_vec(&manifest).map_err(unwritten)?;
        // The signatures first: whoever pulls the tag finds them.
        let named = Digest::of(&bytes);
        self.put_manifest(&named.to_string(), MANIFEST, &bytes)?;
        for text in &artifact.signatures {
            self.attach(text, Descriptor::new(MANIFEST, &bytes), &named)?;
        }
        self.put_manifest(tag, MANIFEST, &bytes)?;
        Ok(named)
    }

    fn attach(&self, text: &str, subject: Descriptor, named: &Digest) -> Attempt<()> {
        let config = b"{}";
        let layer = Descriptor::new(MINISIGN, text.as_bytes());
        let mut manifest = Manifest::new(Descriptor::new(EMPTY, config), layer);
        manifest.artifact_type = Some(MINISIGN.to_owned());
        manifest.subject = Some(subject);
        self.put_blob(config)?;
        self.put_blob(text.as_bytes())?;
        let bytes = serde_json::to_vec(&manifest).map_err(unwritten)?;
        let listed = self.put_manifest(&Digest::of(&bytes).to_string(), MANIFEST, &bytes)?;
        if listed {
            return Ok(());
        }
        let artifact_type = manifest.artifact_type;
        self.list(named, Descriptor { artifact_type, ..Descriptor::new(MANIFEST, &bytes) })
    }

    /// Sends a manifest. Whether the registry lists what it refers to.
    pub fn put_manifest(&self, named: &str, kind: &str, bytes: &[u8]) -> Attempt<bool> {
        let url = self.address(&format!("manifests/{named}"));
        let mut response = self.ask(|shown| {
            let request = Request::put(&url).header(header::CONTENT_TYPE, kind);
            self.web.send(with(request, shown), bytes)
        })?;
        if !response.status().is_success() {
            return Err(self.refused(&mut response));
        }
        let said = response.headers().get(CONTENT_DIGEST).and_then(|said| said.to_str().ok());
        let digest = Digest::of(bytes);
        if said.and_then(|said| said.parse().ok()).is_some_and(|said: Digest| said != digest) {
            return Err(Problem::lie(format!(
                "keeps the manifest under another digest than {digest}"
            )));
        }
        Ok(response.headers().contains_key(SUBJECT))
    }

    /// Sends bytes, unless they are there already.
    fn put_blob(&self, bytes: &[u8]) -> Attempt<()> {
        let digest = Digest::of(bytes);
        if self.get(&format!("blobs/{digest}"), true, &[])?.status().is_success() {
            return Ok(());
        }
        let begin = self.address("blobs/uploads/");
        let mut response = self.ask(|shown| {
            let request = Request::post(&begin).header(header::CONTENT_LENGTH, 0);
            self.web.send(with(request, shown), &[][..])
        })?;
        if response.status() != 202 {
            return Err(self.refused(&mut response));
        }
        let asked = host_web::address::address(&begin)?;
        let upload = target(&asked, response.headers())?;
        let upload = upload.to_string();
        let joint = if upload.contains('?') { '&' } else { '?' };
        let url = format!("{upload}{joint}digest={digest}");
        // Some name a store of their own, which no login is for.
        let there = self.web.named(&url)?;
        let is_home = origin(&there) == origin(&asked);
        let mut response = self.ask(|shown| {
            let request =
                Request::put(&there).header(header::CONTENT_TYPE, "application/octet-stream");
            self.web.send(with(request, shown.filter(|_| is_home)), bytes)
        })?;
        if response.status().is_success() { Ok(()) } else { Err(self.refused(&mut response)) }
    }

    /// Words for a registry that takes nothing.
    fn refused(&self, response: &mut ureq::http::Response<ureq::Body>) -> Problem {
        let problem = self.refusal(response);
        match response.status().as_u16() {
            404 => Problem::new(
                "the registry has no such repository, or takes none of that name",
                "make it there, or check its name",
            ),
            405 => Problem::new("the registry takes nothing", "push to one that does"),
            _ => problem,
        }
    }
}

fn with(request: Builder, authorization: Option<&HeaderValue>) -> Builder {
    match authorization {
        Some(authorization) => request.header(header::AUTHORIZATION, authorization.clone()),
        None => request,
    }
}

fn unwritten(error: serde_json::Error) -> Problem {
    Problem::new(format!("a manifest can't be written ({error})"), "name it in plain words")
}
