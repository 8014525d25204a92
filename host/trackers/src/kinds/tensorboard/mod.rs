//! `[trackers.tensorboard]`: event files as TensorBoard reads them, one folder for each training.

mod config;
mod file;
mod proto;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use config::TensorBoardConfig;
use file::EventFile;

use crate::clock::Clock;
use crate::event::{About, Arm, Ending, Event, Status};
use crate::tracker::{Tracker, Trouble};

pub struct TensorBoard {
    /// The folder of the trainings.
    folder: PathBuf,
    about: About,
    files: BTreeMap<Arm, EventFile>,
}

impl TensorBoard {
    pub fn new(config: &TensorBoardConfig, about: &About) -> Self {
        let folder = match &config.dir {
            None => about.folder.join("tensorboard"),
            // One folder is for many runs.
            Some(dir) => dir.join(file_name(&about.name)),
        };
        Self { folder, about: about.clone(), files: BTreeMap::new() }
    }

    /// The file of a training, begun if need be.
    fn file(&mut self, arm: Arm, at: SystemTime) -> Result<&mut EventFile, Trouble> {
        if !self.files.contains_key(&arm) {
            let folder = self.folder.join(arm.name());
            let mut file = EventFile::create(&folder).map_err(|error| cannot(&folder, &error))?;
            file.add(&proto::version(at));
            if file.is_first() {
                let config = proto::table(&self.about.parameters);
                file.add(&proto::text(at, 0, "config", &config));
                file.add(&proto::text(at, 0, "run", &proto::table(&self.about.tags)));
                file.add(&proto::session_start(at, &self.about));
            }
            self.files.insert(arm, file);
        }
        self.files.get_mut(&arm).ok_or_else(|| Trouble::lasting("has no file"))
    }

    fn add(&mut self, event: &Event) -> Result<(), Trouble> {
        match event {
            Event::Training { arm, step, at } => {
                let resumed = self.about.resumed;
                let file = self.file(*arm, *at)?;
                if resumed {
                    file.add(&proto::restart(*at, *step));
                }
            }
            Event::Scalars { arm, step, at, values } => {
                self.file(*arm, *at)?.add(&proto::scalars(*at, *step, values));
            }
            Event::Text { arm, step, at, name, text } => {
                self.file(*arm, *at)?.add(&proto::text(*at, *step, name, text));
            }
            Event::Stage { .. } => {}
        }
        Ok(())
    }

    fn write(&mut self, clock: &Clock) -> Result<(), Trouble> {
        for file in self.files.values_mut() {
            // The owner of the run has signed by then what is in its folder.
            if clock.is_over() {
                return Err(Trouble::lasting("there was no time to write it"));
            }
            file.write().map_err(|error| cannot(file.path(), &error))?;
        }
        Ok(())
    }
}

impl Tracker for TensorBoard {
    fn take(&mut self, events: &[Arc<Event>], clock: &Clock) -> Result<(), Trouble> {
        events.iter().try_for_each(|event| self.add(event))?;
        self.write(clock)
    }

    fn end(&mut self, ending: &Ending, clock: &Clock) -> Result<(), Trouble> {
        for file in self.files.values_mut() {
            file.add(&proto::text(ending.at, 0, "status", ending.status.name()));
            let succeeded = matches!(ending.status, Status::Finished | Status::Stopped);
            file.add(&proto::session_end(ending.at, succeeded));
        }
        self.write(clock)
    }
}

fn cannot(path: &std::path::Path, error: &std::io::Error) -> Trouble {
    let advice = host_files::advice(error);
    Trouble::lasting(format!("cannot write {}: {error}{advice}", path.display()))
}

/// A name as one folder of a path.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_+. ".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).take(100).collect();
    let name = name.trim_start_matches('.').trim();
    if name.is_empty() { "run".into() } else { name.into() }
}

#[cfg(test)]
mod tests;
