//! Places of connections, and who gives theirs up where all are taken.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// What everybody has to send a request.
const GRACE: Duration = Duration::from_millis(100);
/// The same at the end.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Places for so many connections. Where all are taken, the next one gets that of the connection that has had nothing
/// answered for longest: whoever opens connections and sends nothing, or a byte now and then, keeps nobody out.
pub struct Places {
    most: u32,
    free: Arc<Semaphore>,
    /// How long a request may be worked on before its connection counts as one that does nothing, such as one whose client
    /// takes a byte of its answer now and then.
    patience: Duration,
    seats: Mutex<Seats>,
    /// Told when a connection comes to have nothing answered.
    idle: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Seat>,
}

struct Seat {
    /// Since when it is as it is.
    since: Instant,
    works: bool,
    leave: Arc<Notify>,
}

/// The place of a connection; free again when it is dropped.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// A request that is worked on, until it is dropped.
pub struct Work {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub fn new(most: usize, patience: Duration) -> Arc<Self> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Arc::new(Self {
            most,
            free: Arc::new(Semaphore::new(most as usize)),
            patience,
            seats: Mutex::default(),
            idle: Notify::new(),
        })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, as soon as there is one.
    pub async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                return self.seat(permit);
            }
            self.ask_one_to_leave();
            // Somebody leaves, or may be asked to by now.
            let (mut free, mut idle) = (pin!(self.free.acquire()), pin!(self.idle.notified()));
            let _ = timeout(GRACE, select(free.as_mut(), idle.as_mut())).await;
        }
    }

    fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let leave = Arc::<Notify>::default();
        let mut seats = self.seats();
        let number = seats.next;
        seats.next += 1;
        let seat = Seat { since: Instant::now(), works: false, leave: leave.clone() };
        seats.taken.insert(number, seat);
        Place { places: self.clone(), number, leave, _permit: permit }
    }

    fn ask_one_to_leave(&self) {
        let seats = self.seats();
        let idle = seats.taken.values().filter(|seat| !seat.works && seat.since.elapsed() >= GRACE);
        let idle = idle.min_by_key(|seat| seat.since);
        let late = || {
            let working = seats.taken.values().filter(|seat| seat.since.elapsed() > self.patience);
            working.min_by_key(|seat| seat.since)
        };
        if let Some(seat) = idle.or_else(late) {
            seat.leave.notify_one();
        }
    }

    /// Whether all have left within a time. Those that have nothing answered have a moment.
    pub async fn all_leave(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut all = pin!(self.free.acquire_many(self.most));
        while Instant::now() < until {
            if let Either::Left(_) = select(all.as_mut(), pin!(sleep(LAST_GRACE))).await {
                return true;
            }
            let seats = self.seats();
            seats
                .taken
                .values()
                .filter(|seat| !seat.works)
                .for_each(|seat| seat.leave.notify_one());
        }
        false
    }

    fn works(&self, number: u64, works: bool) {
        if let Some(seat) = self.seats().taken.get_mut(&number) {
            (seat.since, seat.works) = (Instant::now(), works);
        }
        if !works {
            self.idle.notify_one();
        }
    }
}

impl Place {
    /// A request is there as a whole and is worked on from now on.
    pub fn work(&self) -> Work {
        self.places.works(self.number, true);
        Work { places: self.places.clone(), number: self.number }
    }

    /// Waits until somebody else needs the place.
    pub async fn is_needed(&self) {
        loop {
            self.leave.notified().await;
            // A request may have come since it was asked to leave.
            let seats = self.places.seats();
            let Some(seat) = seats.taken.get(&self.number) else { return };
            if !seat.works || seat.since.elapsed() > self.places.patience {
                return;
            }
            drop(seats);
            self.places.idle.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats().taken.remove(&self.number);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.places.works(self.number, false);
    }
}
