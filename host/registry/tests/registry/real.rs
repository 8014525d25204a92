//! Debian's docker-registry, where it is installed: a registry that we didn't write.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

/// `user` and `secret`, as `htpasswd -B` writes them.
const USERS: &str = "user:$2y$05$kEErsoPuA6660.wQXmrE6OO2QciNmCCKggVGRXShBYkGOE8EdQ8h6\n";

struct Server {
    child: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// None where there is no such program.
fn start(more: &str) -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let configuration = folder.path().join("config.yml");
    let root = folder.path().join("data");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: {host}}}\n{more}",
        root.display()
    );
    std::fs::write(&configuration, text).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(child) = command.spawn() else {
        eprintln!("skipped: docker-registry isn't installed (apt-get install docker-registry)");
        return None;
    };
    let server = Server { child, host, _folder: folder };
    let started = Instant::now();
    while std::net::TcpStream::connect(&server.host).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "docker-registry doesn't listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

#[test]
fn a_registry_of_others_takes_and_gives_policies_with_their_signatures() {
    let Some(server) = start("") else { return };
    let client = client(None).with_patience(Duration::from_secs(10));
    let named: Reference = format!("oci://{}/team/probe:1.0.0", server.host).parse().unwrap();
    let bytes = vec![7; 300_000];
    let sent = Artifact { signatures: vec!["one".into(), "two".into()], ..artifact(&bytes) };
    let pushed = client.push(&named, &sent).unwrap();
    assert_eq!(client.push(&named, &sent).unwrap().digest, pushed.digest);
    let pulled = client.pull(&named, MOST).unwrap();
    assert_eq!(pulled.bytes, bytes);
    assert_eq!(pulled.reference.to_string(), pushed.reference);
    assert_eq!(pulled.signatures, ["one", "two"]);
    let other = client.push(&named, &artifact(b"other")).unwrap();
    assert_ne!(other.digest, pushed.digest);
    let pinned = client.pull(&pulled.reference, MOST).unwrap();
    assert_eq!(pinned.bytes, bytes);
    assert!(pinned.notes.concat().contains("has moved to"), "{:?}", pinned.notes);
    let absent: Reference = format!("oci://{}/team/other:1", server.host).parse().unwrap();
    assert!(problem(client.pull(&absent, MOST)).contains("there is no such policy"));
}

#[test]
fn a_registry_of_others_checks_the_password_of_a_docker_login() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, USERS).unwrap();
    let Some(server) =
        start(&format!("auth: {{htpasswd: {{realm: x, path: {}}}}}\n", users.display()))
    else {
        return;
    };
    let named: Reference = format!("oci://{}/probe:1", server.host).parse().unwrap();
    let (_folder, places) = logins::file(&server.host, "user", "secret");
    let known = client(None).with_logins(places).with_patience(Duration::from_secs(10));
    known.push(&named, &artifact(b"policy")).unwrap();
    assert_eq!(known.pull(&named, MOST).unwrap().bytes, b"policy");
    let error = problem(client(None).pull(&named, MOST));
    assert!(error.contains("log in: docker login"), "{error}");
}
