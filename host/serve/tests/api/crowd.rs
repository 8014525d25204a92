//! Clients that keep a connection and do nothing with it, and those beside them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host_data::demo;
use host_serve::Options;

use crate::limits::{long, until};
use crate::support::{CHAT, Server, TEXT, options, question, request};

fn narrow(connections: usize) -> Server {
    Server::with(demo::model(), Options { connections, ..options() })
}

/// Whether the other side has closed a connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn where_all_places_are_taken_who_has_done_nothing_for_longest_gives_his() {
    let server = narrow(2);
    let first = server.connect();
    std::thread::sleep(Duration::from_millis(50));
    let second = server.connect();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.get("/health").0, 200);
    assert!(is_closed(&first) && !is_closed(&second));
}

#[test]
fn a_connection_is_kept_between_requests() {
    let server = narrow(2);
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut reply = vec![0; 4096];
        let count = stream.read(&mut reply).unwrap();
        assert!(reply.starts_with(b"HTTP/1.1 200") && count > 100);
    }
    assert!(!is_closed(&stream));
}

#[test]
fn whoever_is_being_answered_keeps_his_place() {
    let server = Server::with(demo::model(), Options { connections: 2, batch: 1, ..options() });
    let mut body = long(100);
    body["stream"] = true.into();
    let asked = request(TEXT, "", &body.to_string());
    let mut streams = [server.connect(), server.connect()];
    for stream in &mut streams {
        stream.write_all(asked.as_bytes()).unwrap();
        // It has begun to come. The rest stays unread until the third has asked.
        stream.read_exact(&mut [0; 15]).unwrap();
    }
    let mut third = server.connect();
    third.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waits = third.read(&mut [0; 16]).is_err();
    let mut replies = [String::new(), String::new()];
    for (stream, reply) in streams.iter_mut().zip(&mut replies) {
        stream.read_to_string(reply).unwrap();
        assert!(reply.contains("data: [DONE]"), "{reply}");
    }
    assert!(waits, "there was no place");
    third.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut some = [0; 15];
    third.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"HTTP/1.1 200 OK");
}

/// Clients that send a request byte by byte, for ever, and connect again when they are sent away.
fn dripping(server: &Server, count: usize, asked: &str, during: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let drip = || {
            let mut sent_away = 0;
            while !over.load(Ordering::Relaxed) {
                let Ok(mut stream) = TcpStream::connect(server.address) else { continue };
                let began = asked.split_at(asked.len() / 2);
                let _ = stream.write_all(began.0.as_bytes());
                for byte in began.1.bytes().take(began.1.len() - 1) {
                    if over.load(Ordering::Relaxed) || stream.write_all(&[byte]).is_err() {
                        sent_away += 1;
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(40));
                }
            }
            sent_away
        };
        let clients: Vec<_> = (0..count).map(|_| scope.spawn(drip)).collect();
        std::thread::sleep(Duration::from_millis(300));
        during();
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn clients_that_drip_their_requests_keep_nobody_out() {
    let server = narrow(8);
    let expected = server.said(&question("Hello?"));
    let whole = request(
        CHAT,
        "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        &question("Hello?").to_string(),
    );
    let head = whole.split_once("\r\n\r\n").unwrap().0;
    // Heads that don't come to their ends, and bodies.
    for asked in [head, &whole] {
        let sent_away = dripping(&server, 24, asked, || {
            let began = Instant::now();
            for _ in 0..10 {
                assert_eq!(server.said(&question("Hello?")), expected);
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        });
        assert!(sent_away >= 24, "{sent_away}");
    }
}

#[test]
fn clients_that_read_nothing_hold_up_nobody() {
    let server = Server::start();
    let mut body = long(16);
    body["stream"] = true.into();
    let asked = request(TEXT, "", &body.to_string());
    let mut deaf: Vec<TcpStream> = (0..4).map(|_| server.connect()).collect();
    deaf.iter_mut().for_each(|stream| stream.write_all(asked.as_bytes()).unwrap());
    until(&server, "they run", |running, _| running > 32);
    assert!(!server.said(&question("Hello?")).is_empty());
    until(&server, "all have been answered", |running, waiting| running + waiting == 0);
    drop(deaf);
}

#[test]
fn the_end_does_not_wait_for_clients_that_do_nothing() {
    let server = narrow(16);
    let whole = request(CHAT, "", &question("Hello?").to_string());
    let mut idle = [server.connect(), server.connect(), server.connect()];
    idle[0].write_all(&whole.as_bytes()[..20]).unwrap();
    idle[1].write_all(&whole.as_bytes()[..whole.len() - 1]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    assert!(server.end().finished);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
