//! The bill of materials: every crate that is in the program or has built it, as CycloneDX 1.5
//! (<https://cyclonedx.org/docs/1.5/json/>).
//!
//! The same lock file gives the same document: it has the date of the commit, no serial number,
//! and names no folder, where cargo-cyclonedx gives each document a random number and the path
//! of the checkout. The library beneath it, cyclonedx-bom, turns on a feature of syn that would
//! have whatever derives something built once more for the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};

use super::said;

/// The package of the program.
const PROGRAM: &str = "host";

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// Absent for what goes into the program, else `build` or `dev`.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Writes the bill of the program for `target`. `date` is in seconds since 1970.
///
/// # Errors
/// If cargo can't resolve the lock file without changing it.
pub fn write(root: &Path, target: &str, date: u64, path: &Path) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args(["metadata", "--format-version", "1", "--locked"]);
    let metadata = said(cargo.args(["--filter-platform", target]))?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata isn't as expected")?;
    let lock = toml::from_str(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let mut text = serde_json::to_string_pretty(&bill(&metadata, &lock, date)?)?;
    text.push('\n');
    Ok(fs::write(path, text)?)
}

fn bill(metadata: &Metadata, lock: &Lock, date: u64) -> Result<Value> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|one| (&*one.id, one)).collect();
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|one| (&*one.id, one)).collect();
    let checksums: BTreeMap<_, _> = (lock.package.iter())
        .filter_map(|one| Some(((&*one.name, &*one.version), one.checksum.as_deref()?)))
        .collect();
    let program = metadata.packages.iter().find(|one| one.name == PROGRAM);
    let program = program.context("cargo metadata doesn't name the program")?;
    let inside = reached([&*program.id], &nodes, &[None]);
    let all = reached(inside.iter().copied(), &nodes, &[None, Some("build")]);
    let (mut components, mut edges) = (Vec::new(), Vec::new());
    for id in &all {
        let package = packages.get(id).context("cargo metadata doesn't describe a package")?;
        let scope = if inside.contains(id) { "required" } else { "excluded" };
        let checksum = checksums.get(&(&*package.name, &*package.version)).copied();
        if *id != program.id {
            components.push((reference(package), component(package, "library", scope, checksum)));
        }
        let uses: BTreeSet<String> = followed(nodes[id], &[None, Some("build")])
            .filter_map(|to| packages.get(to).map(|to| reference(to)))
            .collect();
        edges.push((reference(package), json!({"ref": reference(package), "dependsOn": uses})));
    }
    let date = i64::try_from(date).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let date = date.context("the date of the commit is far off")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": date.to_rfc3339_opts(SecondsFormat::Secs, true),
            "component": component(program, "application", "required", None),
        },
        "components": in_order(components),
        "dependencies": in_order(edges),
    }))
}

fn in_order(mut parts: Vec<(String, Value)>) -> Vec<Value> {
    parts.sort_by(|one, other| one.0.cmp(&other.0));
    parts.into_iter().map(|(_, part)| part).collect()
}

/// The packages that those of `from` lead to over edges of these kinds, with themselves.
fn reached<'a>(
    from: impl IntoIterator<Item = &'a str>,
    nodes: &BTreeMap<&'a str, &'a Node>,
    kinds: &'a [Option<&'a str>],
) -> BTreeSet<&'a str> {
    let mut left: Vec<&str> = from.into_iter().collect();
    let mut found = BTreeSet::new();
    while let Some(id) = left.pop() {
        if found.insert(id) {
            left.extend(nodes.get(id).into_iter().flat_map(|node| followed(node, kinds)));
        }
    }
    found
}

fn followed<'a>(node: &'a Node, kinds: &'a [Option<&'a str>]) -> impl Iterator<Item = &'a str> {
    let of = |edge: &&Edge| edge.dep_kinds.iter().any(|one| kinds.contains(&one.kind.as_deref()));
    node.deps.iter().filter(of).map(|edge| &*edge.pkg)
}

fn component(package: &Package, kind: &str, scope: &str, checksum: Option<&str>) -> Value {
    let Package { name, version, license, description, .. } = package;
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": name,
        "version": version,
        "scope": scope,
        "purl": reference(package),
    });
    if let Some(description) = description {
        component["description"] = json!(description.trim());
    }
    if let Some(license) = license {
        // The slash is of the time before SPDX expressions.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// As package URLs have it, and unique in a program.
fn reference(package: &Package) -> String {
    // A plus sign is a blank to some readers.
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bill_has_what_is_inside_and_what_has_built_it() {
        let package = |name: &str, license: Option<&str>| {
            json!({"id": format!("path+file:///home/me#{name}@1.0.0"), "name": name,
                   "version": "1.0.0", "license": license, "description": null})
        };
        let edge = |name: &str, kinds: &[Value]| {
            let kinds: Vec<Value> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
            json!({"pkg": format!("path+file:///home/me#{name}@1.0.0"), "dep_kinds": kinds})
        };
        let node = |name: &str, deps: Vec<Value>| json!({"id": format!("path+file:///home/me#{name}@1.0.0"), "deps": deps});
        let metadata = json!({
            "packages": [package("host", Some("Apache-2.0")), package("inner", Some("MIT/Apache-2.0")),
                         package("cc", Some("MIT")), package("parser", None),
                         package("tester", Some("MIT"))],
            "resolve": {"nodes": [
                node("host", vec![edge("inner", &[json!(null), json!("dev")]), edge("cc", &[json!("build")]),
                                  edge("tester", &[json!("dev")])]),
                node("inner", vec![]), node("cc", vec![edge("parser", &[json!(null)])]),
                node("parser", vec![]), node("tester", vec![]),
            ]}
        });
        let sum = "ab".repeat(32);
        let lock = json!({"package": [{"name": "inner", "version": "1.0.0", "checksum": sum}]});
        let (metadata, lock) =
            (serde_json::from_value(metadata).unwrap(), serde_json::from_value(lock).unwrap());
        let bill = bill(&metadata, &lock, 1_000_000_000).unwrap();
        assert!(!bill.to_string().contains("/home/me"), "{bill}");
        assert_eq!(bill["metadata"]["timestamp"], "2001-09-09T01:46:40Z");
        assert_eq!(bill["metadata"]["component"]["name"], "host");
        let parts = bill["components"].as_array().unwrap();
        let parts: Vec<(&str, &str)> = (parts.iter())
            .map(|one| (one["name"].as_str().unwrap(), one["scope"].as_str().unwrap()))
            .collect();
        assert_eq!(parts, [("cc", "excluded"), ("inner", "required"), ("parser", "excluded")]);
        let inner = &bill["components"][1];
        assert_eq!(inner["hashes"][0]["content"], sum.as_str());
        assert_eq!(inner["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let host = bill["dependencies"].as_array().unwrap();
        let host = host.iter().find(|one| one["ref"] == "pkg:cargo/host@1.0.0").unwrap();
        assert_eq!(host["dependsOn"], json!(["pkg:cargo/cc@1.0.0", "pkg:cargo/inner@1.0.0"]));
    }
}
