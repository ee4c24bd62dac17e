//! Who gets a thread when.

use std::net::IpAddr;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::*;
use crate::clock::ManualClock;

fn pool(threads: usize, share: usize) -> Pool {
    Pool::start("test", threads, share, Arc::new(ManualClock::new())).unwrap()
}

fn owner(n: u8) -> Option<Owner> {
    Some(Owner::from(IpAddr::from([10, 0, 0, n])))
}

/// Jobs that say that they have begun, and go on until they are let go.
struct Jobs {
    begun: Sender<u8>,
    begins: Receiver<u8>,
    hold: Option<Sender<()>>,
    held: Receiver<()>,
}

impl Jobs {
    fn new() -> Self {
        let (begun, begins) = unbounded();
        let (hold, held) = bounded(0);
        Self {
            begun,
            begins,
            hold: Some(hold),
            held,
        }
    }

    fn job(&self, n: u8) -> impl FnOnce() + Send + 'static {
        let (begun, held) = (self.begun.clone(), self.held.clone());
        move || {
            begun.send(n).unwrap();
            assert!(held.recv().is_err(), "until it is dropped");
        }
    }

    /// Those that have begun when so many have.
    fn running(&self, count: usize) -> Vec<u8> {
        let mut running: Vec<_> = self.begins.iter().take(count).collect();
        running.sort_unstable();
        running
    }

    /// Lets all go that have begun or will.
    fn let_go(&mut self) {
        self.hold = None;
    }
}

fn idle(pool: &Pool, count: usize) {
    while pool.shared.state.lock().idle != count {
        std::thread::yield_now();
    }
}

#[test]
fn neither_an_inbox_nor_an_owner_has_more_than_half_of_the_threads() {
    let pool = pool(4, 25);
    let mut jobs = Jobs::new();
    let half = Inbox::new("half", Threads::Half, 10);
    let other = Inbox::new("other", Threads::Half, 10);
    for n in 1..=5 {
        pool.run(&half, owner(n), jobs.job(n));
    }
    assert_eq!(jobs.running(2), [1, 2]);
    idle(&pool, 2);
    assert_eq!(half.waiting_and_running(), (3, 2));
    pool.run(&other, owner(1), jobs.job(11));
    assert_eq!(jobs.running(1), [11]);
    // He has half of the threads now, in two inboxes.
    pool.run(&other, owner(1), jobs.job(12));
    idle(&pool, 1);
    pool.run(&other, owner(3), jobs.job(13));
    assert_eq!(jobs.running(1), [13]);
    jobs.let_go();
    assert_eq!(jobs.running(4), [3, 4, 5, 12]);
}

#[test]
fn all_threads_are_for_one_owner_where_shares_are_off() {
    let pool = pool(3, 100);
    let jobs = Jobs::new();
    let inbox = Inbox::new("all", Threads::All, 10);
    for n in 1..=3 {
        pool.run(&inbox, owner(1), jobs.job(n));
    }
    assert_eq!(jobs.running(3), [1, 2, 3]);
    drop(jobs);
}

#[test]
fn owners_take_turns_and_so_do_inboxes() {
    let pool = pool(1, 25);
    let mut jobs = Jobs::new();
    let (a, b) = (
        Inbox::new("a", Threads::Half, 10),
        Inbox::new("b", Threads::Half, 10),
    );
    pool.run(&a, None, jobs.job(0));
    assert_eq!(jobs.running(1), [0]);
    for n in 1..=3 {
        pool.run(&a, owner(1), jobs.job(n));
    }
    pool.run(&a, owner(2), jobs.job(21));
    pool.run(&a, None, jobs.job(31));
    for n in 101..=102 {
        pool.run(&b, owner(1), jobs.job(n));
    }
    jobs.let_go();
    let order: Vec<_> = jobs.begins.iter().take(7).collect();
    assert_eq!(order, [1, 101, 21, 102, 31, 2, 3]);
}

