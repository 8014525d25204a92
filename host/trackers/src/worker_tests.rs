//! Trackers that are slow, fail or hang.

use std::sync::Mutex;
use std::time::SystemTime;

use super::*;
use crate::event::Status;

/// Does what a test says with each attempt, and keeps what it delivered.
struct Scripted {
    act: Box<dyn FnMut(usize) -> Result<(), Trouble> + Send>,
    attempts: usize,
    delivered: Arc<Mutex<Vec<String>>>,
}

impl Tracker for Scripted {
    fn wants_stages(&self) -> bool {
        true
    }

    fn take(&mut self, events: &[Arc<Event>], _: &Clock) -> Result<(), Trouble> {
        self.attempts += 1;
        (self.act)(self.attempts)?;
        let mut delivered = self.delivered.lock().expect("whole");
        delivered.extend(events.iter().map(|event| match event.as_ref() {
            Event::Stage { title, .. } => title.clone(),
            other => format!("{other:?}"),
        }));
        Ok(())
    }

    fn end(&mut self, ending: &Ending, _: &Clock) -> Result<(), Trouble> {
        self.delivered.lock().expect("whole").push(ending.status.name().into());
        Ok(())
    }
}

fn start(
    act: impl FnMut(usize) -> Result<(), Trouble> + Send + 'static,
) -> (Worker, Arc<Mutex<Vec<String>>>) {
    let delivered = Arc::<Mutex<Vec<String>>>::default();
    let tracker = Scripted { act: Box::new(act), attempts: 0, delivered: delivered.clone() };
    (Worker::start("test", Box::new(tracker)), delivered)
}

fn push(worker: &Worker, title: &str) {
    let event = Event::Stage { title: title.into(), at: SystemTime::now() };
    worker.push(&Arc::new(event));
}

fn end(worker: &Worker, time: Duration) -> Option<String> {
    let ending = Ending { status: Status::Finished, at: SystemTime::now(), figures: Vec::new() };
    worker.close(ending, Instant::now() + time);
    worker.wait()
}

fn busy() -> Trouble {
    Trouble { problem: "answered 503".into(), next: Next::Retry(None) }
}

#[test]
fn everything_arrives_in_order_and_the_end_comes_last() {
    let (worker, delivered) = start(|_| Ok(()));
    for number in 0..1000 {
        push(&worker, &number.to_string());
    }
    assert_eq!(end(&worker, Duration::from_secs(10)), None);
    let mut expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    expected.push("finished".into());
    assert_eq!(*delivered.lock().expect("whole"), expected);
    assert_eq!(worker.news(), None);
}

#[test]
fn trouble_that_passes_costs_nothing_and_is_told_once() {
    let (worker, delivered) = start(|attempt| if attempt < 3 { Err(busy()) } else { Ok(()) });
    push(&worker, "a");
    assert_eq!(end(&worker, Duration::from_secs(10)), None);
    assert_eq!(*delivered.lock().expect("whole"), ["a", "finished"]);
    let news = worker.news().expect("told");
    assert_eq!(news, "test: answered 503; it is tried again, and the run goes on");
    assert_eq!(worker.news(), None);
}

#[test]
fn trouble_that_lasts_ends_the_tracker_and_the_rest_is_counted() {
    let (worker, delivered) = start(|_| Err(Trouble::lasting("answered 401")));
    push(&worker, "a");
    while worker.news().is_none() {
        std::thread::yield_now();
    }
    push(&worker, "b");
    let started = Instant::now();
    let told = end(&worker, Duration::from_secs(10)).expect("told");
    assert!(started.elapsed() < Duration::from_secs(1));
    let expected = "test: 2 of 2 records were left out (answered 401); metrics.jsonl has them all";
    assert_eq!(told, expected);
    assert!(delivered.lock().expect("whole").is_empty());
}

#[test]
fn a_tracker_that_hangs_takes_a_bounded_queue_and_no_more_time_than_it_has() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (worker, delivered) = start(move |_| {
        held.recv().ok();
        Ok(())
    });
    let started = Instant::now();
    for number in 0..2 * QUEUE {
        push(&worker, &number.to_string());
    }
    let told = end(&worker, Duration::from_millis(300)).expect("told");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(told.contains(&format!("{0} of {0} records were left out", 2 * QUEUE)), "{told}");
    assert!(worker.shared.lock().queue.len() <= QUEUE);
    drop(release);
    assert!(delivered.lock().expect("whole").len() <= BATCH);
}

#[test]
fn the_end_of_a_run_cuts_a_long_wait_short() {
    let (worker, delivered) = start(|attempt| if attempt < 8 { Err(busy()) } else { Ok(()) });
    push(&worker, "a");
    // By now the usual wait is more than a second.
    std::thread::sleep(Duration::from_millis(2000));
    let started = Instant::now();
    assert_eq!(end(&worker, Duration::from_secs(20)), None);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(*delivered.lock().expect("whole"), ["a", "finished"]);
}

#[test]
fn a_tracker_that_panics_is_over_and_no_more() {
    let (worker, _) = start(|_| std::panic::resume_unwind(Box::new("no")));
    push(&worker, "a");
    let started = Instant::now();
    let told = end(&worker, Duration::from_secs(10)).expect("told");
    assert!(told.contains("1 of 1 records"), "{told}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_refused_is_left_out_alone() {
    let refused = || Trouble { problem: "answered 400".into(), next: Next::Skip };
    let (worker, delivered) =
        start(move |attempt| if attempt == 1 { Err(refused()) } else { Ok(()) });
    push(&worker, "a");
    while worker.news().is_none() {
        std::thread::yield_now();
    }
    push(&worker, "b");
    let told = end(&worker, Duration::from_secs(10)).expect("told");
    assert!(told.contains("1 of 2 records were left out (answered 400)"), "{told}");
    assert_eq!(*delivered.lock().expect("whole"), ["b", "finished"]);
}
