//! Connections, permits, gate, breaker and fence as the dispatcher uses them.

use super::server::{Act, Server, reply};
use super::*;
use crate::destinations::limits::LimitOf;
use crate::destinations::status::Held;
use crate::model::resources::RateLimit;
use crate::model::units::Rate;

pub(super) fn per_second(requests: u32, burst: u32) -> RateLimit {
    RateLimit { rate: Rate { requests, per: Duration::from_secs(1) }, burst }
}

#[test]
fn connections_are_kept_and_shared_by_many_jobs() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", "ok"))).await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let board = Rc::new(Board::default());
        (0..500).for_each(|n| dispatcher.submit(job(&board, n)));
        let reports = board.wait(500).await;
        assert!(reports.iter().all(|(_, report)| report.class == Class::Success));
        let mut numbers: Vec<usize> = reports.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "each exactly once");
        assert!(server.connections.get() <= 64, "{}", server.connections.get());
    });
}

#[test]
fn fifty_at_once_grow_from_eight() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let server = Server::start(move |_| Act::After(Rc::clone(&held), reply(200, "", ""))).await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let board = Rc::new(Board::default());
        (0..50).for_each(|n| dispatcher.submit(job(&board, n)));
        let mut most = 0;
        while board.reports.borrow().len() < 50 {
            most = most.max(dispatcher.in_flight());
            assert!(dispatcher.in_flight() <= 64);
            gate.notify_one();
            tokio::task::yield_now().await;
        }
        assert!(most > 8, "{most}");
    });
}

#[test]
fn a_connection_closed_while_idle_costs_nothing() {
    local(async {
        let server = Server::start(|_| Act::SayAndClose(reply(200, "", ""))).await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let board = Rc::new(Board::default());
        for n in 0..5 {
            dispatcher.submit(job(&board, n));
            board.wait(n + 1).await;
            server.closed.notified().await;
            // The runtime looks at its sockets once before the next request.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(board.classes(5).await.iter().all(|class| *class == Class::Success));
        assert_eq!(server.connections.get(), 5);
    });
}

#[test]
fn a_dispatcher_without_work_ends_and_can_be_run_again() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let destination = Setup::new("127.0.0.1", server.address.port()).build();
        // Of a million destinations none keeps anything for long.
        let destination = Arc::new(Arc::into_inner(destination).unwrap().among(1_000_000));
        let dispatcher = Dispatcher::new(destination);
        let board = Rc::new(Board::default());
        for n in 0..2 {
            dispatcher.submit(job(&board, n));
            dispatcher.run().await;
            assert_eq!(board.reports.borrow().len(), n + 1);
        }
    });
}

#[test]
fn who_closes_every_connection_at_once_fails_the_job() {
    local(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Rc::new(Cell::new(0));
        let count = Rc::clone(&accepted);
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                count.set(count.get() + 1);
                drop(tcp);
            }
        });
        let dispatcher = start(&Setup::new("127.0.0.1", port).build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        let (_, report) = board.wait(1).await.remove(0);
        assert_eq!(report.code, "DELIVER_RESET");
        // Whether the end is seen before or after writing is the kernel's choice.
        assert!(matches!(report.class, Class::Transient | Class::Ambiguous), "{report:?}");
        assert!(accepted.get() <= 3);
    });
}

#[test]
fn a_dispatcher_without_a_seat_still_works() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.rate_limits = vec![per_second(1_000, 1)];
        let destination = setup.build();
        destination.set_share(0, Monotonic::now());
        let _seats: Vec<_> = (0..64).map(|_| destination.sit()).collect();
        let dispatcher = start(&destination);
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        tokio::task::yield_now().await;
        destination.set_share(PARTS, Monotonic::now());
        assert_eq!(board.classes(1).await, [Class::Success]);
    });
}

