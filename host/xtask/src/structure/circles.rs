//! Circles between modules that stand side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::modules::{Arrow, Crate, Module};

/// Stands for the file of the room itself beside those of its parts.
const FACADE: &str = "(self)";

/// Modules of one room each of which needs all the others, by way of one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Circle {
    /// The crate, and the module in it, whose parts these are.
    pub room: String,
    pub parts: Vec<String>,
    /// For each arrow of the circle one line of code that draws it.
    pub because: Vec<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.room, self.parts.join(" <-> "))
    }
}

/// Whether a room's own file counts as one of its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Facade {
    /// It may hold what its parts share, and use them.
    Apart,
    Counts,
}

/// All circles of a crate: between its top modules, and inside each of them between its parts.
pub fn of(one: &Crate, facade: Facade) -> Vec<Circle> {
    let arrows = one.arrows();
    let mut rooms: BTreeSet<Module> = BTreeSet::new();
    for module in one.files.keys() {
        rooms.extend((0..module.len()).map(|depth| module[..depth].to_vec()));
    }
    rooms.iter().flat_map(|room| in_room(one, room, &arrows, facade)).collect()
}

fn in_room(one: &Crate, room: &Module, arrows: &[Arrow], facade: Facade) -> Vec<Circle> {
    // Part to part, and the first line of code that says so.
    let mut graph: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for arrow in arrows {
        let (Some(from), Some(to)) = (part(&arrow.from, room), part(&arrow.to, room)) else {
            continue;
        };
        let is_apart = facade == Facade::Apart && [from, to].contains(&FACADE);
        if from != to && !is_apart {
            let place = arrow.file.file_name().unwrap_or_default().to_string_lossy();
            let line = || format!("{from} -> {to}: {place} names {}", arrow.path);
            graph.entry(from).or_default().entry(to).or_insert_with(line);
        }
    }
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|part| (*part, reached(&graph, part))).collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for (part, far) in &reach {
        if done.contains(part) {
            continue;
        }
        let back = |other: &&&str| reach.get(**other).is_some_and(|far| far.contains(part));
        let parts: BTreeSet<&str> = far.iter().filter(back).copied().collect();
        if parts.len() < 2 {
            continue;
        }
        done.extend(parts.iter().copied());
        let inside = graph.iter().filter(|(from, _)| parts.contains(*from));
        let inside = inside.flat_map(|(_, to)| to.iter().filter(|(to, _)| parts.contains(*to)));
        circles.push(Circle {
            room: std::iter::once(&one.name).chain(room).cloned().collect::<Vec<_>>().join("::"),
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            because: inside.map(|(_, line)| line.clone()).collect(),
        });
    }
    circles
}

fn part<'a>(module: &'a Module, room: &Module) -> Option<&'a str> {
    let rest = module.strip_prefix(room.as_slice())?;
    Some(rest.first().map_or(FACADE, String::as_str))
}

fn reached<'a>(
    graph: &BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    from: &str,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(next) = open.pop() {
        for to in graph.get(next).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(*to) {
                open.push(to);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn found(files: &[(&str, &str)], facade: Facade) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let one = Crate::read("x", folder.path()).unwrap();
        of(&one, facade).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn circles_are_found_at_every_depth() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; pub use a::A;"),
            ("a.rs", "pub struct A; use crate::b;"),
            ("b/mod.rs", "mod d; mod e; fn f() { crate::c::g() }"),
            ("b/d.rs", "use super::e;"),
            ("b/e.rs", "use crate::b::d;"),
            ("c.rs", "use crate::A; pub fn g() {}"),
        ];
        assert_eq!(found(&files, Facade::Apart), ["x: a <-> b <-> c", "x::b: d <-> e"]);
        assert_eq!(found(&files[..1], Facade::Apart), [""; 0]);
    }

    #[test]
    fn a_facade_and_its_parts_are_told_apart() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; pub struct A; fn f() { b::g() }"),
            ("a/b.rs", "use super::A;"),
        ];
        assert_eq!(found(&files, Facade::Apart), [""; 0]);
        assert_eq!(found(&files, Facade::Counts), ["x::a: (self) <-> b"]);
    }
}
