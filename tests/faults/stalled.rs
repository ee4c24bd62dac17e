//! Peers and file systems that keep the server waiting: those who read slowly and steadily are
//! served, those who acknowledge nothing are given up, and files that cannot be read hold up nobody
//! else.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bayeux::{AllowedHost, Body, Config, ContentRequest, Response, Server};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::good::Good;
use super::program::Program;
use super::scale::{alone, few, lenient, metric, post, session, span, tell, tell_latencies, until};
use crate::common::http::{Connection, request_bytes};

/// Whoever asks for what hangs.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection whose peer takes little before it reads.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let timeout = Some(Duration::from_secs(20));
    socket.set_read_timeout(timeout).unwrap();
    socket.into()
}

/// A session that is subscribed to the channel.
fn subscribed(connection: &mut Connection, channel: &str) -> String {
    let id = session(connection);
    let subscribe = json!({"channel": "/meta/subscribe", "clientId": id, "subscription": channel});
    connection.send(post(&subscribe));
    assert_eq!(connection.response().messages()[0]["successful"], true);
    id
}

/// Publishes so many bytes, as nobody.
fn publish(connection: &mut Connection, channel: &str, bytes: usize) {
    let message = json!({"channel": channel, "data": "x".repeat(bytes)});
    connection.send(post(&message));
    assert_eq!(connection.response().messages()[0]["successful"], true);
}

#[test]
fn who_reads_slowly_and_steadily_gets_it_all() {
    const RATE: usize = 90_000;
    let _alone = alone();
    // 30 times as fast as 3 KB/s where a peer has 30 s.
    let program = Program::start(&["--write-timeout=1s", "--anonymous-publish=true"]);
    let mut connection = Connection::open(program.address);
    let id = subscribed(&mut connection, "/slow");
    for _ in 0..25 {
        publish(&mut connection, "/slow", 20_000);
    }
    let mut reader = TcpStream::connect(program.address).unwrap();
    let connect = json!({"channel": "/meta/connect", "clientId": id,
        "connectionType": "long-polling"});
    std::io::Write::write_all(&mut reader, &post(&connect)).unwrap();
    let (begun, mut got) = (Instant::now(), 0);
    let mut piece = [0; RATE / 10];
    while got < 500_000 {
        let read = reader.read(&mut piece);
        let after = begun.elapsed();
        match read {
            Ok(n @ 1..) => got += n,
            other => panic!("{other:?} after {got} bytes and {after:.2?}"),
        }
        let due = Duration::from_secs_f64(got as f64 / RATE as f64);
        std::thread::sleep(due.saturating_sub(after));
    }
    tell(&format!("\n== {got} bytes read in {:.2?}", begun.elapsed()));
}

#[test]
fn streams_whose_peers_acknowledge_nothing_are_given_up() {
    let _alone = alone();
    let streams = few(300);
    tell(&format!(
        "\n== {streams} event streams whose peers are gone"
    ));
    let program = Program::start(&["--write-timeout=1s", "--anonymous-publish=true"]);
    let mut connection = Connection::open(program.address);
    let before = metric(&program, "connections");
    let open = |channel: &str, connection: &mut Connection| {
        let id = subscribed(connection, channel);
        let get = request_bytes(
            "GET",
            &format!("/cometd/{id}"),
            "Accept: text/event-stream\r\n",
            b"",
        );
        let mut stream = narrow(program.address);
        std::io::Write::write_all(&mut stream, &get).unwrap();
        stream
    };
    let mut alive = open("/alive", &mut connection);
    let gone = (0..streams).map(|_| open("/gone", &mut connection));
    let _gone: Vec<_> = gone.collect();
    let patience = lenient(Duration::from_secs(5));
    until("all streams are there", patience, || {
        metric(&program, "connections") == before + streams as f64 + 1.0
    });
    // Much more than they take, and no more than the kernel does.
    publish(&mut connection, "/gone", 40_000);
    publish(&mut connection, "/alive", 40_000);
    let reader = std::thread::spawn(move || {
        let (mut got, mut piece) = (0, [0; 1024]);
        while let Ok(n @ 1..) = alive.read(&mut piece) {
            got += n;
        }
        got
    });
    let took = until("those that read nothing are given up", patience, || {
        metric(&program, "connections") == before + 1.0
    });
    tell(&format!("   given up {took:.2?} after a message"));
    drop(program);
    assert!(reader.join().unwrap() > 40_000);
}

