//! Tokens when the resources are loaded anew with another secret.

use super::*;

/// The destination after a reload with another client secret.
fn reloaded(before: &Destination, secret: &str) -> Arc<Destination> {
    let port = before.resource().base.port;
    let mut setup = setup(port);
    setup.connection.auth =
        Auth::OAuth2(Box::new(OAuth2 { client_secret: hidden(secret), ..oauth2("127.0.0.1", port) }));
    let resource = setup.resource();
    let written = Arc::clone(&resource.connection);
    let previous = Some(&**before.connection());
    let connection = RunningConnection::new(written, &Roots::default(), false, previous).unwrap();
    let connection = Arc::new(connection);
    let after = Arc::new(Destination::new(resource, Arc::clone(&connection), Some(before)).unwrap());
    serve(&after);
    connection.adopt(before.connection(), Monotonic::now());
    after.adopt(before, Monotonic::now());
    after
}

#[test]
fn a_reload_keeps_the_token_and_lets_a_failing_endpoint_be_asked_again() {
    local(async {
        let up = Rc::new(Cell::new(true));
        let is_up = Rc::clone(&up);
        let server = Server::start(move |seen| match (is_token(seen), is_up.get()) {
            (true, true) => Act::Say(grant(seen.number, "3600")),
            (true, false) => Act::Say(reply(503, "retry-after: 3600\r\n", "")),
            (false, _) => Act::Say(reply(200, "", "")),
        })
        .await;
        let port = server.address.port();
        let first = served(setup(port));
        let board = Rc::new(Board::default());
        start(&first).submit(job(&board, 0));
        board.wait(1).await;
        let second = reloaded(&first, "s3cret/word");
        start(&second).submit(job(&board, 1));
        assert_eq!(board.classes(2).await, [Class::Success; 2]);
        assert_eq!(tally(&server), (1, 2), "the token is still good");
        up.set(false);
        let third = reloaded(&second, "another");
        start(&third).submit(job(&board, 2));
        until(|| third.status(Monotonic::now()).trouble.is_some()).await;
        assert!(matches!(third.why_held(Monotonic::now()), Some(Held::Token { wait_ms: 3_500_000.. })));
        up.set(true);
        let fourth = reloaded(&third, "another");
        // Who waits is woken, and goes to the dispatcher of today once there is a connection.
        until(|| board.returned.borrow().len() == 1).await;
        let last = start(&fourth);
        board.returned.take().into_iter().for_each(|job| last.submit(job));
        assert_eq!(board.classes(3).await, [Class::Success; 3]);
        assert_eq!(tally(&server), (3, 3));
    });
}

/// A secret is rotated: the old token is worthless at once, and the old secret brings no other.
#[test]
fn who_is_refused_while_the_secret_is_replaced_does_not_wait_for_a_token_of_the_old_one() {
    local(async {
        let gate = Rc::new(Notify::new());
        let held = Rc::clone(&gate);
        let rotated = Rc::new(Cell::new(false));
        let is_rotated = Rc::clone(&rotated);
        let server = Server::start(move |seen| match (is_token(seen), bearer(seen)) {
            // Only the old secret is known from before.
            (true, _) if seen.head.contains("Basic YW5uOnMzY3JldCUyRndvcmQ=") != is_rotated.get() => {
                Act::Say(grant(if is_rotated.get() { 2 } else { 1 }, "3600"))
            }
            (true, _) => Act::Say(reply(401, "", "{\"error\":\"invalid_client\"}")),
            (false, "tok-1") => Act::After(Rc::clone(&held), reply(401, "", "")),
            (false, _) => Act::Say(reply(200, "", "")),
        })
        .await;
        let before = served(setup(server.address.port()));
        let (old, board) = (start(&before), Rc::new(Board::default()));
        submit(&old, &board, 3);
        until(|| tally(&server).1 == 3).await;
        rotated.set(true);
        let after = reloaded(&before, "new");
        assert!(old.take_waiting().is_empty(), "all are in flight");
        gate.notify_waiters();
        until(|| board.returned.borrow().len() == 3).await;
        assert_eq!((old.waiting(), old.in_flight(), after.status(Monotonic::now()).in_flight), (0, 0, 0));
        let new = start(&after);
        board.returned.take().into_iter().for_each(|job| new.submit(job));
        assert_eq!(board.classes(3).await, [Class::Success; 3]);
    });
}