#[test]
fn an_unread_answer_closes_the_connection() {
    local(async {
        let server = Server::start(|seen| match seen.number {
            0 => Act::Flood("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned()),
            _ => Act::Say(reply(200, "", "")),
        })
        .await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        board.wait(1).await;
        dispatcher.submit(job(&board, 1));
        assert_eq!(board.classes(2).await, [Class::Success, Class::Success]);
        assert_eq!(server.connections.get(), 2);
    });
}

#[test]
fn the_rate_holds_by_send_time() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.rate_limits = vec![per_second(100, 2)];
        let destination = setup.build();
        // Two workers share the limit.
        let dispatchers = [start(&destination), start(&destination)];
        let board = Rc::new(Board::default());
        let began = Monotonic::now();
        let late = Rc::new(Cell::new(Duration::from_millis(30)));
        let watch = spawn_local(lateness(Rc::clone(&late)));
        (0..60).for_each(|n| dispatchers[n % 2].submit(job(&board, n)));
        board.wait(60).await;
        watch.abort();
        let took = Monotonic::now().since(began);
        assert!(took >= Duration::from_millis(570), "{took:?}");
        let at: Vec<Monotonic> = server.seen.borrow().iter().map(|seen| seen.at).collect();
        for (i, from) in at.iter().enumerate() {
            for (j, to) in at.iter().enumerate().skip(i) {
                // What is seen by the server is late by what the machine is late.
                let window = (to.since(*from) + late.get()).as_secs_f64();
                let count = f64::from(u32::try_from(j - i + 1).unwrap());
                assert!(count <= 100.0 * window + 2.0 + 1.0, "{count} in {window} s");
            }
        }
    });
}

/// Notes by how much this thread, on which the server lives too, is ever late.
async fn lateness(worst: Rc<Cell<Duration>>) {
    loop {
        let due = Monotonic::now().plus(Duration::from_millis(1));
        tokio::time::sleep_until(due.instant().into()).await;
        worst.set(worst.get().max(Monotonic::now().since(due)));
    }
}

/// Two destinations of one connection with `limits`, on two dispatchers.
fn siblings(port: u16, limits: Vec<RateLimit>) -> [Arc<Destination>; 2] {
    let resource = |name| {
        let mut setup = Setup::new("127.0.0.1", port);
        setup.connection.rate_limits.clone_from(&limits);
        setup.destination.name = Name::new(name).unwrap();
        setup.resource()
    };
    let shared = connection(&resource("orders")).unwrap();
    ["orders", "refunds"].map(|name| {
        let destination = Destination::new(resource(name), Arc::clone(&shared), None).unwrap();
        destination.set_share(PARTS, Monotonic::now());
        Arc::new(destination)
    })
}

#[test]
fn the_limit_of_a_connection_holds_for_all_its_destinations_and_they_take_turns() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let destinations = siblings(server.address.port(), vec![per_second(100, 2), per_second(1_000, 50)]);
        let dispatchers = [start(&destinations[0]), start(&destinations[1])];
        let boards = [Rc::new(Board::default()), Rc::new(Board::default())];
        let began = Monotonic::now();
        (0..40).for_each(|n| dispatchers[0].submit(job(&boards[0], n)));
        (0..20).for_each(|n| dispatchers[1].submit(job(&boards[1], n)));
        tokio::task::yield_now().await;
        let held = destinations[0].why_held(Monotonic::now());
        assert!(matches!(held, Some(Held::Rate { limit: LimitOf::Connection, .. })), "{held:?}");
        boards[1].wait(20).await;
        let (first, took) = (boards[0].reports.borrow().len(), Monotonic::now().since(began));
        assert!(first < 39, "the second destination was served last: {first} of 40 in {took:?}");
        boards[0].wait(40).await;
        let took = Monotonic::now().since(began);
        assert!(took >= Duration::from_millis(570), "{took:?}");
        let at: Vec<Monotonic> = server.seen.borrow().iter().map(|seen| seen.at).collect();
        for (i, from) in at.iter().enumerate() {
            for (j, to) in at.iter().enumerate().skip(i) {
                let window = to.since(*from).as_secs_f64() + 0.030;
                let count = f64::from(u32::try_from(j - i + 1).unwrap());
                assert!(count <= 100.0 * window + 2.0 + 1.0, "{count} in {window} s");
            }
        }
    });
}

#[test]
fn destinations_of_a_connection_take_turns_at_permits_that_come_faster_than_timers() {
    local(async {
        spawn_local(super::super::serve_precise_timer());
        tokio::task::yield_now().await;
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let destinations = siblings(server.address.port(), vec![per_second(2_000, 1)]);
        let dispatchers = [start(&destinations[0]), start(&destinations[1])];
        let boards = [Rc::new(Board::default()), Rc::new(Board::default())];
        for (dispatcher, board) in dispatchers.iter().zip(&boards) {
            (0..400).for_each(|n| dispatcher.submit(job(board, n)));
        }
        boards[0].wait(200).await;
        let other = boards[1].reports.borrow().len();
        assert!((50..=400).contains(&other), "{other} of the other when one had 200");
        for board in &boards {
            board.wait(400).await;
        }
    });
}

