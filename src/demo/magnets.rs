//! The service magnets: where on its board each magnet lies.
//!
//! - `{}` is answered with `{"n": 7, "magnets": [{"id": 0, "x": 250, "y": 500, "n": 7}, ...]}`:
//!   those that were moved, each with the number of its last move, and that of the last of all.
//! - `{"id": 0, "x": 250, "y": 500, "held": true, "by": "..."}` moves one; everybody is told on
//!   `/magnets/moved`, with the move's number `n`. `held` (still in somebody's hand) and `by` (a
//!   word by which a page knows its own moves) are passed on.
//! - `{"tidy": true}` takes all away from the board; told as `{"tidy": true, "n": 8}`.
//!
//! Calls are handled one after the other, so the last one wins, and whoever has subscribed before
//! it asks misses nothing. The state is as large as the board: [`MAGNETS`] places; it ends
//! with the process.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::broker::{Broker, LocalError, ServiceCall, ServiceError, ServiceReply, WeakBroker};

/// Most magnets of a board.
const MAGNETS: usize = 64;
/// The far edges of the board, whatever its size on a screen.
const EDGE: u16 = 1000;
/// Longest `by`, in bytes.
const BY: usize = 32;

const SERVICE: &str = "/service/magnets";
const MOVED: &str = "/magnets/moved";

/// A call: a move, tidying up, or a question.
#[derive(Deserialize)]
struct Call {
    id: Option<usize>,
    x: Option<u16>,
    y: Option<u16>,
    #[serde(default)]
    held: bool,
    #[serde(default)]
    by: String,
    #[serde(default)]
    tidy: bool,
}

/// Where a magnet lies, since which move.
#[derive(Clone, Copy, Serialize)]
struct Place {
    id: usize,
    x: u16,
    y: u16,
    n: u64,
}

struct Board {
    places: [Option<Place>; MAGNETS],
    moves: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            places: [None; MAGNETS],
            moves: 0,
        }
    }
}

/// Adds the service.
pub(super) fn install(broker: &Broker) -> Result<(), LocalError> {
    let board = Arc::new(Mutex::new(Board::default()));
    let weak = broker.downgrade();
    super::serve(broker, SERVICE, move |call: &ServiceCall<'_>| {
        serve(&board, &weak, call.data)
    })
}

fn serve(
    board: &Mutex<Board>,
    broker: &WeakBroker,
    data: &str,
) -> Result<Vec<ServiceReply>, ServiceError> {
    let call: Call = serde_json::from_str(data).map_err(|error| ServiceError(error.to_string()))?;
    let news = if call.tidy {
        Some(board.lock().tidy())
    } else if let Some(id) = call.id {
        Some(board.lock().put(id, &call)?)
    } else {
        None
    };
    let Some(news) = news else {
        return Ok(vec![ServiceReply::data(&board.lock().snapshot())?]);
    };
    // Not under the lock; the service is called for one client at a time, so the order holds.
    if let Some(broker) = broker.upgrade() {
        let told = broker.publish(MOVED, &news);
        told.map_err(|error| ServiceError(error.to_string()))?;
    }
    Ok(Vec::new())
}

impl Board {
    fn put(&mut self, id: usize, call: &Call) -> Result<Value, ServiceError> {
        let (Some(x), Some(y)) = (call.x, call.y) else {
            return Err("a place has x and y".into());
        };
        if id >= MAGNETS || x > EDGE || y > EDGE || call.by.len() > BY {
            return Err("no such magnet or place".into());
        }
        self.moves += 1;
        let n = self.moves;
        self.places[id] = Some(Place { id, x, y, n });
        Ok(json!({"id": id, "x": x, "y": y, "n": n, "held": call.held, "by": call.by}))
    }

    fn tidy(&mut self) -> Value {
        self.moves += 1;
        self.places = [None; MAGNETS];
        json!({"tidy": true, "n": self.moves})
    }

    fn snapshot(&self) -> Value {
        let magnets: Vec<_> = self.places.iter().flatten().collect();
        json!({"n": self.moves, "magnets": magnets})
    }
}
