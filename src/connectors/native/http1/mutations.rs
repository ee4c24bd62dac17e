//! Seeded mutations of well-formed requests: whatever comes, nothing panics, limits hold, and the
//! way the bytes are cut makes no difference. `SEED=` replays one run.

use super::{Body, FieldSlots, Progress, Refusal, empty_lines, parse_head};

const HEAD_LIMIT: usize = 300;
const BODY_LIMIT: usize = 60;

const SEEDS: [&str; 6] = [
    "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n[{\"a\":\"b\"}]",
    "\r\nGET /?a=b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
     GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
     A;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\
     Expect: 100-continue\r\n\r\nx",
    "OPTIONS * HTTP/1.1\r\nHost:\r\nTE: trailers\r\n\
     Connection: close, te\r\nX-Long: 0123456789\r\n\r\n",
];

/// What gets a mutation in places that matter more often than random bytes would.
const SPLINTERS: [&[u8]; 14] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1",
    b"0\r\n\r\n",
    b"ffffffff",
    b"\t",
    b"\x7f",
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
];

/// A server's reading side: what it recognised, one entry per request.
#[derive(Debug, Default, PartialEq)]
struct Reader {
    requests: Vec<(String, Vec<u8>)>,
    refused: Option<Refusal>,
    open: Option<(String, Body)>,
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Reader {
    /// Takes what it can from `input`, of which `seen` bytes were there before.
    fn read(&mut self, input: &[u8], seen: usize) -> usize {
        let mut at = 0;
        while self.refused.is_none() {
            match self.step(&input[at..], seen.saturating_sub(at)) {
                Ok(0) => break,
                Ok(taken) => at += taken,
                Err(refusal) => self.refused = Some(refusal),
            }
        }
        at
    }

    fn step(&mut self, input: &[u8], seen: usize) -> Result<usize, Refusal> {
        if let Some((head, mut body)) = self.open.take() {
            let (taken, progress) = body.take(input)?;
            assert!(body.bytes().len() <= BODY_LIMIT);
            if progress == Progress::Complete {
                self.requests.push((head, body.bytes().to_vec()));
            } else {
                self.open = Some((head, body));
            }
            return Ok(taken);
        }
        let skipped = empty_lines(input);
        if skipped > 0 {
            return Ok(skipped);
        }
        let mut slots = FieldSlots::new();
        let Some(head) = parse_head(input, seen, HEAD_LIMIT, &mut slots)? else {
            return Ok(0);
        };
        assert!(head.len <= HEAD_LIMIT);
        let words = format!(
            "{} {} {:?} {}",
            head.method, head.target, head.framing, head.keep_alive
        );
        let body = Body::new(head.framing, BODY_LIMIT)?;
        if head.framing.is_empty() {
            self.requests.push((words, Vec::new()));
        } else {
            self.open = Some((words, body));
        }
        Ok(head.len)
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut bytes = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let again = bytes[at..].to_vec();
                bytes.extend_from_slice(&again);
            }
            _ => drop(bytes.splice(
                at..at,
                SPLINTERS[random.below(SPLINTERS.len())].iter().copied(),
            )),
        }
    }
    bytes
}

#[test]
fn cuts_make_no_difference() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    for round in 0..20_000 {
        let input = mutated(&mut random);
        let mut whole = Reader::default();
        let taken = whole.read(&input, 0);
        let (mut cut, mut start, mut end, mut seen) = (Reader::default(), 0, 0, 0);
        while end < input.len() && cut.refused.is_none() {
            end += 1 + random.below(input.len() - end);
            let consumed = cut.read(&input[start..end], seen);
            start += consumed;
            seen = end - start;
        }
        // A head without a line end is not looked at again until one comes; the whole was.
        start += cut.read(&input[start..end], 0);
        let text = String::from_utf8_lossy(&input);
        assert_eq!(cut, whole, "seed {seed}, round {round}: {text:?}");
        assert!(
            start == taken || cut.refused.is_some(),
            "seed {seed}, round {round}: {text:?}"
        );
    }
}

#[test]
fn the_seeds_themselves_are_served() {
    for seed in SEEDS {
        let mut reader = Reader::default();
        assert_eq!(reader.read(seed.as_bytes(), 0), seed.len());
        assert_eq!(
            (reader.refused, reader.requests.is_empty()),
            (None, false),
            "{seed:?}"
        );
    }
}
