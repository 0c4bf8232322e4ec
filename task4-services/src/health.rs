//! Health checks by real HTTP requests, as a user would make them.

use std::time::Duration;

use ureq::Agent;

/// Longest wait for one answer.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Requests a URL; returns status and text, whatever the status.
///
/// # Errors
/// The cause in words when there is no answer.
pub fn answer(url: &str) -> std::result::Result<(u16, String), String> {
    // Containers are local: ignore a proxy named in the environment.
    let config = Agent::config_builder().timeout_global(Some(ONE_ANSWER)).proxy(None).http_status_as_error(false);
    let mut response = Agent::from(config.build()).get(url).call().map_err(|error| error.to_string())?;
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((response.status().as_u16(), text))
}

/// Whether `url` answers with a success status, 200 to 299.
pub fn is_healthy(url: &str) -> bool {
    answer(url).is_ok_and(|(status, _)| (200..300).contains(&status))
}
