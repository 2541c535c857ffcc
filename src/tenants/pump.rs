//! The pump: each event of the shared stream into the queues that it concerns. A queue that is full holds up the others for a moment;
//! then its pipeline is cut off and goes on by itself.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::driver::Driver;
use super::place::Ended;
use crate::edges::{CaptureEvent, Catalog, ChangeStream, Failure, Lost};
use crate::model::{Change, Position, TableName};

/// How often positions are confirmed to the source, and it is looked who is too far behind.
const TICK: Duration = Duration::from_millis(100);

/// How long a look at the definitions of tables may hold up the stream.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// What follows when the stream is not followed any more.
enum Next {
    /// It ended.
    Lost(Failure),
    /// Somebody must be let in from an earlier position, or with other tables.
    Reopen,
    /// Nobody is there.
    Empty,
}

impl Driver {
    /// Follows the stream until it ends or nobody is there any more.
    pub async fn pump(&mut self, mut stream: Box<dyn ChangeStream>) {
        loop {
            match self.follow(&mut *stream).await {
                Next::Lost(failure) => return self.lose(&failure),
                Next::Empty => {
                    self.confirm(&mut *stream);
                    stream.close().await;
                    self.start = None;
                    return;
                }
                Next::Reopen => {
                    self.confirm(&mut *stream);
                    stream.close().await;
                    stream = match self.open_again().await {
                        Ok(stream) => stream,
                        Err(failure) => return self.lose(&failure),
                    };
                }
            }
        }
    }