/// What well-behaved clients feel while ten connections ask for that.
fn others_while_fetching(server: &Server, path: &str) {
    let address = server.local_addrs()[0];
    let good = Good::start(address, few(100));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    let fetch = |_| {
        let mut connection = Connection::open_from(STRANGER, address);
        connection.send(request_bytes("GET", path, "", b""));
        connection
    };
    let _fetching: Vec<_> = (0..10).map(fetch).collect();
    let meanwhile = good.measured(span());
    assert_eq!(Connection::open(address).get("/other/").status, 200);
    tell_latencies("others", &peace, &meanwhile);
    assert!(meanwhile.p99_ms() < 900.0, "{} ms", meanwhile.p99_ms());
    assert_eq!(good.stop(), Vec::<String>::new());
}

/// A server with two I/O threads and four workers, and that handler.
fn server(
    adjust: impl FnOnce(&mut Config),
    handler: impl Fn(&ContentRequest) -> Response + Send + Sync + 'static,
) -> Server {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        demo: Some(false),
        workers: 4,
        ..Config::default()
    };
    config.broker.timeout = Duration::from_secs(2);
    config.native.io_threads = 2;
    config.site.allowed_hosts = vec![AllowedHost::any()];
    adjust(&mut config);
    let builder = Server::builder().config(config);
    builder.content("/other/", 0, handler).start().unwrap()
}

#[test]
fn files_that_cannot_be_read_hold_up_nobody_else() {
    let _alone = alone();
    tell("\n== ten downloads of a file that cannot be read");
    let (hangs, other) = UnixStream::pair().unwrap();
    let handler = move |request: &ContentRequest| {
        let mut response = Response::new(200);
        if request.path == "/other/hangs" {
            let file = File::from(OwnedFd::from(hangs.try_clone().unwrap()));
            let (offset, len) = (0, 1000);
            response.body = Body::File { file, offset, len };
        }
        response
    };
    let server = server(|_| {}, handler);
    others_while_fetching(&server, "/other/hangs");
    drop(other);
}

/// A directory whose file system answers nothing, until it is dropped.
struct Hanging {
    folder: PathBuf,
    device: Option<File>,
}

impl Hanging {
    /// `None` to whoever may not mount anything.
    fn mounted() -> Option<Self> {
        let name = format!("hanging-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let inner = folder.join("hangs");
        std::fs::create_dir_all(&inner).unwrap();
        let mut device = File::options();
        let device = device.read(true).write(true).open("/dev/fuse").ok()?;
        let number = device.as_raw_fd();
        let options = format!("fd={number},rootmode=40000,user_id=0,group_id=0");
        let options = CString::new(options).unwrap();
        let flags = MountFlags::empty();
        mount("hanging", &inner, "fuse", flags, options.as_c_str()).ok()?;
        Some(Self {
            folder,
            device: Some(device),
        })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Whoever waits for an answer gets an error then.
        self.device = None;
        let _ = unmount(self.folder.join("hangs"), UnmountFlags::DETACH);
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Needs the right to mount, which whoever runs tests in a container mostly has.
#[test]
fn a_document_root_that_hangs_holds_up_nobody_else() {
    let _alone = alone();
    tell("\n== ten downloads from a document root that hangs");
    let Some(hanging) = Hanging::mounted() else {
        eprintln!("not tried: nothing can be mounted here");
        return;
    };
    let root = hanging.folder.clone();
    let set = |config: &mut Config| config.site.document_root = Some(root);
    let server = server(set, |_| Response::new(200));
    others_while_fetching(&server, "/hangs/file");
    drop(hanging);
}
