//! How long "at once" may take.

use std::time::Duration;

/// A limit of time on a machine such as this one: where processors are emulated, `TEST_TIME_FACTOR` says that so many times
/// as long is still in time. `vm/tests/suite` sets it; without it the limit holds as it stands.
pub fn within(limit: Duration) -> Duration {
    limit * std::env::var("TEST_TIME_FACTOR").map_or(1, |factor| factor.parse().unwrap())
}
