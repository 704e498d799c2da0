//! Durations in the notation of Go, which etcd's flags use: `1h30m`, `250ms`.

/// Reads a duration in milliseconds, rounded up; a bare number is seconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000).ok_or_else(|| "too long".into());
    }
    parse_go_duration_ms(text)
}

/// Reads Go's notation: numbers, which may have a decimal point, each with a unit (h m s ms us ns).
pub fn parse_go_duration_ms(text: &str) -> Result<u64, String> {
    let unclear = || format!("{text:?} is not a duration (300ms, 5s, 10m, 1h30m)");
    let mut total_ms = 0.0;
    let mut rest = text;
    if rest == "0" {
        return Ok(0);
    }
    while !rest.is_empty() || total_ms == 0.0 && text.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(unclear)?;
        let number: f64 = rest[..number_end].parse().map_err(|_| unclear())?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit_ms = match &rest[..unit_end] {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1_000.0,
            "ms" => 1.0,
            "us" | "µs" | "μs" => 1e-3,
            "ns" => 1e-6,
            _ => return Err(unclear()),
        };
        total_ms += number * unit_ms;
        rest = &rest[unit_end..];
    }
    // Go's durations are limited to 292 years
    if total_ms > 9_223_372_036_854.0 {
        Err(format!("{text:?} is too long"))
    } else {
        Ok(total_ms.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        let known = [
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("300ms", 300),
            ("1us", 1),
            ("0", 0),
            ("0s", 0),
            ("10m", 600_000),
        ];
        for (text, ms) in known {
            assert_eq!(parse_go_duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "5", "h", "1x", "-1s", "1h 5m", ".", "s1", "9999999999h"] {
            assert!(parse_go_duration_ms(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration_ms("5"), Ok(5_000));
        assert!(parse_duration_ms("18446744073709551615").is_err());
    }
}
