//! The token of a connection at run time: none yet, valid, or failing with the reason (pure; `now` and chance are
//! arguments). It outlives a reload that does not change how it is fetched.
//!
//! Many dispatchers read, one fetch writes. Reading costs one atomic load. Whoever finds that a token is missing, due
//! for renewal or refused asks for a fetch; a compare-and-swap lets one of them through (single flight). A failing
//! token endpoint has a breaker of its own: 1 s · 2^k, at most 5 min, jittered; meanwhile a token that is still good is
//! used on, and without one deliveries wait and use up nothing. One that gives tokens is asked once a second at most,
//! however short they live or however soon they are refused.

use super::gate::doubled;
use super::status::{Trouble, millis};
use super::waiters::Waiters;
use crate::model::clock::Monotonic;
use crate::telemetry::state;
use arc_swap::{ArcSwapOption, Guard};
use http::header::{HeaderName, HeaderValue};
use secrecy::SecretString;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// From one fetch to the next, and the least that a token is good for: one of less would be asked for without end and
/// never be used.
const APART: Duration = Duration::from_secs(1);
/// What a token is good for whose answer does not say (RFC 6749 section 5.1 only recommends that it does). A wrong
/// guess costs one refresh on 401.
pub const UNSAID: Duration = Duration::from_secs(3_600);
/// No fetch may be asked for: one is under way.
const FETCHING: u64 = u64::MAX;

/// A token and where it goes, ready to send.
struct Token {
    generation: u64,
    refresh_at: Monotonic,
    expires_at: Monotonic,
    /// They answered 401 to it.
    refused: AtomicBool,
    proof: Proof,
    /// The token before, which answers may still quote.
    previous: Option<SecretString>,
}

/// How a token is shown to the other side.
pub struct Proof {
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Encoded items, joined by `&`.
    pub(super) query: Option<SecretString>,
    /// The token itself.
    pub(super) secret: SecretString,
}

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// How the token is shown.
    pub proof: Proof,
    /// How long it is good, if they said so.
    pub lifetime: Option<Duration>,
}

/// A token that may be used for one request.
pub struct Lease(Guard<Option<Arc<Token>>>);

/// What [`Tokens::look`] found.
pub enum Look {
    /// A token. With `ask`, it is time for the next, and the caller must see to it.
    Ready {
        /// The token.
        lease: Lease,
        /// The caller must have it fetched.
        ask: bool,
    },
    /// None. With `ask`, the caller must have it fetched; else one asks again at `until`, if known, or when woken.
    Wait {
        /// When to look again.
        until: Option<Monotonic>,
        /// The caller must have it fetched.
        ask: bool,
    },
}

/// The token of a connection, shared by the dispatchers of all its destinations.
#[derive(Default)]
pub struct Tokens {
    current: ArcSwapOption<Token>,
    /// From when on a fetch may be asked for; [`FETCHING`] while one is under way.
    ask_from: AtomicU64,
    rare: Mutex<Rare>,
}

/// What only fetches, reloads and people touch.
#[derive(Default)]
struct Rare {
    fetches: u64,
    failures: u32,
    failures_in_all: u64,
    trouble: Option<Trouble>,
    listeners: Vec<Weak<Waiters>>,
}

/// What the end of a fetch changed; to be told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing that people do not know.
    None,
    /// It fails, or fails for another reason than before.
    Failing {
        /// Until the next try.
        wait: Duration,
    },
    /// Tokens come again.
    Back,
}

impl Tokens {
    /// Whether a request may go, and whether the caller must have a token fetched.
    #[must_use]
    pub fn look(&self, now: Monotonic) -> Look {
        let current = self.current.load();
        let good = current.as_ref().filter(|token| token.is_good(now));
        let due = good.is_none_or(|token| now >= token.refresh_at);
        let ask = due && self.claim(now);
        if ask && !self.is_current(current.as_ref()) {
            // A fetch ended between the two looks, so this one is not needed.
            self.ask_from.store(0, Ordering::Release);
            return self.look(now);
        }
        if good.is_some() {
            return Look::Ready { lease: Lease(current), ask };
        }
        if ask {
            return Look::Wait { until: None, ask };
        }
        let from = self.ask_from.load(Ordering::Acquire);
        Look::Wait { until: (from != FETCHING).then_some(Monotonic(from)), ask: false }
    }

    fn is_current(&self, token: Option<&Arc<Token>>) -> bool {
        let generation = |token: &Arc<Token>| token.generation;
        self.current.load().as_ref().map(generation) == token.map(generation)
    }

