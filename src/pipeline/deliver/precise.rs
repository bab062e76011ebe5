//! Precise: timers for permits of a rate limit, which may come faster than the runtime's timers, which know milliseconds.
//!
//! Each worker has one timer of the kernel (Linux: `timerfd`), which wakes it as an answer does, so that nothing else on its
//! thread waits for a permit. It is set when the worker has nothing more to do ([`super::before_park`], which sleeps for
//! what comes sooner than that would pay). Elsewhere the runtime's timers have to do; there a limit above some hundred per
//! second is not used up by one replica.

use crate::model::clock::Monotonic;
use std::task::Waker;

#[cfg(target_os = "linux")]
pub use linux::serve;
#[cfg(target_os = "linux")]
pub(super) use linux::{first, pass, wake_at};

/// Nothing to serve.
#[cfg(not(target_os = "linux"))]
pub async fn serve() {}

/// Nobody is woken.
#[cfg(not(target_os = "linux"))]
pub(super) fn wake_at(_: Monotonic, _: &Waker) -> bool {
    false
}

/// Nobody waits.
#[cfg(not(target_os = "linux"))]
pub(super) fn first() -> Option<Monotonic> {
    None
}

/// Nobody waits.
#[cfg(not(target_os = "linux"))]
pub(super) fn pass() {}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Monotonic, Waker};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::net::unix::pipe;

    thread_local! {
        /// The timer of this thread while somebody serves it.
        static TIMER: RefCell<Option<Timer>> = const { RefCell::new(None) };
    }

    struct Timer {
        fd: Rc<pipe::Receiver>,
        /// When it goes off.
        armed: Option<Monotonic>,
        due: Vec<(Monotonic, Waker)>,
    }

    impl Timer {
        fn new() -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // A reader of the runtime that takes any descriptor, without unsafe code.
            let fd = pipe::Receiver::from_owned_fd_unchecked(fd)?;
            Ok(Self { fd: Rc::new(fd), armed: None, due: Vec::new() })
        }

        /// Has it go off at that moment.
        fn arm(&mut self, at: Monotonic, now: Monotonic) {
            // Zero would disarm it.
            let left = at.since(now).max(Duration::from_nanos(1));
            let value = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            let set = timerfd_settime(&*self.fd, TimerfdTimerFlags::empty(), &once);
            self.armed = set.is_ok().then_some(at);
        }

        fn wake_at(&mut self, at: Monotonic, waker: &Waker) {
            match self.due.iter_mut().find(|(_, known)| known.will_wake(waker)) {
                Some((when, _)) => *when = at,
                None => self.due.push((at, waker.clone())),
            }
        }

        fn first(&self) -> Option<Monotonic> {
            self.due.iter().map(|(at, _)| *at).min()
        }

        /// Who is to be woken now, in any order: of those who wait for the same permit each is the first now and then. Has
        /// the timer go off for the next of the others.
        fn pass(&mut self, now: Monotonic) -> Vec<Waker> {
            let is_due = |at: Monotonic| at <= now;
            let mut woken: Vec<Waker> =
                self.due.extract_if(.., |(at, _)| is_due(*at)).map(|(_, waker)| waker).collect();
            fastrand::shuffle(&mut woken);
            if let Some(next) = self.first().filter(|next| self.armed.is_none_or(|armed| armed <= now || armed > *next))
            {
                self.arm(next, now);
                if self.armed.is_none() {
                    woken.extend(self.due.drain(..).map(|(_, waker)| waker));
                }
            }
            woken
        }
    }

    /// Has `waker` woken at that moment. False if this thread has no timer.
    pub(in crate::pipeline::deliver) fn wake_at(at: Monotonic, waker: &Waker) -> bool {
        TIMER.with_borrow_mut(|timer| timer.as_mut().map(|timer| timer.wake_at(at, waker)).is_some())
    }

    /// When the first of this thread is to be woken.
    pub(in crate::pipeline::deliver) fn first() -> Option<Monotonic> {
        TIMER.with_borrow(|timer| timer.as_ref().and_then(Timer::first))
    }

    /// Wakes whose moment has come, and sets the timer for the others. To be called before this thread waits for anything.
    pub(in crate::pipeline::deliver) fn pass() {
        let woken = TIMER.with_borrow_mut(|timer| {
            let waits = timer.as_mut().filter(|timer| !timer.due.is_empty());
            waits.map(|timer| timer.pass(Monotonic::now()))
        });
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    /// Serves the timer of this thread for as long as it is polled; it ends only where the system gives none, and the
    /// runtime's timers have to do.
    pub async fn serve() {
        let fd = match Timer::new() {
            Ok(timer) => {
                let fd = Rc::clone(&timer.fd);
                TIMER.set(Some(timer));
                fd
            }
            Err(error) => {
                tracing::warn!(%error, "the system gives no precise timer: limits above some hundred requests per second may not be used up");
                return;
            }
        };
        let _served = Served;
        while fd.readable().await.is_ok() {
            // Whose moment has come is woken before the thread waits again. How often it has gone off is read to hear of the
            // next time; there is nothing to read if it has been set meanwhile.
            while fd.try_read(&mut [0; 8]).is_ok() {}
        }
    }

    /// While it lives there is somebody who wakes.
    struct Served;

    impl Drop for Served {
        fn drop(&mut self) {
            TIMER.set(None);
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;
    use std::time::Duration;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    fn on_a_worker<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().on_thread_park(super::super::before_park).build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            spawn_local(serve());
            yield_now().await;
            work.await
        })
    }

    /// Ends at that moment, or soon after.
    async fn at(moment: Monotonic) -> Monotonic {
        poll_fn(|cx| {
            let now = Monotonic::now();
            if now >= moment {
                return Poll::Ready(now);
            }
            assert!(wake_at(moment, cx.waker()));
            Poll::Pending
        })
        .await
    }

    #[test]
    fn who_waits_is_woken_at_his_moment_whatever_the_order() {
        on_a_worker(async {
            let begin = Monotonic::now();
            let moment = move |micros| begin.plus(Duration::from_micros(micros));
            let ended = Rc::new(RefCell::new(Vec::new()));
            let waits = [4_000, 300, 9_000, 1_100].map(|micros| {
                let ended = Rc::clone(&ended);
                spawn_local(async move {
                    assert!(at(moment(micros)).await >= moment(micros));
                    ended.borrow_mut().push(micros);
                })
            });
            for wait in waits {
                wait.await.unwrap();
            }
            assert_eq!(*ended.borrow(), [300, 1_100, 4_000, 9_000]);
        });
    }

    #[test]
    fn of_those_who_wait_for_the_same_moment_each_is_the_first_now_and_then() {
        on_a_worker(async {
            let next = Rc::new(Cell::new(Monotonic::now()));
            // One permit in every 200 µs: whoever comes first has it.
            let siblings = [(); 3].map(|()| {
                let next = Rc::clone(&next);
                spawn_local(async move {
                    let mut had = 0;
                    for _ in 0..200 {
                        let now = at(next.get()).await;
                        if now >= next.get() {
                            next.set(now.plus(Duration::from_micros(200)));
                            had += 1;
                        }
                    }
                    had
                })
            });
            for sibling in siblings {
                let had: u32 = sibling.await.unwrap();
                assert!((20..=200).contains(&had), "{had} of 200");
            }
        });
    }

    #[tokio::test]
    async fn without_a_timer_nobody_is_promised_anything() {
        let asked = poll_fn(|cx| Poll::Ready(wake_at(Monotonic::now(), cx.waker()))).await;
        assert!(!asked);
    }
}
