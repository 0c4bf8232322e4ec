//! `external-service COUNTER_URL`: greets each visitor with a number from the counter service.
//!
//! Listens on port 8080. `GET /` is a visit: the answer is HTML for a browser, otherwise plain text. If the counter
//! cannot be reached, the answer is 502 with the cause; no state is kept, so the service recovers as soon as the
//! counter does. `GET /health` answers `ok` without counting.

use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use task4_services::server::serve;
use ureq::Agent;

const PORT: u16 = 8080;
const THREADS: usize = 4;
/// Timeout of a request to the counter.
const PATIENCE: Duration = Duration::from_secs(3);
/// Maximum number of idle connections to the counter that are kept: more than there are concurrent visitors.
const KEPT: usize = 256;
const PAGE: &str = include_str!("../page.html");

/// Greets each visitor with a number from the counter service
#[derive(Parser)]
#[command(version)]
struct PageOptions {
    /// Where the counter service is, for example http://192.168.2.2:8080/
    #[arg(value_parser = base_url)]
    counter_url: String,
}

/// A client of the counter service.
struct CounterClient {
    url: String,
    /// Keeps connections open, and sends each request once: a repeated request could be counted twice.
    agent: RwLock<Agent>,
}

fn main() -> ExitCode {
    let options = PageOptions::parse();
    let counter = Arc::new(CounterClient { url: options.counter_url, agent: RwLock::new(new_agent()) });
    let routes = Router::new().route("/", get(greet)).route("/health", get(async || "ok\n")).with_state(counter);
    match serve("external-service", PORT, THREADS, routes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("external-service: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A base URL without the slash at its end.
fn base_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(host) if !host.trim_end_matches('/').is_empty() => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected http://HOST:PORT/, for example http://192.168.2.2:8080/".to_owned()),
    }
}

async fn greet(State(counter): State<Arc<CounterClient>>, headers: HeaderMap) -> Response {
    let asked = Arc::clone(&counter);
    // The request blocks, so it does not run on the worker threads.
    let number = tokio::task::spawn_blocking(move || asked.next()).await;
    let (status, title, text) = match number.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(number) => (StatusCode::OK, format!("{number}"), format!("Hello! You are visitor number {number}.")),
        Err(cause) => {
            let text = format!("The counter service cannot be reached: {cause}");
            (StatusCode::BAD_GATEWAY, "?".to_owned(), text)
        }
    };
    if wants_html(&headers) {
        let page = PAGE.replace("{{number}}", &title).replace("{{text}}", &escaped(&text));
        (status, Html(page)).into_response()
    } else {
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text + "\n").into_response()
    }
}

impl CounterClient {
    /// The next visitor's number.
    fn next(&self) -> Result<u64, String> {
        let url = format!("{}/get_and_increment_counter", self.url);
        let agent = self.agent.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = ask(&agent, &url).map_err(|error| {
            // If the counter vanished without closing its connections, all of them are dead: none is used again.
            *self.agent.write().unwrap_or_else(PoisonError::into_inner) = new_agent();
            format!("{url}: {error}")
        })?;
        answer.trim().parse().map_err(|_| format!("{url} answered {answer:?}, which is not a number"))
    }
}

fn ask(agent: &Agent, url: &str) -> Result<String, ureq::Error> {
    agent.get(url).call()?.body_mut().read_to_string()
}

fn new_agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .max_idle_connections(KEPT)
        .max_idle_connections_per_host(KEPT);
    config.build().into()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|kinds| kinds.contains("text/html"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
