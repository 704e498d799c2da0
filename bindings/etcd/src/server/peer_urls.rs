//! URLs at which the members of a cluster reach each other, checked as etcd checks them.

/// The URLs in order, if each is `http://HOST:PORT`, `https://HOST:PORT`, `unix://…` or
/// `unixs://…`, and there is at least one.
pub fn parse(urls: &[String]) -> Option<Vec<String>> {
    let mut parsed: Vec<String> = urls
        .iter()
        .map(|url| url.trim().to_string())
        .filter(|url| is_peer_url(url))
        .collect();
    parsed.sort_unstable();
    (!urls.is_empty() && parsed.len() == urls.len()).then_some(parsed)
}

fn is_peer_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    if rest.contains(|c: char| c.is_control() || c == ' ') {
        return false;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            !path.starts_with('/') && has_port(authority)
        }
        "unix" | "unixs" => true,
        _ => false,
    }
}

/// Whether this is a host and a port; both may be empty, as in etcd.
fn has_port(authority: &str) -> bool {
    let host_and_port = authority.rsplit('@').next().unwrap_or(authority);
    let Some((host, port)) = host_and_port.rsplit_once(':') else {
        return false;
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']');
            address.is_some_and(|address| !address.contains(['[', ']']))
        }
        None => !host.contains([':', '[', ']']),
    };
    is_host && port.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_those_that_etcd_accepts() {
        for url in [
            "http://127.0.0.1:2380",
            "https://example.com:2380",
            "http://[::1]:2380",
            "HTTP://a:1",
            " http://a:1 ",
            "http://:2380",
            "http://a:",
            "http://user@a:1",
            "http://a:1?b",
            "unix://x",
            "unixs://x/y",
        ] {
            let parsed = parse(&[url.to_string()]);
            assert_eq!(parsed, Some(vec![url.trim().to_string()]), "{url}");
        }
        for url in [
            "",
            "a",
            "a:1",
            "http:a:1",
            "http://a",
            "http://a:1/",
            "http://a:1/b",
            "http://a:x",
            "http://::1:2380",
            "http://[::1]",
            "http://[::1:2380",
            "http://[]]:1",
            "http://a b:1",
            "ftp://a:1",
            "http://[:1",
        ] {
            assert_eq!(
                parse(&["http://a:1".into(), url.to_string()]),
                None,
                "{url}"
            );
        }
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn peer_urls_are_sorted() {
        let urls = ["http://b:1", "http://a:1"].map(String::from);
        let sorted = ["http://a:1", "http://b:1"].map(String::from).to_vec();
        assert_eq!(parse(&urls), Some(sorted));
    }
}
