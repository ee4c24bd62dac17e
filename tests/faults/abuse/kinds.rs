//! The kinds of abuse.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::refusals::refusals;
use super::wire::{End, Rude, Tally, in_threads};
use crate::common::http::request_bytes;

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Settings of the server.
    pub(crate) flags: &'static [&'static str],
    /// How long what the abusers leave behind may live.
    pub(crate) lifetime: Duration,
    pub(crate) run: fn(&Abuse<'_>),
}

/// One run of a kind.
pub(crate) struct Abuse<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) until: Instant,
    pub(crate) scale: &'a Scale,
    pub(crate) tally: &'a Tally,
}

/// How much and how long.
pub(crate) struct Scale {
    pub(crate) span: Duration,
    /// What the numbers of clients are divided by.
    divisor: usize,
    /// What limits of time are multiplied with.
    pub(crate) lenience: u32,
    /// Whether figures are printed.
    pub(crate) tells: bool,
}

impl Scale {
    pub(crate) fn full(span: Duration) -> Self {
        Self {
            span,
            divisor: 1,
            lenience: 1,
            tells: true,
        }
    }

    /// For a test on a busy machine.
    pub(crate) fn small() -> Self {
        Self {
            span: Duration::from_millis(300),
            divisor: 10,
            lenience: 5,
            tells: false,
        }
    }

    /// A pause that the fewer clients make shorter.
    fn shortened(&self, pause: Duration) -> Duration {
        pause / u32::try_from(self.divisor).expect("a small number")
    }

    pub(crate) fn few(&self, count: usize) -> usize {
        count.div_ceil(self.divisor)
    }
}

impl Abuse<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.until
    }
}

/// The time that the settings below give slow peers, and what may come on top of it.
const TIMEOUT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(3);
/// Longer than any of that: who waits so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that a refusal may take.
const AT_ONCE: Duration = Duration::from_secs(1);

const SLOW_PEERS: &[&str] = &[
    "--header-timeout=2s",
    "--body-timeout=2s",
    "--write-timeout=2s",
    "--idle-timeout=2s",
    "--timeout=2s",
    "--max-interval=2s",
];

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "half",
        about: "half a head or half a body, then silence, one after the other",
        flags: SLOW_PEERS,
        lifetime: TIMEOUT,
        run: |abuse| half_requests(abuse, 2),
    },
    Kind {
        name: "halves",
        about: "1,000 of these at a time",
        flags: SLOW_PEERS,
        lifetime: TIMEOUT,
        run: |abuse| half_requests(abuse, 1000),
    },
    Kind {
        name: "readers",
        about: "50 sessions that have 1 MB a second sent to them, and read nothing",
        flags: SLOW_PEERS,
        lifetime: Duration::from_secs(5),
        run: stopped_readers,
    },
    Kind {
        name: "handshakes",
        about: "10,000 handshakes and no more",
        flags: SLOW_PEERS,
        lifetime: TIMEOUT,
        run: handshakes,
    },
    Kind {
        name: "overflow",
        about: "50 sessions that are subscribed and never poll, 1,000 messages a second for them",
        flags: &[
            "--max-queue-messages=100",
            "--max-interval=2s",
            "--timeout=2s",
        ],
        lifetime: Duration::from_secs(4),
        run: overflow,
    },
    Kind {
        name: "refusals",
        about: "everything that is refused, in a loop",
        flags: SLOW_PEERS,
        lifetime: TIMEOUT,
        run: refused,
    },
];

fn half_requests(abuse: &Abuse<'_>, count: usize) {
    let Abuse { address, tally, .. } = *abuse;
    let half_head = b"POST /cometd HTTP/1.1\r\nHost: x\r\nContent-".to_vec();
    let half_body = request_bytes("POST", "/cometd", "Content-Length: 100\r\n", b"");
    let half_body = [half_body, b"[{\"chan".to_vec()].concat();
    let count = abuse.scale.few(count);
    in_threads(count, |n| {
        // They come one after the other, and so they do again when their time is up.
        std::thread::sleep(
            abuse
                .scale
                .shortened(TIMEOUT)
                .mul_f64(n as f64 / count as f64),
        );
        let (what, bytes) = if n % 2 == 0 {
            ("half a head", &half_head)
        } else {
            ("half a body", &half_body)
        };
        loop {
            let Some(mut rude) = Rude::open(address) else {
                return tally.fault(format!("{what}: no connection"));
            };
            rude.send(bytes, PATIENCE);
            let end = rude.end(PATIENCE);
            let took = rude.since.elapsed();
            tally.note(what, end, took, LIMIT);
            if end != End::Answered(408) {
                tally.fault(format!("{what}: {end:?} is no 408"));
            }
            if !rude.closed(Duration::from_secs(1)) {
                tally.fault(format!("{what}: answered and not closed"));
            }
            if abuse.is_over() {
                return;
            }
        }
    });
}