#[test]
fn a_reload_keeps_what_a_connection_has_spent_and_changed_limits_begin() {
    let setup = |requests| {
        let mut setup = Setup::new("127.0.0.1", 1);
        setup.connection.rate_limits = vec![per_second(requests, 1)];
        setup.resource()
    };
    let build = |requests, before: Option<&Arc<Destination>>| {
        let resource = setup(requests);
        let previous = before.map(|before| &**before.connection());
        let written = Arc::clone(&resource.connection);
        let connection = RunningConnection::new(written, &Roots::default(), false, previous).unwrap();
        if let Some(previous) = previous {
            connection.adopt(previous, Monotonic::now());
        }
        Arc::new(Destination::new(resource, Arc::new(connection), before.map(Arc::as_ref)).unwrap())
    };
    let wait = |destination: &Destination| destination.connection().status(Monotonic::now()).rate_wait_ms;
    let first = build(1, None);
    first.set_share(PARTS, Monotonic::now());
    let unchanged = build(1, Some(&first));
    assert_eq!(unchanged.connection().status(Monotonic::now()).share, PARTS);
    assert!(matches!(wait(&unchanged), Some(500..=1_000)));
    let changed = build(1_000, Some(&unchanged));
    assert!(matches!(wait(&changed), None | Some(0..=1)), "{:?}", wait(&changed));
}

#[test]
fn without_a_share_nothing_is_sent_until_there_is_one() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.rate_limits = vec![per_second(200, 1)];
        let destination = setup.build();
        destination.set_share(0, Monotonic::now());
        let dispatcher = start(&destination);
        let board = Rc::new(Board::default());
        dispatcher.submit(job(&board, 0));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((dispatcher.waiting(), server.connections.get()), (1, 0));
        assert_eq!(destination.why_held(Monotonic::now()), Some(Held::NoShare));
        destination.set_share(PARTS, Monotonic::now());
        assert_eq!(board.classes(1).await, [Class::Success]);
    });
}

#[test]
fn overload_closes_the_gate_and_the_rest_waits_without_attempts() {
    local(async {
        let server = Server::start(|seen| match seen.number {
            0 => Act::Say(reply(429, "retry-after: 1\r\n", "")),
            _ => Act::Say(reply(200, "", "")),
        })
        .await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.concurrency_max = 1;
        let destination = setup.build();
        let dispatcher = start(&destination);
        let board = Rc::new(Board::default());
        let began = Monotonic::now();
        (0..3).for_each(|n| dispatcher.submit(job(&board, n)));
        assert_eq!(board.classes(1).await, [Class::Overload]);
        let held = destination.why_held(Monotonic::now());
        assert!(matches!(held, Some(Held::Overload { wait_ms: 800..=1_000 })), "{held:?}");
        assert_eq!(dispatcher.waiting(), 2);
        assert_eq!(board.classes(3).await, [Class::Overload, Class::Success, Class::Success]);
        assert!(Monotonic::now().since(began) >= Duration::from_secs(1));
    });
}

#[test]
fn a_failing_destination_is_left_alone_then_probed_once() {
    local(async {
        let server = Server::start(|seen| match seen.number {
            0..10 => Act::Say(reply(500, "", "")),
            _ => Act::Say(reply(200, "", "")),
        })
        .await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.concurrency_max = 1;
        let destination = setup.build();
        let dispatcher = start(&destination);
        let board = Rc::new(Board::default());
        (0..14).for_each(|n| dispatcher.submit(job(&board, n)));
        let classes = board.classes(10).await;
        assert!(classes.iter().all(|class| *class == Class::Transient));
        assert_eq!(dispatcher.waiting(), 4);
        assert!(matches!(destination.why_held(Monotonic::now()), Some(Held::Breaker { .. })));
        assert!(destination.status(Monotonic::now()).trouble.is_some());
        let classes = board.classes(14).await;
        assert!(classes[10..].iter().all(|class| *class == Class::Success));
        let seen = server.seen.borrow();
        assert!(seen[10].at.since(seen[9].at) >= Duration::from_millis(700));
        assert_eq!(destination.status(Monotonic::now()).trouble, None);
    });
}

#[test]
fn an_incident_stops_at_once_and_resuming_probes_at_once() {
    local(async {
        let server = Server::start(|seen| match seen.number {
            0 => Act::Say(reply(410, "", "")),
            _ => Act::Say(reply(200, "", "")),
        })
        .await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.concurrency_max = 1;
        let destination = setup.build();
        let dispatcher = start(&destination);
        let board = Rc::new(Board::default());
        (0..3).for_each(|n| dispatcher.submit(job(&board, n)));
        assert_eq!(board.classes(1).await, [Class::Incident]);
        let held = destination.why_held(Monotonic::now());
        assert!(matches!(held, Some(Held::Hold { .. })), "{held:?}");
        assert_eq!(dispatcher.waiting(), 2);
        destination.resume(Monotonic::now());
        assert_eq!(board.classes(3).await, [Class::Incident, Class::Success, Class::Success]);
    });
}

