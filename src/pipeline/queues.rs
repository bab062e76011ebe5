//! Queues: the destination queues that exist. Whoever puts a record into one asks here first; a queue is made when it is
//! first needed, by a task of its own, so that no worker waits for Kafka; what waits long for one to be made goes by a
//! retry tier, so that no window does (`handing`).
//!
//! Queues that other replicas have made are found by listing the topics now and then.

use crate::kafka::{Admin, TopicSpec};
use crate::model::stored::Topics;
use crate::pipeline::filled::Filled;
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often topics are listed.
const LIST: Duration = Duration::from_secs(10);

/// When a queue is tried to be made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Topics asked for in one request: Kafka takes seconds for five hundred, and who waits for the first need not wait for
/// the last.
const MADE_AT_ONCE: usize = 50;

/// Somebody waits for a queue.
type Asked = (String, oneshot::Sender<()>);

/// The queues that exist.
#[derive(Debug)]
pub struct Queues {
    topics: Topics,
    /// Destinations that have one.
    found: ArcSwap<BTreeSet<String>>,
    /// Held while `found` changes.
    changing: Mutex<()>,
    ask: mpsc::UnboundedSender<Asked>,
    filled: Arc<Filled>,
}

/// The queues that were asked for and do not exist yet, and who waits for them.
#[derive(Debug, Default)]
struct Wanted {
    names: BTreeSet<String>,
    waiting: Vec<Asked>,
}

impl Wanted {
    /// What waits gives up soon and asks again: where Kafka makes no topics, those who have gone must not pile up.
    fn add(&mut self, (name, made): Asked) {
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|(_, made)| !made.is_closed());
        }
        self.names.insert(name.clone());
        self.waiting.push((name, made));
    }

    /// Those to make next.
    fn next(&self) -> Vec<String> {
        self.names.iter().take(MADE_AT_ONCE).cloned().collect()
    }

    /// Forgets what exists, and tells those who wait for it.
    fn tell(&mut self, found: &BTreeSet<String>) {
        self.names.retain(|name| !found.contains(name));
        let (there, not_yet) = mem::take(&mut self.waiting).into_iter().partition(|(name, _)| found.contains(name));
        self.waiting = not_yet;
        let there: Vec<Asked> = there;
        for (_, made) in there {
            // Who has gone does not wait any more.
            let _gone = made.send(()).is_err();
        }
    }
}

/// What [`Queues::serve`] takes in.
#[derive(Debug)]
pub struct Inbox(mpsc::UnboundedReceiver<Asked>);

impl Queues {
    /// Knows of none yet.
    #[must_use]
    pub fn new(topics: Topics) -> (Arc<Self>, Inbox) {
        let (ask, asked) = mpsc::unbounded_channel();
        let found = ArcSwap::default();
        let queues = Self { topics, found, changing: Mutex::default(), ask, filled: Arc::default() };
        (Arc::new(queues), Inbox(asked))
    }

    /// Which of them, and of the tiers, hold something.
    #[must_use]
    pub fn filled(&self) -> &Arc<Filled> {
        &self.filled
    }

    /// The destinations that have a queue.
    #[must_use]
    pub fn found(&self) -> Arc<BTreeSet<String>> {
        self.found.load_full()
    }

    /// Ends when the queue of this destination exists, however long that takes; `None` if it does.
    pub fn missing(&self, destination: &str) -> Option<impl Future<Output = ()> + use<>> {
        if self.found.load().contains(destination) {
            return None;
        }
        let (made, wait) = oneshot::channel();
        // Nobody hears it while the process ends; then it is made by the next one.
        drop(self.ask.send((destination.to_owned(), made)));
        Some(async move {
            if wait.await.is_err() {
                std::future::pending().await
            }
        })
    }

    /// These exist.
    pub fn learn(&self, destinations: impl IntoIterator<Item = String>) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeSet::clone(&self.found.load());
        let before = found.len();
        found.extend(destinations);
        if found.len() != before {
            self.found.store(Arc::new(found));
        }
    }

    /// Makes queues that are asked for, for ever; `changed` hears of it. `like` is the topic of a queue, whatever its name.
    pub async fn serve(self: Arc<Self>, kafka: Admin, like: TopicSpec, mut inbox: Inbox, changed: impl Fn()) {
        let mut asked = Wanted::default();
        while let Some(first) = inbox.0.recv().await {
            asked.add(first);
            loop {
                while let Ok(more) = inbox.0.try_recv() {
                    asked.add(more);
                }
                asked.tell(&self.found());
                let next = asked.next();
                if next.is_empty() {
                    break;
                }
                let specs: Vec<TopicSpec> = next.iter().map(|name| self.spec(&like, name)).collect();
                match kafka.ensure(&specs).await {
                    Ok(made) => {
                        if !made.is_empty() {
                            tracing::info!(queues = made.join(", "), "made queues of destinations");
                        }
                        self.learn(next);
                        changed();
                    }
                    Err(error) => {
                        tracing::error!(
                            code = error.code(), %error,
                            "a destination's queue could not be made; its events go by a retry tier until it is, trying again"
                        );
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        }
    }

    /// Looks for queues of others, for ever.
    pub async fn discover(self: Arc<Self>, kafka: Admin) {
        loop {
            match kafka.list().await {
                Ok(topics) => {
                    let queues = topics.iter().filter_map(|topic| self.topics.queue_of(topic));
                    self.learn(queues.map(str::to_owned));
                }
                Err(error) => tracing::debug!(%error, "queues of destinations could not be listed; trying again"),
            }
            tokio::time::sleep(LIST).await;
        }
    }

    fn spec(&self, like: &TopicSpec, destination: &str) -> TopicSpec {
        TopicSpec { name: self.topics.queue(destination).to_string(), ..like.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(wanted: &mut Wanted, name: &str) -> oneshot::Receiver<()> {
        let (made, waits) = oneshot::channel();
        wanted.add((name.to_owned(), made));
        waits
    }

    #[test]
    fn who_asks_again_and_again_for_what_cannot_be_made_takes_no_memory() {
        let mut wanted = Wanted::default();
        let mut waits = ask(&mut wanted, "patient");
        for _ in 0..100_000 {
            drop(ask(&mut wanted, "crm"));
        }
        assert_eq!(wanted.next(), ["crm", "patient"]);
        assert!(wanted.waiting.capacity() < 100, "{}", wanted.waiting.capacity());
        wanted.tell(&BTreeSet::from(["patient".to_owned()]));
        assert_eq!(waits.try_recv(), Ok(()));
        assert_eq!(wanted.next(), ["crm"]);
    }

    #[test]
    fn many_are_made_in_portions_and_nobody_waits_for_the_last() {
        let mut wanted = Wanted::default();
        let mut waits: Vec<_> = (0..120).map(|n| ask(&mut wanted, &format!("d{n:03}"))).collect();
        let mut found = BTreeSet::new();
        for portion in [50, 50, 20] {
            let next = wanted.next();
            assert_eq!(next.len(), portion);
            found.extend(next);
            wanted.tell(&found);
            let told = waits.iter_mut().map(|wait| wait.try_recv().is_ok()).filter(|told| *told).count();
            assert_eq!(told, portion);
        }
        assert!(wanted.names.is_empty() && wanted.waiting.is_empty());
    }
}
