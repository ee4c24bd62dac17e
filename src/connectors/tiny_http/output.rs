//! Writing responses through the library, so that errors are seen and bytes are ours.

use std::io::{self, Write};

use super::Shared;
use crate::broker::{Answer, Flight};
use crate::http::{Asked, DateCache, Finished, Format, Response};

/// Where the response to one request goes.
pub(super) struct Output {
    writer: Box<dyn Write + Send>,
    keep_alive: bool,
    http10: bool,
    head_only: bool,
    /// For the access log.
    asked: Option<Box<Asked>>,
}

impl Output {
    pub(super) fn new(
        writer: Box<dyn Write + Send>,
        keep_alive: bool,
        http10: bool,
        head_only: bool,
        asked: Option<Box<Asked>>,
    ) -> Self {
        Self {
            writer,
            keep_alive,
            http10,
            head_only,
            asked,
        }
    }

    /// Writes a response; blocks until the kernel has it, or the write timeout ends it.
    pub(super) fn send(self, shared: &Shared, response: Response, date: &mut DateCache) {
        let finished = Finished {
            response,
            flight: None,
            close: false,
        };
        self.finished(shared, finished, date);
    }

    /// Writes a response that user code has made, and tells its messages whether they arrived.
    pub(super) fn finished(mut self, shared: &Shared, finished: Finished, date: &mut DateCache) {
        let date = date.at(shared.clock.wall());
        self.keep_alive &= !finished.close;
        finished.flight.iter().for_each(Flight::stalled);
        match self.write_response(finished.response, date) {
            Ok(()) => {
                if let Some(flight) = finished.flight {
                    flight.delivered();
                }
            }
            Err(error) => {
                shared.counts.failed_writes.one();
                log::debug!("a response was not written: {error}");
            }
        }
    }

    fn write_response(&mut self, mut response: Response, date: &str) -> io::Result<()> {
        let mut out = Vec::new();
        response.write_head(date, self.keep_alive, self.http10, &mut out);
        if let Some(asked) = self.asked.take() {
            let body = if self.head_only {
                0
            } else {
                response.body.len()
            };
            asked.answered(response.status, out.len() as u64 + body);
        }
        if self.head_only {
            self.writer.write_all(&out)?;
            return self.writer.flush();
        }
        match response.body.in_memory() {
            Some(body) => {
                out.extend_from_slice(body);
                self.writer.write_all(&out)?;
            }
            None => {
                self.writer.write_all(&out)?;
                let mut piece = vec![0; PIECE];
                loop {
                    match response.body.read(&mut piece)? {
                        0 => break,
                        got => self.writer.write_all(&piece[..got])?,
                    }
                }
            }
        }
        self.writer.flush()
    }

    /// Writes an answer of the broker, and tells its messages whether they arrived.
    pub(super) fn answer(
        mut self,
        shared: &Shared,
        format: &Format,
        mut answer: Answer,
        date: &mut DateCache,
    ) {
        let mut out = Vec::new();
        let date = date.at(shared.clock.wall());
        format.write(
            &answer,
            &shared.site,
            date,
            self.keep_alive,
            self.http10,
            &mut out,
        );
        if let Some(asked) = self.asked.take() {
            asked.answered(answer.status.code(), out.len() as u64);
        }
        answer.flight.iter().for_each(Flight::stalled);
        match self
            .writer
            .write_all(&out)
            .and_then(|()| self.writer.flush())
        {
            Ok(()) => {
                if let Some(flight) = answer.flight.take() {
                    flight.delivered();
                }
            }
            Err(error) => {
                shared.counts.failed_writes.one();
                log::debug!("an answer was not written: {error}");
            }
        }
    }
}

/// Files are sent in pieces of so many bytes.
const PIECE: usize = 64 << 10;