    /// Claims the one fetch. Whoever gets `true` must end it with [`Tokens::fetched`] or [`Tokens::failed`].
    #[must_use]
    pub fn claim(&self, now: Monotonic) -> bool {
        let from = self.ask_from.load(Ordering::Acquire);
        from <= now.0 && self.ask_from.compare_exchange(from, FETCHING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// They answered 401 to the token of that generation. The next look asks for another one; `false` if that is known
    /// already.
    pub fn refuse(&self, generation: u64) -> bool {
        let current = self.current.load();
        let refused = current.as_ref().filter(|token| token.generation == generation);
        refused.is_some_and(|token| !token.refused.swap(true, Ordering::AcqRel))
    }

    /// A fetch that was sent at `asked` brought a token. `chance` in 0..1 places the renewal within 80–90 % of its
    /// lifetime.
    pub fn fetched(&self, fetched: Fetched, asked: Monotonic, chance: f64) -> Change {
        let lifetime = fetched.lifetime.unwrap_or(UNSAID).max(APART);
        let mut rare = self.rare();
        rare.fetches += 1;
        let before = self.current.load_full();
        let next = Token {
            generation: rare.fetches,
            refresh_at: asked.plus(lifetime.mul_f64(0.8 + chance.clamp(0.0, 1.0) * 0.1)),
            expires_at: asked.plus(lifetime),
            refused: AtomicBool::new(false),
            proof: fetched.proof,
            previous: before.map(|token| token.proof.secret.clone()),
        };
        self.current.store(Some(Arc::new(next)));
        rare.failures = 0;
        let was_failing = rare.trouble.take().is_some();
        self.ask_from.store(asked.plus(APART).0, Ordering::Release);
        wake(&mut rare);
        if was_failing { Change::Back } else { Change::None }
    }

    /// A fetch failed. The next may be asked for after 1 s · 2^k, at most 5 min, or after `asked_wait` if that is longer.
    pub fn failed(&self, trouble: Trouble, asked_wait: Option<Duration>, now: Monotonic, chance: f64) -> Change {
        let mut rare = self.rare();
        let wait = doubled(FIRST, rare.failures, LONGEST).mul_f64(0.75 + chance.clamp(0.0, 1.0) * 0.25);
        let wait = wait.max(asked_wait.unwrap_or_default());
        rare.failures = rare.failures.saturating_add(1).min(32);
        rare.failures_in_all += 1;
        let known = rare.trouble.as_ref() == Some(&trouble);
        rare.trouble = Some(trouble);
        // Those who wait learn when to ask again.
        self.ask_from.store(now.plus(wait).0, Ordering::Release);
        wake(&mut rare);
        if known { Change::None } else { Change::Failing { wait } }
    }

    /// Something was changed that may have been why it failed: a fetch may be asked for at once.
    pub fn retry_now(&self, now: Monotonic) {
        let from = self.ask_from.load(Ordering::Acquire);
        if from != FETCHING && from > now.0 {
            let _changed_meanwhile = self.ask_from.compare_exchange(from, now.0, Ordering::AcqRel, Ordering::Relaxed);
            wake(&mut self.rare());
        }
    }

    /// From now on these are woken when a token comes or the time of the next try changes.
    pub fn wakes(&self, waiters: &Arc<Waiters>) {
        let mut rare = self.rare();
        rare.listeners.retain(|known| known.strong_count() > 0);
        let listening = rare.listeners.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(waiters)));
        if !listening {
            rare.listeners.push(Arc::downgrade(waiters));
        }
    }

    /// There is a token that may be used.
    #[must_use]
    pub fn is_valid(&self, now: Monotonic) -> bool {
        self.current.load().as_ref().is_some_and(|token| token.is_good(now))
    }

    /// How long requests wait for the next try to get a token, or 0 if one is under way; `None` if nothing stops them,
    /// for one that nobody has asked for yet stops nobody. Changes nothing.
    #[must_use]
    pub fn wait(&self, now: Monotonic) -> Option<Duration> {
        let from = self.ask_from.load(Ordering::Acquire);
        let wait = if from == FETCHING { Duration::ZERO } else { Monotonic(from).since(now) };
        let stops = !self.is_valid(now) && (from == FETCHING || !wait.is_zero() || self.trouble().is_some());
        stops.then_some(wait)
    }

