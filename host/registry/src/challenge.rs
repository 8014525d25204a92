//! What a registry asks for before it answers: `WWW-Authenticate`.

use ureq::http::{HeaderMap, header};

/// How to show who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token of a service.
    Bearer {
        /// Address of the service.
        realm: String,
        /// What the service knows the registry as.
        service: Option<String>,
    },
}

impl Challenge {
    /// The first challenge in the headers that can be met; a token is asked for where both are offered.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let all: Vec<_> = values.filter_map(|value| Self::parse(value.to_str().ok()?)).collect();
        let bearer = all.iter().find(|one| matches!(one, Self::Bearer { .. }));
        bearer.or(all.first()).cloned()
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer { realm: realm?, service })
    }
}

/// `name="value", name=value`
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = if let Some(quoted) = after.trim_start().strip_prefix('"') {
            unquoted(quoted)
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        found.push((name.trim().to_owned(), value));
        rest = next.trim_start_matches([',', ' ', '\t']);
    }
    found
}

/// A value up to its closing quote, and what is behind that.
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    loop {
        match letters.next() {
            Some((_, '\\')) => value.extend(letters.next().map(|(_, letter)| letter)),
            Some((at, '"')) => return (value, &text[at + 1..]),
            Some((_, letter)) => value.push(letter),
            None => return (value, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(texts: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(header::WWW_AUTHENTICATE, text.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        let service = service.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.into(), service })
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        let docker = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a:pull,push""#;
        assert_eq!(of(&[docker]), bearer("https://auth.example/token", Some("registry.example")));
        assert_eq!(of(&["basic", docker]), of(&[docker]));
        assert_eq!(
            of(&["bearer realm=https://a.example , x=1"]),
            bearer("https://a.example", None)
        );
        assert_eq!(of(&[r#"Bearer realm="a\"b""#]), bearer("a\"b", None));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for odd in
            ["", "Bearer", "Bearer realm", "Negotiate", "Bearer service=\"x\"", "Bearer \"=="]
        {
            assert_eq!(of(&[odd]), None, "{odd}");
        }
        assert_eq!(of(&[r#"Bearer realm="open"#]), bearer("open", None));
        assert_eq!(of(&[r#"Bearer realm="a\"#]), bearer("a", None));
        assert_eq!(of(&[]), None);
    }
}
