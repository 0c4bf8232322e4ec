//! Parsers for command line values that several commands take.

/// Reads a seed as reports show it.
pub fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "a seed is a hexadecimal number, such as 7f3a".to_owned())
}

/// Reads a factor.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("a factor is a number above 0, such as 2 or 0.5".to_owned()),
    }
}
