//! The net: routers, links with frames under way, and what their handlers were given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::clock::{Clock, ManualClock};
use crate::link::error::LinkEnd;
use crate::link::hello::Peer;
use crate::link::message::Message;
use crate::link::router::{Answer, Claim, Delivery, Request, Router};
use crate::link::wire::{self, PREFIX};
use crate::link::{CallError, Event, Fault, Limits, LinkId, NodeId, PostError};

pub(super) struct Net {
    clock: ManualClock,
    pub(super) nodes: Vec<Site>,
    /// Links by their ends: the frames under way from the first to the second.
    wires: BTreeMap<(usize, usize), Wire>,
    next_link: u64,
    seed: u64,
    /// Frames that have been given to routers.
    pub(super) frames: u64,
    /// Bytes of them.
    pub(super) bytes: usize,
}

pub(super) struct Site {
    pub(super) router: Router,
    /// What handlers were given: alias, event, arguments, and by whom.
    pub(super) inbox: Vec<(String, Delivery)>,
    pub(super) events: Vec<Event>,
    ready: VecDeque<(Arc<str>, u64)>,
    /// Handlers are not run.
    pub(super) stuck: bool,
}

struct Wire {
    link: LinkId,
    far: LinkId,
    frames: VecDeque<Vec<u8>>,
}

pub(super) fn id(n: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(n + 1).unwrap(); 16])
}

pub(super) fn request<'a>(alias: &'a str, event: &'a str, args: &'a str) -> Request<'a> {
    Request {
        node: None,
        alias,
        sender: "",
        event,
        args,
    }
}

impl Net {
    pub(super) fn new(nodes: usize, limits: &Limits, seed: u64) -> Self {
        let clock = ManualClock::new();
        let site = |n| {
            let mut router = Router::new(id(n), &format!("n{n}"), limits.clone(), clock.now());
            router.events().observe(Arc::new(|_| {}));
            let (inbox, events, ready) = Default::default();
            Site {
                router,
                inbox,
                events,
                ready,
                stuck: false,
            }
        };
        Self {
            nodes: (0..nodes).map(site).collect(),
            clock,
            wires: BTreeMap::new(),
            next_link: 0,
            seed: seed * 2 + 1,
            frames: 0,
            bytes: 0,
        }
    }

    pub(super) fn random(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 20) as usize % below.max(1)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn is_linked(&self, a: usize, b: usize) -> bool {
        self.wires.contains_key(&(a, b))
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        let (one, two) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        let frames = VecDeque::new;
        self.wires.insert(
            (a, b),
            Wire {
                link: one,
                far: two,
                frames: frames(),
            },
        );
        self.wires.insert(
            (b, a),
            Wire {
                link: two,
                far: one,
                frames: frames(),
            },
        );
        for (at, with, link) in [(a, b, one), (b, a, two)] {
            let peer = Peer {
                id: id(with),
                name: format!("n{with}"),
                version: 1,
                features: Vec::new(),
                outgoing: at == a,
                max_frame: 1 << 20,
            };
            self.use_router(at, |router| router.link_up(link, peer))
                .unwrap();
        }
    }