    /// Why no token comes, until one does.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.rare().trouble.clone()
    }

    /// What it says about itself; never the token.
    #[must_use]
    pub fn state(&self, now: Monotonic) -> state::Token {
        let (fetched, failures, trouble) = {
            let rare = self.rare();
            (rare.fetches, rare.failures_in_all, rare.trouble.clone())
        };
        let current = self.current.load();
        let good = current.as_ref().filter(|token| token.is_good(now));
        let word = match (good, &trouble, &*current) {
            (Some(_), _, _) => "valid",
            (None, Some(_), _) => "failing",
            (None, None, Some(_)) => "expired",
            (None, None, None) => "missing",
        };
        state::Token {
            state: word.to_owned(),
            expires_in_ms: good.map(|token| millis(token.expires_at.since(now))),
            fetched,
            failures,
            trouble: trouble.map(Trouble::shown),
        }
    }

    /// Tokens fetched so far.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.rare().fetches
    }

    /// The token in use and the one before.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        let current = self.current.load();
        let both = |token: &Arc<Token>| std::iter::once(&token.proof.secret).chain(&token.previous).cloned().collect();
        current.as_ref().map(both).unwrap_or_default()
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(rare: &mut Rare) {
    rare.listeners.retain(|listener| {
        let listener = listener.upgrade();
        listener.inspect(|waiters| waiters.wake_all()).is_some()
    });
}

impl Token {
    fn is_good(&self, now: Monotonic) -> bool {
        now < self.expires_at && !self.refused.load(Ordering::Acquire)
    }
}

