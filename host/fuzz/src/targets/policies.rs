//! Policies, who signed them, and what runs wrote down of them.

use std::sync::OnceLock;

use host_audit::cases::Case;
use host_audit::inspect::Structure;
use host_audit::journal::Journal;
use host_audit::synthetic::{Step, Subject, run_info};
use host_audit::timestamp;
use host_sandbox::{
    Attachment, CosignKey, Engine, Limits, Policy, PublicKey, Revocations, Statement, claimed_key,
};

use crate::place;

/// Small enough that no call and no compilation takes long.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let limits = Limits {
            fuel_per_call: 1_000_000,
            calibrate_fuel: 1_000_000,
            call_milliseconds: 1000,
            memory_bytes: 8 << 20,
            calibrate_memory_bytes: 8 << 20,
            component_bytes: 64 << 10,
            ..Limits::default()
        };
        match Engine::new(&limits) {
            Ok(engine) => engine,
            Err(error) => panic!("{error}"),
        }
    })
}

/// A policy file, and what its functions answer.
pub fn policy(input: &[u8]) {
    let _ = Structure::of(input, "policy.wasm");
    let Ok(policy) = Policy::from_bytes(engine(), "policy.wasm", input) else { return };
    let run = run_info(4, 8, 1);
    let Ok(mut subject) = Subject::configure(&policy, "{}", &run, 1) else { return };
    if subject.calibrate().is_ok() {
        let signals = subject.signals(&Step::of(3, 0.5));
        let _ = subject.assess(&signals, &[]);
    }
}

/// A key and a signature of either format, or a list of revocations.
pub fn signature(input: &[u8]) {
    let (key, signature) = place::two(input);
    let (key, signature) = (String::from_utf8_lossy(key), String::from_utf8_lossy(signature));
    let _ = claimed_key(&signature);
    if let Some(key) = PublicKey::parse(&key) {
        for what in [Statement::Policy, Statement::Journal] {
            let _ = key.verify(what, b"what is signed", &signature);
        }
    }
    let _ = CosignKey::parse(&key);
    if let Some(Ok(key)) = CosignKey::parse(COSIGN) {
        let manifest = format!(
            r#"{{"layers": [{{"digest": "sha256:{}"}}]}}"#,
            host_sandbox::digest(b"what is signed")
        );
        let simple = Attachment::Simple {
            payload: signature.clone().into_owned(),
            signature: "MAA=".into(),
            keyless: false,
        };
        let attached = [simple, Attachment::Bundle(signature.into_owned())];
        assert!(key.verify(b"what is signed", manifest.as_bytes(), &attached).is_err());
    }
    let _ = Revocations::read(&place::file("revoked", input));
}

/// A key whose secret half nobody has.
const COSIGN: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGxY9cYudvmoWdYyzd3LAY9DPPDiw
1vaJCTRlObBBPyKanEYIyk9Ip/hOcv+GuMjKf9yhG19IG05NPNWhrw6SwA==
-----END PUBLIC KEY-----
";

/// The records of a run, beside the policy that they name.
pub fn journal(input: &[u8]) {
    const POLICY: &[u8] = include_bytes!("../../corpus/policy/remembers");
    place::file(&format!("journal/policies/{}.wasm", host_sandbox::digest(POLICY)), POLICY);
    let records = place::file("journal/records.jsonl", input);
    let Some(Ok(journal)) = records.parent().map(|folder| Journal::read(folder, None)) else {
        return;
    };
    let _ = journal.replay(engine(), || {});
}

/// A recorded case.
pub fn case(input: &[u8]) {
    if let Ok(case) = serde_json::from_slice::<Case>(input)
        && let Some(policy) = fixed()
    {
        let _ = case.answer(policy);
    }
}

/// A policy that answers any case.
fn fixed() -> Option<&'static Policy> {
    static FIXED: OnceLock<Option<Policy>> = OnceLock::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/fixed-kl.wasm");
    FIXED.get_or_init(|| Policy::load(&Engine::new(&Limits::default()).ok()?, path).ok()).as_ref()
}

/// The answer of an authority.
pub fn timestamp(input: &[u8]) {
    let _ = timestamp::check(input, b"what is dated", &[]);
}
