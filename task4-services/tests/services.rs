//! Tests of the two services, each in its own process: counting, answers, and termination.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running service. Dropping it ends it.
struct Service {
    process: Child,
    log: tempfile::NamedTempFile,
    port: u16,
}

impl Service {
    fn counter(threads: &str) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_counter-service"));
        command.args([&port.to_string(), threads]).stdout(File::create(log.path()).unwrap());
        let service = Self { process: command.spawn().unwrap(), log, port };
        service.wait_for_line(&format!("counter-service: listening on port {port}"));
        service
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build());
        let mut response = agent.get(format!("http://127.0.0.1:{}{path}", self.port)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn log(&self) -> Vec<String> {
        fs::read_to_string(self.log.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn wait_for_line(&self, wanted: &str) {
        let begin = Instant::now();
        while !self.log().iter().any(|line| line == wanted) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no {wanted:?} in {:?}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends the signal; returns the exit status, the time until the end, and the last line of the log.
    fn end(mut self, signal: Signal) -> (ExitStatus, Duration, String) {
        let begin = Instant::now();
        kill_process(Pid::from_raw(self.process.id() as i32).unwrap(), signal).unwrap();
        let status = self.process.wait().unwrap();
        (status, begin.elapsed(), self.log().pop().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_counts_from_one_and_can_be_read_and_reset() {
    let counter = Service::counter("1");
    let asked = ["/get_counter", "/get_and_increment_counter", "/get_and_increment_counter", "/get_counter"];
    assert_eq!(asked.map(|path| counter.get(path).1), ["1", "1", "2", "3"]);
    assert_eq!(counter.get("/reset_counter"), (200, "1".to_owned()));
    assert_eq!(counter.get("/get_and_increment_counter"), (200, "1".to_owned()));
    assert_eq!(counter.get("/nothing").0, 404);
}

#[test]
fn under_parallel_load_no_number_is_lost_and_none_is_given_twice() {
    const CLIENTS: u64 = 32;
    const EACH: u64 = 100;
    let counter = Service::counter("4");
    let url = format!("http://127.0.0.1:{}/get_and_increment_counter", counter.port);
    let client = || {
        let agent = ureq::Agent::from(ureq::Agent::config_builder().proxy(None).build());
        let one = || agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap().parse().unwrap();
        (0..EACH).map(|_| one()).collect::<Vec<u64>>()
    };
    let numbers: Vec<u64> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(numbers.len() as u64, CLIENTS * EACH);
    assert_eq!(numbers.into_iter().collect::<BTreeSet<u64>>(), (1..=CLIENTS * EACH).collect());
    assert_eq!(counter.get("/get_counter").1, (CLIENTS * EACH + 1).to_string());
}

#[test]
fn the_log_has_one_line_for_each_request_and_no_control_character_of_the_caller() {
    let counter = Service::counter("2");
    counter.get("/get_counter");
    counter.get("/%1b%5b2J");
    let mut raw = TcpStream::connect((Ipv4Addr::LOCALHOST, counter.port)).unwrap();
    raw.write_all(b"GET /\xc2\x9b2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    raw.read_to_end(&mut Vec::new()).unwrap();
    let log = counter.log();
    let (status, _, _) = counter.end(Signal::TERM);
    assert!(status.success());
    assert!(log[1].starts_with("127.0.0.1 GET \"/get_counter\" 200 ") && log[1].ends_with(" us"), "{log:?}");
    assert!(log[2].starts_with("127.0.0.1 GET \"/%1b%5b2J\" 404 "), "{log:?}");
    assert!(log.len() <= 4 && log.iter().all(|line| !line.contains(char::is_control)), "{log:?}");
}

#[test]
fn asked_to_end_it_ends_at_once_with_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let counter = Service::counter("2");
        // A client's open connection does not delay the end.
        let mut kept = TcpStream::connect((Ipv4Addr::LOCALHOST, counter.port)).unwrap();
        kept.write_all(b"GET /get_counter HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        kept.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        let (status, took, last) = counter.end(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert_eq!(last, "counter-service: asked to end, all requests are answered");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[test]
fn a_client_that_never_finishes_its_request_does_not_keep_it_from_ending() {
    let counter = Service::counter("2");
    let mut slow = TcpStream::connect((Ipv4Addr::LOCALHOST, counter.port)).unwrap();
    slow.write_all(b"GET /get_counter HTTP/1.1\r\nHo").unwrap();
    counter.get("/get_counter");
    let (status, took, last) = counter.end(Signal::TERM);
    assert_eq!(status.code(), Some(0));
    assert!(last.starts_with("counter-service: asked to end, "), "{last}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn idle_connections_do_not_block_others() {
    let counter = Service::counter("1");
    let _silent: Vec<_> = (0..40).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, counter.port)).unwrap()).collect();
    let begin = Instant::now();
    assert_eq!(counter.get("/get_counter").1, "1");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn wrong_words_are_refused_in_one_line_and_a_taken_port_is_named() {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let counter = env!("CARGO_BIN_EXE_counter-service");
    assert!(said(counter, &["0", "1"]).contains("invalid value '0' for '<PORT>'"));
    assert!(said(counter, &["8080", "0"]).contains("invalid value '0' for '<THREADS>'"));
    let page = env!("CARGO_BIN_EXE_external-service");
    assert!(said(page, &["192.168.2.2:8080"]).contains("expected http://HOST:PORT/"));
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = said(counter, &[&port, "1"]);
    assert_eq!(told, format!("counter-service: cannot listen on port {port}: Address already in use (os error 98)\n"));
}
