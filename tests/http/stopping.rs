//! Draining and stopping; many clients at a time.

use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use bayeux::Access;
use bayeux::ServerBuilder;
use bayeux::ServiceCall;
use serde_json::json;

use super::harness::{Client, Held, On, World, data_of};
use crate::common::ports::{closed, lasting_address};
use crate::common::wait::{PATIENCE, eventually};

pub(crate) fn every_held_connect_is_answered(on: On) {
    drop(drained(on));
}

pub(crate) fn answered_connections_are_closed(on: On) {
    for mut one in drained(on) {
        one.connection.closed_silently();
    }
}

/// Connects that were held when the server stopped, with their answers read.
fn drained(on: On) -> Vec<Held> {
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(60));
    let clients: Vec<Client> = (0..40).map(|_| world.client()).collect();
    let mut held: Vec<Held> = clients.iter().map(|client| client.hold(&world)).collect();
    let address = world.address;
    let begun = Instant::now();
    let stopping = std::thread::spawn(move || world.server.shutdown(Duration::from_secs(2)));
    for one in &mut held {
        let response = one.connection.response();
        assert_eq!(response.header("connection"), Some("close"));
        let reply = response.messages().remove(0);
        assert_eq!(
            (&reply["successful"], reply.get("advice")),
            (&json!(true), None)
        );
    }
    stopping.join().unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begun.elapsed()
    );
    closed(address);
    held
}

pub(crate) fn stopping_takes_no_longer_than_it_must(on: On) {
    let world = World::new(on);
    let _idle = world.client();
    let _half = {
        let mut connection = world.connection();
        connection.send("POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[");
        connection
    };
    let address = world.address;
    let begun = Instant::now();
    world.server.shutdown(Duration::from_secs(2));
    assert!(
        begun.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begun.elapsed()
    );
    closed(address);
}

pub(crate) fn user_code_that_hangs_does_not_delay_the_stop(on: On) {
    let (begun, begins) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let hooks = Mutex::new((begun, wait));
    let hang = move |_: &ServiceCall<'_>| {
        let (begun, wait) = &*hooks.lock().unwrap();
        begun.send(()).unwrap();
        wait.recv().unwrap_err();
        Ok(Vec::new())
    };
    let add = |builder: ServerBuilder| builder.service("/service/hang", Access::Anyone, hang);
    let world = World::built(on, |_| {}, add);
    let call = json!({"channel": "/service/hang", "data": 1}).to_string();
    // They wait in different places of the connector.
    let mut waiting: Vec<_> = (0..4).map(|_| world.connection()).collect();
    for connection in &mut waiting {
        connection.send(super::harness::post_bytes("", &call));
    }
    begins.recv_timeout(PATIENCE).unwrap();
    world.until("all are called", |stats| stats.broker.received == 4);
    let begun = Instant::now();
    world.server.shutdown(Duration::from_secs(1));
    let took = begun.elapsed();
    drop(go);
    assert!(took < Duration::from_millis(1700), "{took:?}");
}

pub(crate) fn a_port_can_be_taken_again_at_once(on: On) {
    let address = lasting_address();
    let at_port = |config: &mut bayeux::Config| {
        config.listen = vec![address.to_string().parse().unwrap()];
    };
    let world = World::with(on, at_port);
    let mut connection = world.connection();
    connection.get("/");
    world.server.shutdown(Duration::from_secs(1));
    if on == On::TinyHttp {
        // The library does not wait for its thread that accepts.
        eventually("it lets go", || TcpListener::bind(address).is_ok());
    }
    World::with(on, at_port).client();
}

pub(crate) fn a_thousand_connections_at_once(on: On) {
    const COUNT: usize = 1000;
    let world = World::with(on, |config| config.broker.timeout = Duration::from_secs(60));
    let mut publisher = world.client();
    // All are open before the first of them says anything.
    let mut connections: Vec<_> = (0..COUNT).map(|_| world.connection()).collect();
    let handshake = super::harness::post_bytes("", r#"[{"channel":"/meta/handshake"}]"#);
    connections
        .iter_mut()
        .for_each(|connection| connection.send(&handshake));
    let mut ids = Vec::new();
    for connection in &mut connections {
        let id = connection.response().messages()[0]["clientId"].clone();
        let both = json!([
            {"channel": "/meta/subscribe", "subscription": "/all", "clientId": id},
            {"channel": "/meta/connect", "clientId": id},
        ]);
        connection.send(super::harness::post_bytes("", &both.to_string()));
        ids.push(id);
    }
    for (connection, id) in connections.iter_mut().zip(&ids) {
        assert_eq!(connection.response().messages().len(), 2);
        let connect = json!({"channel": "/meta/connect", "clientId": id}).to_string();
        connection.send(super::harness::post_bytes("", &connect));
    }
    world.until("all are held", |stats| stats.broker.held == COUNT as u64);
    publisher.publish("/all", &json!("everybody"));
    for connection in &mut connections {
        assert_eq!(
            data_of(&connection.response().messages()),
            [json!("everybody")]
        );
    }
    drop(connections);
}