    /// Cuts a link; what is under way is lost. Both ends notice it, if they do not know.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        for ends in [(a, b), (b, a)] {
            if let Some(wire) = self.wires.remove(&ends) {
                let end = LinkEnd::Closed;
                self.use_router(ends.0, |router| router.link_down(wire.link, end));
            }
        }
    }

    pub(super) fn use_router<T>(&mut self, at: usize, act: impl FnOnce(&mut Router) -> T) -> T {
        let now = self.clock.now();
        let site = &mut self.nodes[at];
        site.router.enter(now);
        let result = act(&mut site.router);
        let effects = site.router.take_effects();
        site.ready.extend(effects.run);
        while let Some((event, _)) = site.router.events().next() {
            site.events.push(event);
        }
        for link in effects.wake {
            let output = site.router.take_output(link);
            let more = site.router.take_effects();
            assert!(more.run.is_empty() && more.cut.is_empty());
            let ends = self
                .wires
                .iter()
                .find(|(ends, wire)| ends.0 == at && wire.link == link);
            let ends = ends.map(|(ends, _)| *ends);
            if let Some(wire) = ends.and_then(|ends| self.wires.get_mut(&ends)) {
                wire.frames.extend(split(&output));
            }
        }
        for (link, _) in effects.cut {
            let cut = self
                .wires
                .iter()
                .find(|(ends, wire)| ends.0 == at && wire.link == link);
            if let Some((&(a, b), _)) = cut {
                self.cut(a, b);
            }
        }
        result
    }

    pub(super) fn export(&mut self, at: usize, alias: &str) -> u64 {
        self.try_export(at, alias, false).unwrap()
    }

    pub(super) fn try_export(
        &mut self,
        at: usize,
        alias: &str,
        shared: bool,
    ) -> Result<u64, crate::link::ExportError> {
        let claim = if shared { Claim::Shared } else { Claim::Sole };
        self.export_as(at, alias, claim)
    }

    pub(super) fn export_as(
        &mut self,
        at: usize,
        alias: &str,
        claim: Claim,
    ) -> Result<u64, crate::link::ExportError> {
        let handler = Arc::new(|_: Message| {});
        self.use_router(at, |router| router.export(alias, claim, handler))
    }

    pub(super) fn post(&mut self, at: usize, alias: &str, n: u64) -> Result<(), PostError> {
        let args = n.to_string();
        self.use_router(at, |router| router.post(&request(alias, "n", &args), false))
    }

    pub(super) fn call(&mut self, at: usize, alias: &str, time: Duration) -> Receiver<Answer> {
        let (waiter, answer) = crossbeam_channel::bounded(1);
        let request = request(alias, "ask", "null");
        self.use_router(at, |router| router.call(&request, time, false, waiter))
            .unwrap();
        answer
    }

    /// One step of one node or one link; `false`: there is nothing to do but to wait.
    pub(super) fn step(&mut self) -> bool {
        let busy: Vec<(usize, usize)> = self
            .wires
            .iter()
            .filter(|(_, wire)| !wire.frames.is_empty())
            .map(|(ends, _)| *ends)
            .collect();
        let ready: Vec<usize> = (0..self.nodes.len())
            .filter(|n| !self.nodes[*n].ready.is_empty() && !self.nodes[*n].stuck)
            .collect();
        if busy.is_empty() && ready.is_empty() {
            return false;
        }
        let chosen = self.random(busy.len() + ready.len());
        match busy.get(chosen) {
            Some(&(from, to)) => self.pass(from, to),
            None => self.handle(ready[chosen - busy.len()]),
        }
        true
    }

    fn pass(&mut self, from: usize, to: usize) {
        let wire = self.wires.get_mut(&(from, to)).unwrap();
        let (far, frame) = (wire.far, wire.frames.pop_front().unwrap());
        self.frames += 1;
        self.bytes += frame.len();
        let result = self.use_router(to, |router| router.frame(far, &frame));
        result.unwrap_or_else(|end| panic!("{from} -> {to}: {end}"));
    }

    /// Handles one message of one alias: calls are answered with the name of the node.
    fn handle(&mut self, at: usize) {
        let Some((alias, token)) = self.nodes[at].ready.pop_front() else {
            return;
        };
        let next = self.use_router(at, |router| router.next_delivery(&alias, token));
        let Some((_, delivery)) = next else {
            return;
        };
        let (from, tag) = (delivery.from, delivery.tag());
        if let Some(call) = delivery.call {
            let answer = Ok(format!("\"n{at}\"").into());
            self.use_router(at, |router| router.answer(from, call, answer));
        }
        self.use_router(at, |router| router.finished(&alias, tag));
        self.nodes[at].inbox.push((alias.to_string(), delivery));
        self.nodes[at].ready.push_back((alias, token));
    }

    /// Until nothing more happens at this time.
    pub(super) fn settle(&mut self) {
        let before = self.frames;
        while self.step() {
            assert!(self.frames - before < 2_000_000, "it does not settle");
        }
    }

    /// Lets time pass, and everything happen in it.
    pub(super) fn pass_time(&mut self, time: Duration) {
        let end = self.now() + time;
        loop {
            self.settle();
            let due = self
                .nodes
                .iter()
                .filter_map(|site| site.router.next_deadline())
                .min();
            let next = due.filter(|due| *due <= end).unwrap_or(end);
            self.clock
                .advance(next.saturating_duration_since(self.now()));
            for at in 0..self.nodes.len() {
                self.use_router(at, Router::tick);
            }
            if due.is_none_or(|due| due > end) {
                break;
            }
        }
        self.settle();
    }

    /// The numbers that a node's alias got from another.
    pub(super) fn numbers(&self, at: usize, alias: &str, from: usize) -> Vec<u64> {
        let inbox = self.nodes[at].inbox.iter();
        let these = inbox.filter(|(a, d)| a == alias && d.from == id(from) && d.call.is_none());
        these
            .map(|(_, delivery)| delivery.args.parse().unwrap())
            .collect()
    }

    pub(super) fn owners(&self, at: usize, alias: &str) -> Vec<usize> {
        let owners = self.nodes[at].router.owners_of(alias);
        (0..self.nodes.len())
            .filter(|n| owners.contains(&id(*n)))
            .collect()
    }
}

pub(super) fn result(answer: &Receiver<Answer>) -> Option<Result<String, CallError>> {
    answer
        .try_recv()
        .ok()
        .map(|answer| answer.map(String::from))
}

pub(super) fn fault(result: Option<Result<String, CallError>>) -> Fault {
    match result {
        Some(Err(CallError::Fault(fault))) => fault,
        other => panic!("{other:?}"),
    }
}

/// The frames of a stream of bytes, without their lengths.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<PREFIX>() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        assert!(wire::decode(frame).is_ok());
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}
