//! Concurrent visitors, each with a persistent connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The outcome of one request.
pub struct Outcome {
    pub begin: Instant,
    pub end: Instant,
    /// The visitor's number; none if there was no greeting.
    pub number: Option<u64>,
}

/// The number of wanted visits, and the number of greetings so far.
pub struct Visits {
    wanted: usize,
    begun: AtomicUsize,
    greeted: AtomicUsize,
}

impl Visits {
    pub fn wanted(wanted: usize) -> Arc<Self> {
        Arc::new(Self { wanted, begun: AtomicUsize::new(0), greeted: AtomicUsize::new(0) })
    }

    pub fn so_far(&self) -> usize {
        self.greeted.load(Ordering::Relaxed)
    }

    fn begin_another(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.wanted
    }
}

/// How long a visitor waits after a failed request.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the wanted number of visits with `visitors` concurrent visitors, from the network namespace of this thread.
/// Failed visits do not count.
pub fn visit(to: (Ipv4Addr, u16), visitors: usize, visits: &Arc<Visits>) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let one = |_| tokio::spawn(visitor(SocketAddr::from(to), Arc::clone(visits)));
        let all: Vec<_> = (0..visitors).map(one).collect();
        let mut outcomes = Vec::new();
        for visitor in all {
            outcomes.extend(visitor.await.unwrap());
        }
        outcomes
    })
}

async fn visitor(to: SocketAddr, visits: Arc<Visits>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut connection = None;
    while visits.begin_another() {
        loop {
            let begin = Instant::now();
            let number = ask(&mut connection, to).await;
            outcomes.push(Outcome { begin, end: Instant::now(), number });
            if number.is_some() {
                visits.greeted.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    outcomes
}

/// Sends one request on the connection, or on a new one.
async fn ask(connection: &mut Option<SendRequest<Empty<Bytes>>>, to: SocketAddr) -> Option<u64> {
    let mut open = match connection.take() {
        Some(open) if open.is_ready() => open,
        _ => connect(to).await?,
    };
    let request = Request::get("/").header("Host", to.to_string()).body(Empty::new()).ok()?;
    let response = open.send_request(request).await.ok()?;
    let greeted = response.status() == 200;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    open.ready().await.ok()?;
    *connection = Some(open);
    let text = std::str::from_utf8(&body).ok()?;
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if greeted { digits.parse().ok() } else { None }
}

async fn connect(to: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(to).await.ok()?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(driver);
    Some(sender)
}