    async fn follow(&mut self, stream: &mut dyn ChangeStream) -> Next {
        let mut gone = stream.lost();
        let mut tick = tokio::time::interval(TICK);
        loop {
            if !self.inside && self.attention {
                self.remove_places();
                let reopen = self.let_in_late() || self.widen;
                if reopen && self.reopened.elapsed() >= self.options.reopen_every {
                    return Next::Reopen;
                }
                // Who waits for the stream to be opened again is looked at again at each turn.
                self.attention = self.widen || self.places.iter().any(|place| place.want.is_some());
                if self.places.iter().all(|place| place.ties.is_none() && place.want.is_none()) {
                    return Next::Empty;
                }
            }
            // Dropping `next` loses nothing, so the other branches may win at any time.
            let event = tokio::select! {
                biased;
                command = self.received.recv() => {
                    match command {
                        Some(command) => self.handle(command),
                        None => return Next::Empty,
                    }
                    continue;
                }
                failure = &mut gone => return Next::Lost(failure),
                _ = tick.tick() => {
                    self.confirm(stream);
                    self.park();
                    continue;
                }
                event = stream.next() => event,
            };
            let routed = match event {
                Ok(event) => self.route(stream, &mut gone, event).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = routed {
                return Next::Lost(failure);
            }
        }
    }

    async fn route(
        &mut self,
        stream: &mut dyn ChangeStream,
        gone: &mut Lost,
        event: CaptureEvent,
    ) -> Result<(), Failure> {
        // One that has the source for itself is given everything.
        let alone = self.places.len() == 1;
        match event {
            CaptureEvent::Change(change) => {
                self.inside = true;
                let Some(targets) = self.targets.get(&change.relation.table).map(Arc::clone) else { return Ok(()) };
                for (nth, place) in targets.iter().enumerate() {
                    let found = &mut self.places[*place];
                    // A transaction whose commit begins before that ended before it.
                    if found.queue.is_none() || change.position < found.skip {
                        continue;
                    }
                    if !std::mem::replace(&mut found.touched, true) {
                        self.touched.push(*place);
                    }
                    if nth + 1 == targets.len() {
                        return self.deliver(stream, gone, *place, CaptureEvent::Change(change)).await;
                    }
                    self.deliver(stream, gone, *place, CaptureEvent::Change(change.clone())).await?;
                }
            }
            CaptureEvent::End { position, .. } => {
                let mut touched = std::mem::take(&mut self.touched);
                if let Some(waited) = self.everyone.fence_waited() {
                    let observers = touched.iter().filter_map(|place| self.places[*place].observer.as_ref());
                    observers.for_each(|observer| observer.on_fence(waited));
                }
                if alone && touched.is_empty() {
                    touched.push(0);
                }
                for place in touched.drain(..) {
                    let found = &mut self.places[place];
                    found.touched = false;
                    if found.queue.is_some() && position > found.skip {
                        self.deliver(stream, gone, place, event.clone()).await?;
                    }
                }
                self.touched = touched;
                self.inside = false;
                self.pass(position);
            }
            CaptureEvent::Idle { position } => {
                if alone && self.places[0].queue.is_some() && position > self.places[0].skip {
                    self.deliver(stream, gone, 0, event).await?;
                }
                self.inside = false;
                self.pass(position);
            }
            CaptureEvent::Marker { token, position } => {
                self.inside = true;
                self.attach(token, position);
                let whose = self.markers.iter().position(|(known, _)| *known == token);
                let whose = whose.and_then(|at| self.markers.remove(at)).and_then(|(_, tenant)| self.find(&tenant));
                if let Some(place) = whose
                    && self.places[place].queue.is_some()
                {
                    if !std::mem::replace(&mut self.places[place].touched, true) {
                        self.touched.push(place);
                    }
                    self.deliver(stream, gone, place, event).await?;
                }
            }
            CaptureEvent::Catalog { tables } => {
                self.known.extend(tables.iter().map(owned));
                for place in 0..self.places.len() {
                    let of_place = self.signs(place, &tables).await;
                    if !of_place.is_empty() {
                        self.deliver(stream, gone, place, CaptureEvent::Catalog { tables: of_place }).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The fingerprints of those tables that a pipeline captures, of the columns that it captures.
    async fn signs(&self, place: usize, tables: &Catalog) -> Catalog {
        let found = &self.places[place];
        let its = |name: &TableName| found.tables.iter().find(|table| table.table == *name);
        let mut signs: Catalog =
            tables.iter().filter(|(name, _)| found.queue.is_some() && its(name).is_some()).map(owned).collect();
        let exactly = |name: &TableName| its(name).is_some_and(|table| self.captured.contains(table));
        if signs.keys().all(exactly) {
            return signs;
        }
        // Others capture more of them. What cannot be asked now differs at the next start, and is assembled once more.
        if let Ok(Ok(start)) = tokio::time::timeout(LOOK_TIMEOUT, self.source.stand(&found.tables)).await {
            signs.extend(start.catalog.iter().filter(|(name, _)| tables.contains_key(*name)).map(owned));
        }
        signs
    }

    /// Whoever waits for this marker is among the others from here on.
    fn attach(&mut self, token: u64, position: Position) {
        let waits = |place: &super::place::Place| matches!(&place.joins_at, Some((at, _)) if *at == token);
        let Some(place) = self.places.iter().position(waits) else { return };
        let found = &mut self.places[place];
        if let Some((_, queue)) = found.joins_at.take() {
            if let Some(ties) = &found.ties {
                ties.goes_on();
            }
            tracing::debug!(pipeline = %found.name, %position, "the pipeline joins the others again");
            (found.queue, found.skip, found.hold) = (Some(queue), position, Some(position));
            self.aim();
        }
    }

    /// Puts an event into a queue; waits for room, for a while.
    async fn deliver(
        &mut self,
        stream: &mut dyn ChangeStream,
        gone: &mut Lost,
        place: usize,
        event: CaptureEvent,
    ) -> Result<(), Failure> {
        let Some(queue) = self.places[place].queue.clone() else { return Ok(()) };
        if let CaptureEvent::Change(Change { position, .. })
        | CaptureEvent::End { position, .. }
        | CaptureEvent::Idle { position } = &event
        {
            self.places[place].sent = self.places[place].sent.max(*position);
        }
        let mut sending = pin!(async move { queue.send(event).await });
        if let Some(sent) = sending.as_mut().now_or_never() {
            self.sent(place, sent);
            return Ok(());
        }
        let full_since = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => {
                    self.sent(place, sent);
                    return Ok(());
                }
                failure = &mut *gone => return Err(failure),
                Some(command) = self.received.recv() => self.handle(command),
                _ = tick.tick() => {
                    self.confirm(stream);
                    self.park();
                    if full_since.elapsed() >= self.options.detach_after && self.holds_up_others(place) {
                        self.cut(place);
                    }
                }
            }
            // It was cut off, parked, or left.
            if self.places[place].queue.is_none() {
                return Ok(());
            }
        }
    }

    fn sent(&mut self, place: usize, sent: bool) {
        if !sent {
            // Its stream is gone; what it had not confirmed is held until it comes again.
            self.places[place].queue = None;
            self.aim();
        }
    }

    fn holds_up_others(&self, place: usize) -> bool {
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != place);
        others.into_iter().any(|(_, other)| other.queue.is_some() || other.want.is_some())
    }

    fn cut(&mut self, place: usize) {
        let found = &mut self.places[place];
        tracing::info!(pipeline = %found.name, "the pipeline does not keep up, and no longer holds up its neighbours");
        found.take_out(Ended::Cut);
        self.aim();
        if self.places[place].wants_copy() {
            // Not the last ones: those are for pipelines that go on at once.
            if self.copies.available_permits() > self.options.copies_max / 2 {
                self.copy(place);
            }
        } else if let Some(copy) = &self.places[place].copy
            && let Some(ties) = &self.places[place].ties
        {
            // It had not confirmed all of what it read there, so that copy still serves.
            ties.copy.send_replace(Some(copy.name.clone()));
            self.places[place].hold = None;
        }
    }

    /// Confirms to the source what every pipeline has confirmed, or needs no more.
    fn confirm(&mut self, stream: &mut dyn ChangeStream) {
        let passed = self.passed();
        let least = self.places.iter().filter_map(|place| place.held()).min().unwrap_or(passed).min(passed);
        if least > self.confirmed {
            self.confirmed = least;
            stream.confirm(least);
        }
    }

    /// Nothing is kept any longer for pipelines that are too far behind.
    fn park(&mut self) {
        let passed = self.passed();
        for place in 0..self.places.len() {
            let found = &mut self.places[place];
            let Some(lag) = found.lag(passed) else { continue };
            if lag <= found.max_lag || found.parked {
                found.over_since = None;
                // What is kept for somebody who is away is not to be read again by the others whenever the stream is opened.
                if lag > self.options.rewind_within
                    && found.wants_copy()
                    && !found.copying
                    && self.copies.available_permits() > self.options.copies_max / 2
                {
                    self.copy(place);
                }
                continue;
            }
            if found.over_since.get_or_insert_with(Instant::now).elapsed() < self.options.park_after {
                continue;
            }
            let max_lag = found.max_lag;
            tracing::warn!(
                pipeline = %found.name, lag_bytes = lag, max_lag,
                "the pipeline is parked: no changes are kept for it any more; when it can go on, all its documents are assembled again"
            );
            found.parked = true;
            found.hold = None;
            found.take_out(Ended::Parked(format!("it was {lag} bytes behind, over its max_lag of {max_lag}")));
            if found.ties.is_none() {
                self.drop_copy(place);
            }
            self.aim();
        }
    }
}

fn owned((table, sign): (&TableName, &String)) -> (TableName, String) {
    (table.clone(), sign.clone())
}
