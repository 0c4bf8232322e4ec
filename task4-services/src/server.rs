//! A small HTTP server that can be process 1 of a container: it logs each request and ends on SIGTERM.
//!
//! For process 1 of a PID namespace, the kernel drops SIGTERM if there is no handler, and `stop` has to wait for its
//! timeout. So the handler is installed before the port is opened. See pid_namespaces(7).

use std::future::IntoFuture;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long open requests may take after SIGTERM or SIGINT.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Serves `routes` on every address of the container at `port` until SIGTERM or SIGINT, then lets open requests finish.
///
/// `threads` is the number of worker threads; 0 counts as 1.
///
/// # Errors
/// `EADDRINUSE` when the port is in use, `EACCES` for a port below 1024 without `CAP_NET_BIND_SERVICE`.
pub fn serve(name: &str, port: u16, threads: usize, routes: Router) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads.max(1)).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start {threads} threads: {error}"))?;
    runtime.block_on(async {
        let cannot_handle = |error| format!("cannot set a handler for signals: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot_handle)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot_handle)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
        let listener = listener.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
        log(&format!("{name}: listening on port {port}"));
        let service =
            routes.layer(middleware::from_fn(log_request)).into_make_service_with_connect_info::<SocketAddr>();
        let (tell, asked) = tokio::sync::oneshot::channel();
        let served = axum::serve(listener, service).with_graceful_shutdown(async move {
            ended(&mut terminate, &mut interrupt).await;
            // Fails only if serving has failed already and the receiver is gone.
            let _ = tell.send(());
        });
        let in_time = tokio::select! {
            served = served.into_future() => {
                served.map_err(|error| format!("cannot go on serving: {error}"))?;
                "all requests are answered"
            }
            () = out_of_time(asked) => "some clients did not finish",
        };
        log(&format!("{name}: asked to end, {in_time}"));
        Ok(())
    })
}

/// Waits for the termination signal and then for [`LAST_ANSWERS`]: an idle client must not delay the end.
async fn out_of_time(asked: tokio::sync::oneshot::Receiver<()>) {
    if asked.await.is_err() {
        // Serving has failed; the caller reports that error.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(LAST_ANSWERS).await;
}

async fn ended(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
}

/// Logs one line for each request: client, request, status, duration.
async fn log_request(ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    // Debug formatting escapes control characters, which would affect a terminal.
    let asked = format!("{} {:?}", request.method(), request.uri().path());
    let response = next.run(request).await;
    log(&format!("{} {asked} {} {} us", client.ip(), response.status().as_u16(), begin.elapsed().as_micros()));
    response
}

/// Writes one line to stdout; a log that cannot be written does not stop the service.
fn log(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
