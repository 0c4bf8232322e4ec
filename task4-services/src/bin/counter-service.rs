//! `counter-service PORT THREADS`: a counter over HTTP.
//!
//! | request | answer, as text/plain |
//! |---|---|
//! | `GET /get_and_increment_counter` | the counter, which is then incremented |
//! | `GET /get_counter` | the counter |
//! | `GET /reset_counter` | 1, to which the counter is reset |

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use clap::Parser;
use task4_services::server::serve;

/// Initial value of the counter.
const FIRST: u64 = 1;

/// Counts, for whoever asks over HTTP
#[derive(Parser)]
#[command(version)]
struct CounterOptions {
    /// Port to listen on, at every address
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// How many requests are worked on at the same moment
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
}

/// An atomic number: concurrent increments are neither lost nor doubled.
type Counter = Arc<AtomicU64>;

fn main() -> ExitCode {
    let options = CounterOptions::parse();
    match serve("counter-service", options.port, usize::from(options.threads), routes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("counter-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn routes() -> Router {
    Router::new()
        .route("/get_and_increment_counter", get(get_and_increment))
        .route("/get_counter", get(get_counter))
        .route("/reset_counter", get(reset))
        .with_state(Counter::new(AtomicU64::new(FIRST)))
}

async fn get_and_increment(State(counter): State<Counter>) -> String {
    counter.fetch_add(1, Ordering::Relaxed).to_string()
}

async fn get_counter(State(counter): State<Counter>) -> String {
    counter.load(Ordering::Relaxed).to_string()
}

async fn reset(State(counter): State<Counter>) -> String {
    counter.store(FIRST, Ordering::Relaxed);
    FIRST.to_string()
}
