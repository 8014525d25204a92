//! What servers answer: the input is all that comes over the connection.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use host_data::Message;
use host_judges::{Consent, EndpointConfig, JudgeConfig, Judges, Pair};
use host_model::HubAccess;
use host_model::load::hub;

use crate::place;

/// A server on this machine that answers every request with the same bytes.
struct Server {
    address: SocketAddr,
    answer: Mutex<Vec<u8>>,
}

fn server(answer: &[u8]) -> SocketAddr {
    static SERVER: OnceLock<&'static Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| match start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    });
    *server.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer.to_vec();
    server.address
}

fn start() -> std::io::Result<&'static Server> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, answer) = (listener.local_addr()?, Mutex::default());
    let server: &'static Server = Box::leak(Box::new(Server { address, answer }));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A request is short, and comes in one piece or waits for nothing.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read(&mut [0; 16 << 10]);
            let answer = server.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let _ = stream.write_all(&answer);
        }
    });
    Ok(server)
}

/// The reply of an endpoint.
pub fn judge(input: &[u8]) {
    let config = EndpointConfig {
        url: format!("http://{}/v1", server(input)),
        model: "judge".into(),
        timeout_seconds: 2.0,
        retries: 0,
        retry_seconds: 2.0,
        concurrency: 1,
        consent: Consent::Given,
        ..EndpointConfig::default()
    };
    let judges = BTreeMap::from([("judge".to_owned(), JudgeConfig::Endpoint(config))]);
    let Ok(judges) = Judges::load(&judges, None) else { return };
    let pair = Pair { messages: &[Message::user("Hello?")], answer: "Hello!" };
    if let Ok(said) = judges.judge("judge", &[pair], &AtomicBool::new(false)) {
        assert!(said.iter().all(|one| (1.0..=5.0).contains(&one.score)), "{said:?}");
    }
}

fn access(input: &[u8]) -> HubAccess {
    HubAccess {
        endpoint: Some(format!("http://{}", server(input))),
        cache: Some(place::folder().join("hub")),
        token: None,
        offline: false,
        patience: Some(Duration::from_secs(1)),
    }
}

/// What a mirror of the Hub answers to every request.
pub fn hub(input: &[u8]) {
    let access = access(input);
    let _ = hub::fetch("someone/model", None, &access);
    let _ = access.cache.map(std::fs::remove_dir_all);
}

/// The same of a data set, whose card says which files it means.
pub fn dataset(input: &[u8]) {
    let access = access(input);
    for name in ["hf:datasets/someone/data", "hf:datasets/someone/data:main/test"] {
        let _ = host_data::hub::locate_at(Path::new(name), &access);
    }
    let _ = access.cache.map(std::fs::remove_dir_all);
}
