//! Run: the one task of a dispatcher. It owns the requests in flight, the connections and one timer, and drives them
//! all itself, so that an event costs no task of its own.
//!
//! A job waits first in, first out, and holds nothing but itself until, in this order: its lane has not given it up and
//! may send → the destination is not held and its gate is open → a token is there, where one is needed → a connection is there, or is dialled (which takes
//! slot and breaker too, but no permit; where one connection may carry many requests, one is dialled at a time) → a concurrency slot → the breaker → a permit of the rate limit. Then it is
//! rendered, signed and sent.
//!
//! A token that is refused (401) is renewed once, and the job sent again as if for the first time: that costs a permit,
//! for it was sent, but no attempt. Waiting for a token costs neither.
//!
//! Dialling comes before the permit: permits spent on slow handshakes would let the requests bunch later (I6).

use super::Job;
use super::attempt::{self, Exchange, Span, Tried};
use super::dispatcher::{Dispatcher, Waiting};
use super::error::Error;
use super::flight::{Ended, Flight, Log, Work};
use super::flights::Flights;
use super::judge::Verdict;
use super::precise;
use crate::destinations::connection::Credentials;
use crate::destinations::pool::{Connection, Pool};
use crate::destinations::rate::Decision;
use crate::destinations::stream::Wire;
use crate::destinations::token::Lease;
use crate::destinations::{Attempt, Passage};
use crate::model::clock::{Monotonic, WallMs};
use crate::model::outcome::Report;
use crate::model::request::Request;
use crate::telemetry::figures::destination::Wait;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Connections are dialled for the permits of this time ahead.
const DIAL_AHEAD: Duration = Duration::from_secs(1);
/// How often jobs of a lane that may not send now are looked at again.
const FENCE_RETRY: Duration = Duration::from_millis(100);
/// How often one asks again that nobody can wake.
const UNSEATED_RETRY: Duration = Duration::from_millis(5);
/// A job whose connections are closed that often before they can be used has failed.
const DIALS: u8 = 3;
/// Requests that may share one look at the clock: they take some 10 µs each.
const FRESH: u8 = 16;
/// Rounds of one poll, so that the other tasks of the worker get their turn.
const ROUNDS: usize = 16;

/// The state of the running task.
pub(super) struct Run<'a, J: Job> {
    pub(super) owner: &'a Dispatcher<J>,
    flights: Flights<Flight<'a, J>>,
    dialling: u32,
    /// The last dial failed.
    unreachable: bool,
    pool: Pool,
    /// What the first in the line waits for.
    pub(super) waits_for: Option<Wait>,
    /// When the line is next looked at for jobs that have waited too long.
    pub(super) looks_at: Option<Monotonic>,
    /// No deadline in flight is before this.
    alarm: Option<Monotonic>,
    /// Since when there has been nothing to do and no connection.
    rests: Option<Monotonic>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Monotonic>,
    /// The request that is rendered last; its buffers are used again.
    request: Request,
    /// The present on both clocks, as of a moment ago: see [`Run::present`].
    now: Monotonic,
    wall: WallMs,
    /// How often it is still good.
    fresh: u8,
}

/// What a round at the head of the line came to.
enum Next {
    /// Something happened: look again.
    Again,
    /// Nothing can be done before this moment, or before being woken.
    Wait(Option<Monotonic>),
}

impl<'a, J: Job> Run<'a, J> {
    pub(super) fn new(owner: &'a Dispatcher<J>) -> Self {
        Self {
            owner,
            flights: Flights::new(),
            dialling: 0,
            unreachable: false,
            pool: Pool::default(),
            waits_for: None,
            looks_at: None,
            alarm: None,
            rests: None,
            timer: Box::pin(sleep_until(Instant::from_std(Monotonic::default().instant()))),
            timer_at: None,
            request: Request::default(),
            now: Monotonic::default(),
            wall: WallMs::default(),
            fresh: 0,
        }
    }

