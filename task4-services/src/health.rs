//! Whether a service is well: asked with a real request, as its users would.

use std::time::Duration;

use ureq::Agent;

/// Longest wait for one answer.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// What a URL answers: status and text, whatever the status.
///
/// # Errors
/// The cause in words when there is no answer.
pub fn answer(url: &str) -> std::result::Result<(u16, String), String> {
    // Containers are near: a proxy that the environment names is for what is far.
    let config = Agent::config_builder().timeout_global(Some(ONE_ANSWER)).proxy(None).http_status_as_error(false);
    let mut response = Agent::from(config.build()).get(url).call().map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((response.status().as_u16(), text))
}

/// Whether what answers at `url` says that it is well.
pub fn is_healthy(url: &str) -> bool {
    answer(url).is_ok_and(|(status, _)| (200..300).contains(&status))
}
