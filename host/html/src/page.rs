//! What all pages have in common: head, policy, style and script.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use host_files::{sha256, text};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, context};
use serde::Serialize;

use crate::palette;

/// Escaped by its ending: whatever stands in a value stays text.
const BASE: (&str, &str) = ("base.html", include_str!("../assets/base.html"));
const MACROS: (&str, &str) = ("macros.html", include_str!("../assets/macros.html"));
const NAME: &str = "page.html";
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
/// By which a page of ours is known.
const MARK: &str = "<meta name=\"generator\" content=\"host\">";
/// Bytes in which it stands.
const HEAD: usize = 2000;

/// Whether a page in a browser looks for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is as it was written.
    Never,
    /// It is served, asks its server every so many seconds whether it has changed, and may ask
    /// nobody else. What it shows has this name there.
    Every(u32, u64),
}

/// The source of a page: `{% extends "base.html" %}` and blocks. `macros.html` has tables and charts.
#[derive(Debug)]
pub struct Template(Environment<'static>);

impl Template {
    /// # Errors
    /// A source that is no template.
    pub fn new(source: &'static str) -> Result<Self, Error> {
        let mut environment = Environment::new();
        for (name, source) in [BASE, MACROS, (NAME, source)] {
            environment.add_template(name, source)?;
        }
        Ok(Self(environment))
    }

    /// Renders the page with `data`.
    ///
    /// # Errors
    /// A template that asks for what isn't there.
    pub fn page(&self, data: &impl Serialize, refresh: Refresh) -> Result<String, Error> {
        let style = format!("{}{STYLE}", palette::css());
        let (seconds, state) = match refresh {
            Refresh::Never => (0, 0),
            Refresh::Every(seconds, state) => (seconds, state),
        };
        let template = self.0.get_template(NAME)?;
        let page = template.render(context! {
            page => context! {
                generator => Value::from_safe_string(MARK.into()),
                policy => policy(&style, refresh != Refresh::Never),
                style => Value::from_safe_string(style),
                script => Value::from_safe_string(SCRIPT.into()),
                watch => seconds,
                state => format!("{state:016x}"),
            },
            ..Value::from(Serde(data))
        })?;
        // A browser obeys overrides of direction, too.
        Ok(text::block(&page).into_owned())
    }
}

/// Nothing is loaded, sent or framed, and no script and style but ours count.
fn policy(style: &str, asks: bool) -> String {
    let connect = if asks { "; connect-src 'self'" } else { "" };
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'{connect}",
        digest(style),
        digest(SCRIPT)
    )
}

fn digest(content: &str) -> String {
    let bytes = hex::decode(sha256::hex(content)).unwrap_or_default();
    format!("sha256-{}", STANDARD.encode(bytes))
}

/// Whether a file begins as the pages of this program do.
pub fn is_ours(start: &[u8]) -> bool {
    let head = &start[..start.len().min(HEAD)];
    head.windows(MARK.len()).any(|part| part == MARK.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOURCE: &str = "{% extends \"base.html\" %}{% block title %}{{ name }}{% endblock %}{% block main %}<p title=\"{{ name }}\">{{ name }}</p>{% endblock %}";

    #[test]
    fn what_a_page_shows_stays_text_and_loads_nothing() {
        let template = Template::new(SOURCE).unwrap();
        let name = "</title><script>x()</script>\"\u{202e}'</style>";
        let page = template.page(&context! { name => name }, Refresh::Never).unwrap();
        assert!(is_ours(page.as_bytes()) && !is_ours(b"<!doctype html>"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert_eq!(page.matches("</style>").count(), 1, "{page}");
        assert!(page.contains("\\u{202e}") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("default-src &#x27;none&#x27;"), "{page}");
        assert!(!page.contains("connect-src"), "{page}");
        let watched = template.page(&context! { name => name }, Refresh::Every(3, 7)).unwrap();
        assert!(watched.contains("connect-src &#x27;self&#x27;"), "{watched}");
    }

    /// The policy names style and script by their digests, so the last escape must leave them alone.
    #[test]
    fn style_and_script_stand_on_the_page_as_they_are() {
        let style = format!("{}{STYLE}", palette::css());
        for part in [&*style, SCRIPT] {
            assert_eq!(text::block(part), part);
            assert!(!part.contains("</"), "ends its element");
        }
    }
}
