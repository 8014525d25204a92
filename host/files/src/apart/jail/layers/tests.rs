//! What an intruder would try first, outside of each layer and inside.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    process::{Child, Command},
    sync::Mutex,
    thread,
};

use super::*;

/// What the attempts need from outside.
struct World {
    folder: tempfile::TempDir,
    _tcp: TcpListener,
    address: SocketAddr,
    _unix: UnixListener,
    open: fs::File,
    neighbour: Mutex<Child>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "s").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: tcp.local_addr().unwrap(),
            _tcp: tcp,
            _unix: UnixListener::bind(folder.path().join("socket")).unwrap(),
            open: fs::File::create(folder.path().join("open")).unwrap(),
            neighbour: Mutex::new(Command::new("sleep").arg("1000").spawn().unwrap()),
            folder,
        }
    }

    /// Everything that works.
    fn attempts(&self) -> Vec<&'static str> {
        let at = |name: &str| self.folder.path().join(name);
        let core = crate::ulimit::Resource::CORE;
        let (soft, hard) = core.get().unwrap();
        let all = [
            ("read a file", fs::read(at("secret")).is_ok()),
            ("list a folder", fs::read_dir(self.folder.path()).is_ok()),
            ("make a file", fs::write(at("new"), "x").is_ok()),
            ("make a folder", fs::create_dir(at("folder")).is_ok()),
            ("make a link", symlink("/", at("link")).is_ok()),
            ("remove a file", fs::remove_file(at("new")).is_ok()),
            ("read its own memory", fs::File::open("/proc/self/mem").is_ok()),
            ("run a program", Command::new("/bin/true").status().is_ok()),
            ("connect by TCP", TcpStream::connect(self.address).is_ok()),
            ("listen on TCP", TcpListener::bind("127.0.0.1:0").is_ok()),
            ("end a neighbour", self.neighbour.lock().unwrap().kill().is_ok()),
            ("send by UDP", UdpSocket::bind("127.0.0.1:0").is_ok()),
            ("connect to a socket", UnixStream::connect(at("socket")).is_ok()),
            ("write to an inherited file", (&self.open).write(b"x").is_ok()),
            ("cut an inherited file", self.open.set_len(0).is_ok()),
            ("set its limits", core.set(soft, hard).is_ok()),
        ];
        all.into_iter().filter(|(_, works)| *works).map(|(name, _)| name).collect()
    }

    /// What works for a thread that locked itself in.
    fn inside(&self, lock: impl Fn() + Sync) -> Vec<&'static str> {
        let attempts = || {
            lock();
            // What a job needs still works.
            assert_eq!(thread::spawn(|| vec![1u8; 1 << 20].len()).join().unwrap(), 1 << 20);
            self.attempts()
        };
        thread::scope(|scope| scope.spawn(attempts).join().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let neighbour = self.neighbour.get_mut().unwrap();
        let _ = neighbour.kill().and_then(|()| neighbour.wait());
    }
}

#[test]
fn outside_everything_works() {
    assert_eq!(World::new().attempts().len(), 16);
}

#[test]
fn the_filter_of_system_calls_alone_stops_everything() {
    for task in [Task::Read, Task::Run] {
        let world = World::new();
        let open = inherited();
        let works = world.inside(|| seccomp(task, &open).unwrap());
        assert!(works.is_empty(), "{task:?}: {works:?}");
    }
}

#[test]
fn what_only_loading_needs_is_taken_back_once_and_for_all() {
    let world = World::new();
    let open = inherited();
    let works = world.inside(|| {
        seccomp(Task::Run, &open).unwrap();
        close().unwrap();
        assert!(close().is_err(), "not even a filter can be added");
    });
    assert!(works.is_empty(), "{works:?}");
}

#[test]
fn landlock_alone_stops_files_and_connections() {
    let entered = thread::spawn(landlock).join().unwrap();
    if let Err(why) = entered {
        eprintln!("not tried: landlock: {why}");
        return;
    }
    let works = World::new().inside(|| landlock().unwrap());
    // The first ten need a file or TCP, the eleventh a signal.
    let left = [
        "send by UDP",
        "connect to a socket",
        "write to an inherited file",
        "cut an inherited file",
        "set its limits",
    ];
    assert_eq!(works, left);
}

#[test]
fn a_worker_has_no_privileges_and_every_layer() {
    for task in [Task::Read, Task::Run] {
        let world = World::new();
        let works = world.inside(|| {
            let jail = super::super::enter(task);
            assert_eq!(jail.holds, ["no privileges", "landlock", "seccomp"], "{jail}");
        });
        assert!(works.is_empty(), "{task:?}: {works:?}");
    }
    let privileges = thread::spawn(|| {
        drop_privileges().unwrap();
        let sets = [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient];
        sets.map(|set| caps::read(None, set).unwrap().len())
    });
    assert_eq!(privileges.join().unwrap(), [0; 4]);
}