#[test]
fn jobs_of_an_inbox_for_one_thread_follow_one_another() {
    let pool = pool(4, 100);
    let inbox = Inbox::new("one", Threads::One, 100);
    let (done, finished) = unbounded();
    let busy = Arc::new(AtomicUsize::new(0));
    for n in 0..50 {
        let (done, busy) = (done.clone(), Arc::clone(&busy));
        pool.run(&inbox, owner(1), move || {
            assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
            done.send(n).unwrap();
            busy.fetch_sub(1, Ordering::SeqCst);
        });
    }
    let order: Vec<_> = finished.iter().take(50).collect();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

#[test]
fn an_inbox_has_a_bound_and_owners_a_share_of_it() {
    let pool = pool(1, 25);
    let mut jobs = Jobs::new();
    let inbox = Inbox::new("bounded", Threads::Half, 8);
    let submit = |who, n| pool.submit(&inbox, who, n, |n| assert!(n > 0));
    pool.run(&inbox, None, jobs.job(0));
    assert_eq!(jobs.running(1), [0]);
    assert_eq!((submit(owner(1), 1), submit(owner(1), 2)), (Ok(()), Ok(())));
    assert_eq!(submit(owner(1), 3), Err(3), "a quarter of eight are two");
    for n in 4..=8 {
        assert_eq!(submit(None, n), Ok(()), "the embedder has no share");
    }
    assert_eq!(submit(owner(2), 9), Ok(()));
    assert_eq!(submit(owner(3), 10), Err(10));
    assert_eq!(inbox.waiting_and_running(), (8, 1));
    jobs.let_go();
    while inbox.waiting_and_running() != (0, 0) {
        std::thread::yield_now();
    }
    assert_eq!(submit(owner(1), 1), Ok(()), "there is room again");
}

#[test]
fn a_turn_is_over_when_others_wait_and_some_time_has_passed() {
    let clock = Arc::new(ManualClock::new());
    let pool = Pool::start("test", 1, 25, Arc::clone(&clock) as _).unwrap();
    let jobs = Jobs::new();
    let inbox = Inbox::new("a", Threads::Half, 10);
    pool.run(&inbox, None, jobs.job(0));
    assert_eq!(jobs.running(1), [0]);
    let turn = pool.turn();
    clock.advance(TURN);
    assert!(!turn.is_over(), "nobody waits");
    pool.run(&inbox, None, jobs.job(1));
    assert!(turn.is_over());
    assert!(!pool.turn().is_over(), "it has just begun");
    drop(jobs);
}

#[test]
fn what_is_stuck_is_told_once_a_minute() {
    let clock = Arc::new(ManualClock::new());
    let pool = Pool::start("test", 4, 25, Arc::clone(&clock) as _).unwrap();
    let jobs = Jobs::new();
    let inbox = Inbox::new("service /service/a", Threads::Half, 10);
    for n in 0..3 {
        pool.run(&inbox, owner(1), jobs.job(n));
    }
    assert_eq!(jobs.running(2), [0, 1]);
    let stuck = |pool: &Pool| pool.stuck(clock.now());
    assert_eq!(stuck(&pool), None);
    clock.advance(STUCK);
    let text = stuck(&pool).unwrap();
    for part in ["service /service/a", "10 s", "10.0.0.1", "2 of 4", "1 jobs"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    clock.advance(TELL_INTERVAL / 2);
    assert_eq!(stuck(&pool), None);
    clock.advance(TELL_INTERVAL / 2);
    assert!(stuck(&pool).is_some());
    drop(jobs);
}

#[test]
fn a_pool_survives_panics_and_finishes_what_it_has() {
    let (done, ended) = unbounded();
    let pool = pool(1, 25);
    let inbox = Inbox::new("a", Threads::Half, 10);
    for n in 0..4 {
        let done = done.clone();
        pool.run(&inbox, owner(1), move || {
            assert_ne!(n, 1, "a job fails");
            done.send(n).unwrap();
        });
    }
    drop((pool, done));
    // To its end also where the thread takes longer than a pool waits for it.
    assert_eq!(ended.iter().collect::<Vec<_>>(), [0, 2, 3]);
}