#[test]
fn who_resumes_it_gives_it_a_new_dead_letter_budget() {
    let mut setup = Setup::new("127.0.0.1", 9);
    setup.destination.dead_letter_budget =
        Some(resources::DeadLetterBudget { max: 2, percent: 0, window: Duration::from_secs(300) });
    let destination = setup.build();
    let refused = Report {
        class: Class::Reject,
        code: "DELIVER_STATUS",
        status: Some(422),
        message: String::new(),
        excerpt: String::new(),
        retry_after: None,
        wait: None,
        sent: None,
        took: Duration::ZERO,
    };
    let exceeds = || destination.exceeds_budget(&refused, Monotonic::now());
    assert_eq!([exceeds(), exceeds(), exceeds()], [false, false, true]);
    assert!(destination.why_held(Monotonic::now()).is_some());
    destination.resume(Monotonic::now());
    assert_eq!(([exceeds(), exceeds(), exceeds()]), [false, false, true]);
}

#[test]
fn who_may_not_send_waits() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let dispatcher = start(&Setup::new("127.0.0.1", server.address.port()).build());
        let (fenced, free) = (Rc::new(Board::default()), Rc::new(Board::default()));
        fenced.fenced.set(true);
        dispatcher.submit(job(&fenced, 0));
        dispatcher.submit(job(&free, 1));
        free.wait(1).await;
        assert_eq!((dispatcher.waiting(), fenced.rendered.get()), (1, 0));
        fenced.fenced.set(false);
        fenced.wait(1).await;
    });
}

#[test]
fn the_abandoned_are_dropped_and_their_requests_cut_off() {
    local(async {
        let server =
            Server::start(|seen| if seen.head.contains("key-9") { Act::Say(reply(200, "", "")) } else { Act::Hang })
                .await;
        let destination = Setup::new("127.0.0.1", server.address.port()).build();
        let dispatcher = start(&destination);
        let (lost, kept) = (Rc::new(Board::default()), Rc::new(Board::default()));
        (0..20).for_each(|n| dispatcher.submit(job(&lost, n + 100)));
        while server.seen.borrow().len() < 8 {
            tokio::task::yield_now().await;
        }
        dispatcher.submit(job(&kept, 9));
        lost.abandoned.set(true);
        tokio::task::yield_now().await;
        assert_eq!(dispatcher.in_flight(), 8, "not before it is asked for");
        dispatcher.cancel_abandoned();
        kept.wait(1).await;
        server.closed.notified().await;
        assert_eq!((dispatcher.waiting(), dispatcher.in_flight()), (0, 0));
        assert_eq!(destination.concurrency().in_flight(), 0);
        assert!(lost.reports.borrow().is_empty());
        assert_eq!(lost.returned.borrow().len(), 20 - 8, "those that waited");
        lost.returned.borrow_mut().clear();
        assert_eq!(Rc::strong_count(&lost), 1, "the others are gone");
    });
}

#[test]
fn closing_ends_the_task_when_nothing_is_left() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let destination = Setup::new("127.0.0.1", server.address.port()).build();
        let dispatcher = Rc::new(Dispatcher::new(Arc::clone(&destination)));
        let board = Rc::new(Board::default());
        (0..20).for_each(|n| dispatcher.submit(job(&board, n)));
        dispatcher.close();
        dispatcher.run().await;
        assert_eq!(board.reports.borrow().len(), 20);
        // Given up in the middle: slots come back.
        let dispatcher = Rc::new(Dispatcher::new(Arc::clone(&destination)));
        dispatcher.submit(job(&board, 20));
        let late = tokio::time::timeout(Duration::ZERO, dispatcher.run()).await;
        assert!(late.is_err());
        drop(dispatcher);
        assert_eq!(destination.concurrency().in_flight(), 0);
    });
}