    /// The present, shared by a few requests that begin or end one after the other.
    fn present(&mut self) -> Monotonic {
        if self.fresh == 0 {
            (self.now, self.wall, self.fresh) = (Monotonic::now(), WallMs::now(), FRESH);
        }
        self.fresh -= 1;
        self.now
    }

    /// Does what can be done now; ready when nothing is left and the dispatcher is closed or has rested for long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.listen(cx);
        let mut wait = None;
        for round in 0.. {
            self.owner.woken.set(false);
            if self.owner.cancel.replace(false) {
                self.cancel_abandoned();
            }
            self.fresh = 0;
            let now = self.present();
            self.expire(now);
            self.pool.drive(cx);
            while let Poll::Ready(Some(landed)) = self.flights.poll_next(cx) {
                if let Some((job, ended, log)) = landed {
                    self.land(job, ended, log);
                }
            }
            let flying = self.flights.len();
            wait = self.launch(cx);
            self.pool.drive(cx);
            if self.flights.len() == flying && !self.owner.woken.get() {
                break;
            }
            if round == ROUNDS {
                cx.waker().wake_by_ref();
                break;
            }
        }
        let now = Monotonic::now();
        self.owner.pace(now);
        let look = self.evacuate(now);
        self.owner.line.stands(self.owner.waiting(), self.waits_for, now);
        if self.owner.closing.get() && self.flights.is_empty() && self.owner.waiting() == 0 {
            return Poll::Ready(());
        }
        let keeps = self.owner.destination.keeps_idle();
        let idle = self.pool.tidy(now, keeps);
        if self.pool.is_empty() {
            self.flights.shrink();
        }
        let ends = self.resting_since(now).map(|since| since.plus(keeps));
        if ends.is_some_and(|ends| ends <= now) {
            return Poll::Ready(());
        }
        let blind = !self.owner.seat.can_be_woken() && self.owner.waiting() > 0;
        let ask = blind.then(|| now.plus(UNSEATED_RETRY));
        let wait = wait.filter(|at| !self.wakes_precisely(cx, *at));
        let next = [wait, self.alarm, idle, ends, ask, look].into_iter().flatten().min();
        self.sleep(cx, next);
        Poll::Pending
    }

    /// Since when there has been nothing to do and no connection, if there is not.
    fn resting_since(&mut self, now: Monotonic) -> Option<Monotonic> {
        let rests = self.flights.is_empty() && self.owner.waiting() == 0 && self.pool.is_empty();
        self.rests = rests.then(|| self.rests.unwrap_or(now));
        self.rests
    }

    /// Says where this task is to be woken.
    fn listen(&self, cx: &Context<'_>) {
        self.owner.seat.register(cx.waker());
        let mut waker = self.owner.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Whether it is woken for its next permit by a timer that can follow.
    fn wakes_precisely(&self, cx: &Context<'_>, at: Monotonic) -> bool {
        self.waits_for == Some(Wait::Rate)
            && self.owner.destination.limits().is_faster_than_timers()
            && precise::wake_at(at, cx.waker())
    }

    fn sleep(&mut self, cx: &mut Context<'_>, until: Option<Monotonic>) {
        let Some(until) = until else {
            self.timer_at = None;
            return;
        };
        if self.timer_at != Some(until) {
            self.timer.as_mut().reset(Instant::from_std(until.instant()));
            self.timer_at = Some(until);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.timer_at = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Starts what may start; returns when to look again, if only time can help.
    fn launch(&mut self, cx: &mut Context<'_>) -> Option<Monotonic> {
        let mut fenced = 0;
        loop {
            match self.launch_one(cx, &mut fenced) {
                Next::Again => {}
                Next::Wait(until) => return until,
            }
        }
    }

    fn launch_one(&mut self, cx: &mut Context<'_>, fenced: &mut usize) -> Next {
        let destination = &*self.owner.destination;
        let Some(waiting) = self.next_waiting() else {
            self.waits_for = None;
            self.leave();
            return Next::Wait(None);
        };
        let now = self.present();
        if !waiting.job.may_send(now) {
            let mut line = self.owner.waiting.borrow_mut();
            line.push_back(waiting);
            *fenced += 1;
            if *fenced < line.len() {
                return Next::Again;
            }
            self.waits_for = Some(Wait::Fence);
            return Next::Wait(Some(now.plus(FENCE_RETRY)));
        }
        if let Passage::Wait(until) = destination.is_open(now) {
            let wait = if until.is_some() { Wait::Gate } else { Wait::Hold };
            return self.step_back(waiting, None, wait, until);
        }
        let token = match destination.credentials(now) {
            Credentials::Ready(token) => token,
            Credentials::Wait(until) => return self.step_back(waiting, None, Wait::Token, until),
        };
        let connection = if waiting.fresh { None } else { self.pool.take(cx) };
        // What is being dialled may carry this one too. If that fails, they are tried side by side.
        let shares = destination.dialer().may_share() && !self.unreachable;
        if connection.is_none() && self.dialling > 0 && shares {
            return self.step_back(waiting, None, Wait::Connection, None);
        }
        // Without a connection, those being dialled come first; with one, only the permit counts.
        let (ahead, horizon) = if connection.is_some() { (0, Duration::ZERO) } else { (self.dialling, DIAL_AHEAD) };
        match destination.limits().peek(now, ahead, horizon) {
            Decision::Granted => {}
            Decision::WaitUntil(at) => {
                // The dial begins so much earlier than the permit comes.
                let at = Monotonic(at.0.saturating_sub(u64::try_from(horizon.as_nanos()).unwrap_or(0)));
                let at = destination.limits().ask_again(at, fastrand::f64());
                return self.step_back(waiting, connection, Wait::Rate, Some(at));
            }
            Decision::NoShare => return self.step_back(waiting, connection, Wait::NoShare, None),
        }
        if !destination.concurrency().acquire(&self.owner.seat) {
            return self.step_aside(waiting, connection, Wait::Concurrency, None);
        }
        let probe = match destination.pass(now) {
            Passage::Free { probe } => probe,
            Passage::Wait(until) => {
                self.give_back_slot();
                return self.step_back(waiting, connection, Wait::Breaker, until);
            }
        };
        match connection {
            None if waiting.dials >= DIALS => self.unreachable(waiting, probe, now),
            None => self.dial(waiting, probe, now),
            Some(connection) => match destination.limits().acquire(now) {
                Decision::Granted => self.send(waiting, connection, token.as_ref(), probe, now),
                Decision::WaitUntil(at) => {
                    self.give_back(probe, now);
                    let at = destination.limits().ask_again(at, fastrand::f64());
                    return self.step_back(waiting, Some(connection), Wait::Rate, Some(at));
                }
                Decision::NoShare => {
                    self.give_back(probe, now);
                    return self.step_back(waiting, Some(connection), Wait::NoShare, None);
                }
            },
        }
        Next::Again
    }

    /// The first that is not abandoned; the abandoned before it are returned.
    fn next_waiting(&self) -> Option<Waiting<J>> {
        loop {
            let waiting = self.owner.waiting.borrow_mut().pop_front()?;
            if !waiting.job.abandoned() {
                return Some(waiting);
            }
            waiting.job.returned();
        }
    }

    /// The job goes back to the head of the line, and this worker takes no part in the contest for slots.
    fn step_back(
        &mut self,
        waiting: Waiting<J>,
        connection: Option<Connection>,
        wait: Wait,
        until: Option<Monotonic>,
    ) -> Next {
        self.leave();
        self.step_aside(waiting, connection, wait, until)
    }

    fn step_aside(
        &mut self,
        waiting: Waiting<J>,
        connection: Option<Connection>,
        wait: Wait,
        until: Option<Monotonic>,
    ) -> Next {
        if let Some(connection) = connection {
            self.pool.put(connection, Monotonic::now());
        }
        self.owner.waiting.borrow_mut().push_front(waiting);
        self.waits_for = Some(wait);
        Next::Wait(until)
    }

    fn dial(&mut self, waiting: Waiting<J>, probe: bool, now: Monotonic) {
        let destination = &*self.owner.destination;
        let wire = Rc::new(Wire::default());
        let dialled = destination.dialer().dial_over(&self.owner.network, Rc::clone(&wire));
        self.dialling += 1;
        let work = Work::Dials(Box::pin(dialled));
        let log = self.log(now, &waiting, probe, true);
        self.take_off(Flight { job: Some(waiting.job), work, wire, log });
    }

    /// They take connections but close each before it can be used.
    fn unreachable(&self, waiting: Waiting<J>, probe: bool, now: Monotonic) {
        let destination = &*self.owner.destination;
        let log = self.log(now, &waiting, probe, false);
        let error = Error::Closed { host: destination.to().authority.to_owned() };
        let span = Span { sent: Some(log.sent), took: waiting.spent };
        let (verdict, report) = attempt::fail(destination, &error, span);
        self.settle(waiting.job, verdict, report, log);
    }

    fn send(
        &mut self,
        waiting: Waiting<J>,
        connection: Connection,
        token: Option<&Lease>,
        probe: bool,
        now: Monotonic,
    ) {
        let destination = &*self.owner.destination;
        let job = &waiting.job;
        self.request.clear();
        let (request, wall) = (&mut self.request, self.wall);
        let rendered = match job.render(&destination.reveal(), request) {
            Ok(()) => attempt::prepare(destination, request, job.idempotency_key(), token, wall)
                .map_err(|error| attempt::fail(destination, &error, Span { sent: None, took: Duration::ZERO }).1),
            Err(report) => Err(report),
        };
        match rendered {
            Ok(()) => {
                let exchange = Exchange::new(destination, connection, request);
                let wire = Rc::clone(exchange.wire());
                let token = token.map(Lease::generation);
                let log = Log { token, ..self.log(now, &waiting, probe, false) };
                self.take_off(Flight { job: Some(waiting.job), work: Work::Sends(exchange), wire, log });
            }
            Err(report) => {
                destination.limits().refund();
                self.give_back(probe, now);
                self.pool.put(connection, now);
                waiting.job.finished(report);
            }
        }
    }

    fn log(&self, began: Monotonic, waiting: &Waiting<J>, probe: bool, dialling: bool) -> Log {
        let Waiting { turn, since, spent, dials, renewed, .. } = *waiting;
        let dials = dials.saturating_add(u8::from(dialling));
        let left = self.owner.destination.resource().timeout.saturating_sub(spent);
        let (sent, deadline) = (self.wall, began.plus(left));
        Log { began, sent, deadline, turn, since, dials, spent, probe, dialling, renewed, token: None }
    }

    fn take_off(&mut self, flight: Flight<'a, J>) {
        let deadline = flight.log.deadline;
        self.alarm = Some(self.alarm.map_or(deadline, |alarm| alarm.min(deadline)));
        self.flights.push(flight);
        self.owner.in_flight.set(self.flights.len());
    }

    fn land(&mut self, job: J, ended: Ended, log: Log) {
        let destination = &*self.owner.destination;
        self.owner.in_flight.set(self.flights.len());
        let now = self.present();
        let spent = log.spent + now.since(log.began);
        let span = Span { sent: Some(log.sent), took: spent };
        let (verdict, report) = match ended {
            Ended::Dialled(dialled) => {
                self.dialling = self.dialling.saturating_sub(1);
                self.unreachable = dialled.is_err();
                match dialled {
                    Ok(connection) => {
                        self.pool.add(connection, now);
                        self.give_back(log.probe, now);
                        self.requeue(Waiting { spent, dials: log.dials, ..log.again(job) });
                        return;
                    }
                    Err(error) => attempt::fail(destination, &Error::Dial(error), span),
                }
            }
            Ended::Answered(tried) => {
                let Tried { answer, broken, connection, reused, shared } = tried;
                if let Some(connection) = connection {
                    self.pool.put(connection, now);
                }
                match answer {
                    Err(Error::Closed { .. }) if reused && (!shared || log.dials < DIALS) => {
                        // It was closed while idle: not the event's fault, and nothing was sent.
                        destination.limits().refund();
                        self.give_back(log.probe, now);
                        // The pool knows that a shared one has ended.
                        let dials = log.dials.saturating_add(u8::from(shared));
                        self.requeue(Waiting { spent, dials, fresh: !shared, ..log.again(job) });
                        return;
                    }
                    Err(Error::Refused { source, .. }) if log.dials < DIALS => {
                        // Nobody looked at it, so it does not count; but they saw it, so its permit is spent.
                        if source.wants_http1() {
                            destination.dialer().avoid_http2();
                        }
                        self.give_back(log.probe, now);
                        let dials = log.dials.saturating_add(1);
                        self.requeue(Waiting { spent, dials, ..log.again(job) });
                        return;
                    }
                    Err(error) => attempt::fail(destination, &error, span),
                    Ok(answer) => attempt::judge(destination, answer, broken, span),
                }
            }
        };
        if verdict.is_auth_expired()
            && let Some(generation) = log.token.filter(|_| !log.renewed)
        {
            destination.connection().refuse_token(generation);
            self.give_back(log.probe, now);
            self.requeue(Waiting { renewed: true, ..log.again(job) });
            return;
        }
        self.settle(job, verdict, report, log);
    }

    fn settle(&self, job: J, verdict: Verdict<'_>, report: Report, log: Log) {
        let (code, message) = (report.code, report.message.as_str());
        let attempt = Attempt { now: self.now, began: log.began, probe: log.probe, code, message };
        self.owner.destination.observe(verdict.health, &attempt, fastrand::f64());
        self.owner.destination.figures().requested(report.took);
        self.give_back_slot();
        job.finished(report);
    }

    /// The job goes back to where its turn is, which is near the head of the line. Of a destination that was replaced it
    /// goes back to its lane: here it might wait for ever, for a token or a share that nobody sees to any more.
    fn requeue(&self, waiting: Waiting<J>) {
        if self.owner.destination.is_retired() {
            waiting.job.returned();
            return;
        }
        let mut line = self.owner.waiting.borrow_mut();
        let before = line.iter().take_while(|other| other.turn < waiting.turn).count();
        line.insert(before, waiting);
    }

    fn give_back(&self, probe: bool, now: Monotonic) {
        if probe {
            self.owner.destination.probe_lost(now);
        }
        self.give_back_slot();
    }

    fn give_back_slot(&self) {
        let mine = u32::try_from(self.flights.len()).unwrap_or(u32::MAX);
        self.owner.destination.concurrency().release(&self.owner.seat, mine);
    }

    fn leave(&self) {
        let mine = u32::try_from(self.flights.len()).unwrap_or(u32::MAX);
        self.owner.destination.concurrency().leave(&self.owner.seat, mine);
    }

    /// Ends what is past its deadline.
    fn expire(&mut self, now: Monotonic) {
        if self.alarm.is_none_or(|alarm| now < alarm) {
            return;
        }
        self.alarm = None;
        let mut late = false;
        for flight in self.flights.iter_mut() {
            if flight.log.deadline <= now {
                flight.wire.expire();
                late = true;
            } else {
                self.alarm = Some(self.alarm.map_or(flight.log.deadline, |alarm| alarm.min(flight.log.deadline)));
            }
        }
        if late {
            // So that the late ones notice.
            self.flights.ring_all();
        }
    }

    fn cancel_abandoned(&mut self) {
        for flight in self.flights.take_if(|flight| flight.job.as_ref().is_none_or(Job::abandoned)) {
            self.give_up(flight);
        }
        self.owner.in_flight.set(self.flights.len());
    }

    fn give_up(&mut self, flight: Flight<'a, J>) {
        if flight.log.dialling {
            self.dialling = self.dialling.saturating_sub(1);
        }
        let probe = flight.log.probe;
        drop(flight);
        self.give_back(probe, Monotonic::now());
    }
}

impl<J: Job> Drop for Run<'_, J> {
    fn drop(&mut self) {
        for flight in self.flights.take_if(|_| true) {
            self.give_up(flight);
        }
        self.leave();
        self.owner.line.stands(0, None, Monotonic::now());
        self.owner.in_flight.set(0);
    }
}