/// Each publishes to itself, so that every request brings its message back, and reads nothing.
/// Sooner or later the server can write no more, reads no more, and gives up.
fn stopped_readers(abuse: &Abuse<'_>) {
    // Not the traffic is the abuse, but what waits to be read.
    let pause = abuse.scale.shortened(Duration::from_millis(200));
    let count = abuse.scale.few(50);
    in_threads(count, |n| {
        std::thread::sleep(pause.mul_f64(n as f64 / count as f64));
        while stopped_reader(abuse, n, pause) && !abuse.is_over() {}
    });
}

fn stopped_reader(abuse: &Abuse<'_>, n: usize, pause: Duration) -> bool {
    let Some((mut rude, id)) = subscribed(abuse.address, &format!("/fat/{n}")) else {
        abuse
            .tally
            .fault("a reader that stops: no session".to_owned());
        return false;
    };
    rude.reads_little();
    let data = "y".repeat(200_000);
    let body = format!(r#"[{{"channel":"/fat/{n}","clientId":"{id}","data":"{data}"}}]"#);
    let kind = "Content-Type: application/json\r\n";
    let request = request_bytes("POST", "/cometd", kind, body.as_bytes());
    // Until the buffers between the two are full.
    let mut stuck = Instant::now();
    while rude.send(&request, PATIENCE) {
        stuck = Instant::now();
        if stuck > abuse.until + PATIENCE {
            abuse
                .tally
                .fault("a reader that stops: never stuck".to_owned());
            return false;
        }
        std::thread::sleep(pause);
    }
    let took = stuck.elapsed();
    let end = if took < PATIENCE {
        End::Closed
    } else {
        End::Never
    };
    abuse.tally.note("a reader that stops", end, took, LIMIT);
    true
}

/// A session with a subscription, on a connection that goes on.
fn subscribed(address: SocketAddr, channel: &str) -> Option<(Rude, String)> {
    let mut rude = Rude::open(address)?;
    let id = rude.handshake()?;
    let body = format!(
        r#"[{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"{channel}"}},
        {{"channel":"/meta/connect","clientId":"{id}"}}]"#
    );
    rude.post(&body).filter(|reply| !reply.contains("false"))?;
    Some((rude, id))
}

fn handshakes(abuse: &Abuse<'_>) {
    const THREADS: usize = 4;
    let count = abuse.scale.few(10_000);
    let Abuse { address, tally, .. } = *abuse;
    let done = AtomicUsize::new(0);
    let pause = abuse
        .scale
        .span
        .mul_f64(0.8)
        .div_f64((count / THREADS) as f64);
    in_threads(THREADS, |_| {
        let Some(mut rude) = Rude::open(address) else {
            return tally.fault("a handshake: no connection".to_owned());
        };
        let begun = Instant::now();
        for n in 0..count / THREADS {
            let asked = Instant::now();
            let end = rude.handshake().map_or(End::Closed, |_| End::Answered(200));
            tally.note("a handshake", end, asked.elapsed(), AT_ONCE);
            if end == End::Closed {
                return tally.fault("a handshake: no reply".to_owned());
            }
            done.fetch_add(1, Ordering::Relaxed);
            let due = pause.mul_f64(n as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            if abuse.is_over() {
                break;
            }
        }
    });
}

/// Sessions whose queues overflow come back at once; a publisher keeps on.
fn overflow(abuse: &Abuse<'_>) {
    in_threads(3, |n| if n == 0 { flood(abuse) } else { lag(abuse) });
}

fn flood(abuse: &Abuse<'_>) {
    let Some((mut rude, id)) = subscribed(abuse.address, "/nothing") else {
        return abuse.tally.fault("the publisher: no session".to_owned());
    };
    let data = "z".repeat(100);
    let one = format!(r#"{{"channel":"/flood","clientId":"{id}","data":"{data}"}}"#);
    let ten = format!("[{}]", vec![one; 10].join(","));
    while !abuse.is_over() && rude.post(&ten).is_some() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lag(abuse: &Abuse<'_>) {
    loop {
        let asked = Instant::now();
        let sessions = (0..abuse.scale.few(25)).map(|_| subscribed(abuse.address, "/flood"));
        let all = sessions.collect::<Vec<_>>().iter().all(Option::is_some);
        let end = if all { End::Answered(200) } else { End::Never };
        abuse.tally.note(
            "a subscriber that never polls",
            end,
            asked.elapsed(),
            AT_ONCE,
        );
        if abuse.is_over() {
            return;
        }
        // A queue of 100 is full after a tenth of a second.
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn refused(abuse: &Abuse<'_>) {
    let Abuse { address, tally, .. } = *abuse;
    let table = refusals();
    in_threads(4, |n| {
        for (what, bytes, status) in table.iter().cycle().skip(n * 5) {
            let Some(mut rude) = Rude::open(address) else {
                return tally.fault(format!("{what}: no connection"));
            };
            rude.send(bytes, PATIENCE);
            let end = rude.end(PATIENCE);
            tally.note(what, end, rude.since.elapsed(), AT_ONCE);
            if end != End::Answered(*status) {
                tally.fault(format!("{what}: {end:?} instead of {status}"));
            }
            if abuse.is_over() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
