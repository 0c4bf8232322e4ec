//! Whether a service is well: asked with a real request, as its users would.

use std::time::{Duration, Instant};

use nsutil::error::{Error, Result};
use ureq::Agent;

/// Longest wait for a service that was just started.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for one answer.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// What a URL answers: status and text, whatever the status.
///
/// # Errors
/// The cause in words when there is no answer.
pub fn answer(url: &str) -> std::result::Result<(u16, String), String> {
    let config = Agent::config_builder().timeout_global(Some(ONE_ANSWER)).http_status_as_error(false).build();
    let mut response = Agent::from(config).get(url).call().map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((response.status().as_u16(), text))
}

/// Whether the service at `url` answers at all.
pub fn is_well(url: &str) -> bool {
    answer(url).is_ok()
}

/// Waits until `url` answers.
///
/// # Errors
/// The last cause, when it has not within twenty seconds.
pub fn wait_for(url: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        match answer(url) {
            Ok(_) => return Ok(()),
            Err(cause) if begin.elapsed() > PATIENCE => {
                return Err(Error::new("get an answer from", url, cause).hint("see `service-orchestrator logs`"));
            }
            // Nothing tells us when another process listens, so we ask again.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
