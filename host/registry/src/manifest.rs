//! Manifests: what is in an artifact, by media type, digest and size.

use std::collections::BTreeMap;

use host_files::text::name;
use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Problem};
use crate::reference::Digest;

/// Bytes of a manifest or a list of them; registries take no more.
pub const LARGEST: u64 = 4 << 20;

/// Of an artifact.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of a list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What docker has in their place; asked for, so that it is told and not missed.
pub const FOREIGN: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Of the configuration of a component (the CNCF's layout for WebAssembly).
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Of a component.
pub const COMPONENT: &str = "application/wasm";
/// Of a configuration that says nothing.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Of a detached signature in minisign's format, and of the artifact that it is.
pub const MINISIGN: &str = "application/vnd.risk-policy.minisig.v1";

/// Something that a registry has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Its digest, if it is one that can be checked.
    pub fn digest(&self) -> Attempt<Digest> {
        let odd = |()| {
            Problem::lie(format!(
                "names something by `{}`, which is no SHA-256",
                name(&self.digest)
            ))
        };
        self.digest.parse().map_err(odd)
    }
}

/// An artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    pub fn new(config: Descriptor, layer: Descriptor) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers: vec![layer],
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// A list, and whatever else is no manifest.
    pub fn read(bytes: &[u8]) -> Attempt<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let odd = |error| Problem::lie(format!("sends a manifest in no known form ({error})"));
        let kind: Kind = serde_json::from_slice(bytes).map_err(odd)?;
        let is_list = [INDEX, FOREIGN[1]].contains(&kind.media_type.as_deref().unwrap_or_default());
        if is_list || kind.manifests.is_some() {
            return Err(Problem::new(
                "is a list of manifests, as of an image for several machines, and no policy",
                "name the policy itself; one of the list is named by its digest",
            ));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(odd)?;
        match manifest.media_type.as_deref() {
            Some(MANIFEST) | None => Ok(manifest),
            Some(other) => Err(not_a_policy(format!("has manifests of type {}", name(other)))),
        }
    }

    /// Its one layer, of the type that belongs to the type of its configuration.
    pub fn layer(&self, config: &str, kind: &str, most: u64) -> Attempt<(&Descriptor, Digest)> {
        if self.config.media_type != config {
            let found = name(&self.config.media_type);
            return Err(not_a_policy(format!("has a configuration of type {found}, not {config}")));
        }
        let [layer] = self.layers.as_slice() else {
            let count = self.layers.len();
            return Err(not_a_policy(format!("has {count} layers, and a policy has one")));
        };
        if layer.media_type != kind {
            let found = name(&layer.media_type);
            return Err(not_a_policy(format!("has a layer of type {found}, not {kind}")));
        }
        if layer.size > most {
            return Err(Problem::new(
                format!("has {} bytes, and {most} are allowed", layer.size),
                "take a smaller build of it",
            ));
        }
        Ok((layer, layer.digest()?))
    }
}

fn not_a_policy(what: String) -> Problem {
    Problem::new(
        format!("{what}, so it is no WebAssembly component as the CNCF's layout has it"),
        "push it again with host policy push, or name another",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn genuine() -> Manifest {
        Manifest::new(Descriptor::new(CONFIG, b"{}"), Descriptor::new(COMPONENT, b"x"))
    }

    fn refused(manifest: &Manifest) -> String {
        manifest.layer(CONFIG, COMPONENT, 10).unwrap_err().problem
    }

    #[test]
    fn a_policy_is_one_component_with_its_configuration() {
        let manifest = genuine();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let read = Manifest::read(&bytes).unwrap();
        assert_eq!(read.layer(CONFIG, COMPONENT, 10).unwrap().1, Digest::of(b"x"));
        let mut two = genuine();
        two.layers.push(two.layers[0].clone());
        assert!(refused(&two).contains("has 2 layers"));
        let mut none = genuine();
        none.layers.clear();
        assert!(refused(&none).contains("has 0 layers"));
        let mut image = genuine();
        image.config.media_type = "application/vnd.oci.image.config.v1+json".into();
        assert!(refused(&image).contains("configuration of type application/vnd.oci.image"));
        let mut tar = genuine();
        tar.layers[0].media_type = "application/tar\u{1b}[2J".into();
        assert!(refused(&tar).contains("layer of type application/tar\\u{1b}[2J"));
        let mut large = genuine();
        large.layers[0].size = 11;
        assert!(refused(&large).contains("has 11 bytes, and 10 are allowed"));
        let mut other = genuine();
        other.layers[0].digest = "sha512:00".into();
        assert!(refused(&other).contains("no SHA-256"));
    }

    #[test]
    fn lists_and_foreign_manifests_are_told_apart() {
        for list in [
            format!(r#"{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": []}}"#),
            r#"{"schemaVersion": 2, "manifests": []}"#.to_owned(),
        ] {
            let problem = Manifest::read(list.as_bytes()).unwrap_err().problem;
            assert!(problem.contains("is a list of manifests"), "{problem}");
        }
        let mut foreign = genuine();
        foreign.media_type = Some(FOREIGN[0].into());
        let problem = Manifest::read(&serde_json::to_vec(&foreign).unwrap()).unwrap_err().problem;
        assert!(problem.contains("docker"), "{problem}");
        for odd in ["", "[]", "{}", r#"{"schemaVersion": 2}"#] {
            assert!(Manifest::read(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