#[test]
fn two_workers_take_turns_at_one_slot() {
    local(async {
        let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
        let mut setup = Setup::new("127.0.0.1", server.address.port());
        setup.destination.concurrency_max = 1;
        let destination = setup.build();
        let dispatchers = [start(&destination), start(&destination)];
        let boards = [Rc::new(Board::default()), Rc::new(Board::default())];
        (0..100).for_each(|n| dispatchers[0].submit(job(&boards[0], n)));
        (0..10).for_each(|n| dispatchers[1].submit(job(&boards[1], n)));
        boards[1].wait(10).await;
        assert!(boards[0].reports.borrow().len() < 50, "{}", boards[0].reports.borrow().len());
        boards[0].wait(100).await;
    });
}

#[test]
fn a_changed_resource_keeps_limits_and_probes_at_once() {
    local(async {
        let server = Server::start(|seen| match seen.number {
            0 => Act::Say(reply(401, "", "")),
            _ => Act::Say(reply(200, "", "")),
        })
        .await;
        let setup = || {
            let mut setup = Setup::new("127.0.0.1", server.address.port());
            setup.destination.rate_limits = vec![per_second(1_000, 10)];
            setup
        };
        let before = setup().build();
        let board = Rc::new(Board::default());
        start(&before).submit(job(&board, 0));
        assert_eq!(board.classes(1).await, [Class::Incident]);
        let now = Monotonic::now();
        let resource = setup().resource();
        let after = Destination::new(Arc::clone(&resource), connection(&resource).unwrap(), Some(&before)).unwrap();
        after.adopt(&before, now);
        assert_eq!(after.status(now).share, PARTS);
        start(&Arc::new(after)).submit(job(&board, 1));
        assert_eq!(board.classes(2).await, [Class::Incident, Class::Success]);
    });
}

/// Threads as in production: each worker has its own runtime, and only atomics lie between them.
#[test]
fn workers_on_threads_lose_neither_slots_nor_wakes() {
    let stop = Arc::new(Notify::new());
    let (tell, told) = std::sync::mpsc::channel();
    let end = Arc::clone(&stop);
    let server = std::thread::spawn(move || {
        local(async move {
            let server = Server::start(|_| Act::Say(reply(200, "", ""))).await;
            tell.send(server.address.port()).unwrap();
            end.notified().await;
        });
    });
    let mut setup = Setup::new("127.0.0.1", told.recv().unwrap());
    setup.destination.concurrency_max = 3;
    setup.destination.rate_limits = vec![per_second(100_000, 1_000)];
    let destination = setup.build();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let destination = &destination;
            scope.spawn(move || {
                local(async move {
                    let dispatcher = start(destination);
                    let board = Rc::new(Board::default());
                    // Bursts, so that workers come and go.
                    for burst in 1..=10 {
                        (0..40).for_each(|n| dispatcher.submit(job(&board, worker * 1_000 + n)));
                        assert!(board.classes(burst * 40).await.iter().all(|class| *class == Class::Success));
                        assert!(destination.concurrency().in_flight() <= 8);
                    }
                });
            });
        }
    });
    assert_eq!(destination.concurrency().in_flight(), 0);
    stop.notify_one();
    server.join().unwrap();
}

#[test]
fn enough_waits_in_a_long_line_that_moves() {
    let ms = |ms: u64| Monotonic(1_000_000_000 + ms * 1_000_000);
    let dispatcher = Dispatcher::new(Setup::new("127.0.0.1", 9).build());
    let board = Rc::new(Board::default());
    let submit = |count: usize| (0..count).for_each(|n| dispatcher.submit(job(&board, n)));
    let leave = |count: usize| drop(dispatcher.waiting.borrow_mut().drain(..count));
    submit(200);
    assert!(!dispatcher.is_ample(ms(0)), "they are sent soon");
    submit(5_000);
    assert!(dispatcher.is_ample(ms(0)), "presumed to be fast");
    assert!(dispatcher.is_ample(ms(99)) && !dispatcher.is_ample(ms(101)), "for once");
    leave(100);
    dispatcher.pace(ms(121));
    assert!(dispatcher.is_ample(ms(121)), "100 in 20 ms");
    leave(10);
    dispatcher.pace(ms(150));
    assert!(!dispatcher.is_ample(ms(150)), "others may wait behind a slow one");
    leave(1_000);
    dispatcher.pace(ms(200));
    assert!(dispatcher.is_ample(ms(250)) && !dispatcher.passes_soon(ms(250)));
    // Nothing was seen of it for long: perhaps this thread had no processor.
    assert!(dispatcher.is_ample(ms(900)) && !dispatcher.is_ample(ms(1_001)));
    leave(3_900);
    assert_eq!(dispatcher.waiting(), 190);
    assert!(!dispatcher.is_ample(ms(1_002)));
}
