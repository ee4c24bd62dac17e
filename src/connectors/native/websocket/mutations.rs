//! Hostile streams: seeded changes of good ones, and noise. The decoder must neither panic, nor
//! keep more than allowed, nor depend on how the bytes are cut.

use super::testing::{Frame, decode, feed};

const MAX: usize = 600;

/// A generator that needs no crate (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_260_509)
}

fn good_stream(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + dice.roll(5) {
        let text = "\u{e9}x\u{4e2d}".repeat(dice.roll(40));
        match dice.roll(5) {
            0 => bytes.extend(Frame::new(9, &text.as_bytes()[..text.len().min(125)]).bytes()),
            1 => bytes.extend(Frame::new(10, b"").bytes()),
            2 => {
                let (a, b) = text.as_bytes().split_at(dice.roll(text.len() + 1));
                bytes.extend(Frame::new(1, a).open().bytes());
                bytes.extend(Frame::new(9, b"between").bytes());
                bytes.extend(Frame::new(0, b).bytes());
            }
            3 => bytes.extend(Frame::new(8, [3, 0xe8]).bytes()),
            _ => bytes.extend(Frame::new(1, &text).bytes()),
        }
    }
    bytes
}

#[test]
fn mutated_streams_never_confuse() {
    let seed = seed();
    let mut dice = Dice(seed);
    let (mut refused, mut passed) = (0, 0);
    for round in 0..400 {
        let mut bytes = good_stream(&mut dice);
        for _ in 0..dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(4) {
                0 => bytes[at] ^= 1 << dice.roll(8),
                1 => bytes[at] = dice.roll(256) as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, dice.roll(256) as u8),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let outcome = std::panic::catch_unwind(|| decode(&bytes, MAX));
        match outcome {
            Ok((_, Ok(()))) => passed += 1,
            Ok((_, Err(_))) => refused += 1,
            Err(_) => panic!("SEED={seed}, round {round}: {bytes:02x?}"),
        }
    }
    assert!(
        refused > 50 && passed > 50,
        "{refused} refused, {passed} passed"
    );
}

#[test]
fn noise_is_refused() {
    let seed = seed();
    let mut dice = Dice(seed ^ 0x5555);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..200).map(|_| dice.roll(256) as u8).collect();
        let (_, result) = feed([&bytes[..]], MAX);
        let (_, again) = feed(bytes.chunks(3), MAX);
        assert_eq!(result, again, "SEED={seed}");
    }
}