impl Lease {
    /// Which token it is, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.as_ref().map_or(0, |token| token.generation)
    }

    pub(super) fn proof(&self) -> Option<&Proof> {
        self.0.as_ref().map(|token| &token.proof)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { lease, ask } => f.debug_struct("Ready").field("lease", lease).field("ask", ask).finish(),
            Self::Wait { until, ask } => f.debug_struct("Wait").field("until", until).field("ask", ask).finish(),
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("fetches", &self.fetches()).field("trouble", &self.trouble()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn s(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    fn token(seconds: Option<u64>) -> Fetched {
        let proof = Proof { headers: Vec::new(), query: None, secret: SecretString::from("token") };
        Fetched { proof, lifetime: seconds.map(Duration::from_secs) }
    }

    fn trouble(message: &str) -> Trouble {
        Trouble { code: "AUTH_TOKEN_REFUSED", message: message.to_owned() }
    }

    fn generation(look: Look) -> Option<(u64, bool)> {
        match look {
            Look::Ready { lease, ask } => Some((lease.generation(), ask)),
            Look::Wait { .. } => None,
        }
    }

    /// When to look again, and whether to have one fetched.
    fn waits(look: Look) -> Option<(Option<Monotonic>, bool)> {
        match look {
            Look::Ready { .. } => None,
            Look::Wait { until, ask } => Some((until, ask)),
        }
    }

    #[test]
    fn one_asks_and_the_others_wait() {
        let tokens = Tokens::default();
        assert_eq!(tokens.wait(s(1)), None, "nobody asked");
        assert_eq!(waits(tokens.look(s(1))), Some((None, true)));
        for _ in 0..100 {
            assert_eq!(waits(tokens.look(s(2))), Some((None, false)));
        }
        assert_eq!((tokens.wait(s(1)), tokens.is_valid(s(1))), (Some(Duration::ZERO), false));
        assert_eq!(tokens.fetched(token(Some(100)), s(1), 0.0), Change::None);
        assert_eq!(generation(tokens.look(s(3))), Some((1, false)));
        assert_eq!((tokens.wait(s(3)), tokens.is_valid(s(3))), (None, true));
    }

    #[test]
    fn many_threads_let_one_fetch_through() {
        let (tokens, claimed) = (Tokens::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if tokens.claim(s(1)) {
                            claimed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(claimed.into_inner(), 1);
    }

    #[test]
    fn renewed_within_80_to_90_percent_while_the_old_one_is_used() {
        for (chance, due) in [(0.0, 80), (1.0, 90)] {
            let tokens = Tokens::default();
            assert!(tokens.claim(s(0)));
            tokens.fetched(token(Some(100)), s(0), chance);
            assert_eq!(generation(tokens.look(s(due - 1))), Some((1, false)));
            assert_eq!(generation(tokens.look(s(due))), Some((1, true)));
            assert_eq!(generation(tokens.look(s(due))), Some((1, false)), "one asks");
            assert_eq!(generation(tokens.look(s(99))), Some((1, false)), "and it is used on");
            tokens.failed(trouble("x"), None, s(90), 1.0);
            assert_eq!(generation(tokens.look(s(90))), Some((1, false)));
            assert_eq!(generation(tokens.look(s(91))), Some((1, true)), "the breaker paces");
            assert!(waits(tokens.look(s(100))).is_some(), "expired");
            assert_eq!(tokens.fetched(token(None), s(100), 0.0), Change::Back);
            assert_eq!(generation(tokens.look(s(101))), Some((2, false)));
            assert_eq!(generation(tokens.look(s(100 + 2_880))), Some((2, true)), "an hour if they do not say");
        }
    }

    #[test]
    fn a_failing_endpoint_is_asked_ever_more_rarely_and_told_once() {
        let tokens = Tokens::default();
        let mut now = s(1);
        let mut pauses = Vec::new();
        for round in 0..11 {
            assert_eq!(waits(tokens.look(now)), Some((None, true)), "{round}");
            let change = tokens.failed(trouble("down"), None, now, 1.0);
            assert_eq!(change != Change::None, round == 0);
            let Some((Some(until), false)) = waits(tokens.look(now)) else { panic!("waits until it is known") };
            pauses.push(until.since(now).as_secs());
            assert_eq!(tokens.wait(now), Some(until.since(now)));
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(tokens.claim(now));
        assert!(
            matches!(tokens.failed(trouble("refused"), None, now, 0.0), Change::Failing { wait } if wait.as_secs() == 225)
        );
        assert_eq!(tokens.trouble(), Some(trouble("refused")));
        tokens.retry_now(now);
        assert!(tokens.claim(now), "a reload may have been the cure");
        tokens.failed(trouble("refused"), Some(Duration::from_secs(900)), now, 0.0);
        assert_eq!(tokens.wait(now), Some(Duration::from_secs(900)), "they asked for it");
        tokens.retry_now(now);
        assert!(tokens.claim(now));
        assert_eq!(tokens.fetched(token(None), now, 0.0), Change::Back);
        assert_eq!(tokens.trouble(), None);
    }

    #[test]
    fn a_refused_token_is_renewed_once() {
        let tokens = Tokens::default();
        assert!(!tokens.refuse(1), "there is none");
        assert!(tokens.claim(s(0)));
        tokens.fetched(token(Some(100)), s(0), 0.0);
        assert!(tokens.refuse(1));
        assert!(!tokens.refuse(1), "the second 401 of a storm");
        assert_eq!(waits(tokens.look(s(1))), Some((None, true)));
        assert_eq!(waits(tokens.look(s(1))), Some((None, false)));
        tokens.fetched(token(Some(100)), s(1), 0.0);
        assert!(!tokens.refuse(1), "a late 401 speaks of the token before");
        assert_eq!(generation(tokens.look(s(2))), Some((2, false)));
    }

    #[test]
    fn tokens_that_live_no_time_or_are_refused_at_once_are_fetched_once_a_second_and_used() {
        let (tokens, ms) = (Tokens::default(), |ms: u64| Monotonic(ms * 1_000_000));
        let (mut fetches, mut used) = (0, 0);
        for now in (0..10_000).map(ms) {
            let ask = match tokens.look(now) {
                Look::Ready { lease, ask } => {
                    used += 1;
                    // In the second half they do not like them either.
                    assert!(now < s(5) || tokens.refuse(lease.generation()));
                    ask
                }
                Look::Wait { until, ask } => {
                    assert!(ask || until.is_some_and(|until| until > now && until <= now.plus(APART)));
                    ask
                }
            };
            if ask {
                fetches += 1;
                let lifetime = Some(Duration::from_micros(1));
                tokens.fetched(Fetched { lifetime, ..token(None) }, now, 0.5);
            }
        }
        assert_eq!(fetches, 10);
        assert!((4_900..=5_010).contains(&used), "{used}");
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn those_who_wait_are_woken_and_the_gone_forgotten() {
        let (tokens, waiters) = (Tokens::default(), Arc::new(Waiters::default()));
        tokens.wakes(&waiters);
        tokens.wakes(&waiters);
        assert_eq!(tokens.rare().listeners.len(), 1);
        let seat = waiters.sit();
        let woken = Arc::new(Woken::default());
        seat.register(&std::task::Waker::from(Arc::clone(&woken)));
        tokens.fetched(token(None), s(0), 0.0);
        assert!(woken.0.load(Ordering::Relaxed));
        drop((seat, waiters));
        tokens.fetched(token(None), s(0), 0.0);
        assert_eq!(tokens.rare().listeners.len(), 0);
    }
}
