//! Names of layers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// ID of a layer: 32 hexadecimal digits, the beginning of the hash of its inputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerId(String);

/// Number of bytes of the hash that are used. Short, since overlay's options have limited space.
const ID_BYTES: usize = 16;

impl LayerId {
    /// The layer whose parts have this hash.
    pub fn of_hash(hash: &[u8]) -> Self {
        Self(hash.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for LayerId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 2 * ID_BYTES && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is not a layer: that is {} hexadecimal digits", 2 * ID_BYTES))
    }
}

impl TryFrom<String> for LayerId {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<LayerId> for String {
    fn from(id: LayerId) -> Self {
        id.0
    }
}
