//! Text in a markup language, shown as what it means.

use super::{Bundle, Rich};

/// Html to show.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Html("<b>bold</b>"));
/// let n = 3;
/// show(&Html(format!("<i>{n}</i> of 4")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Html<S: AsRef<str> = String>(
    /// The source.
    pub S,
);

/// A picture in svg.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Svg(r#"<svg width="20" height="20"><circle cx="10" cy="10" r="9"/></svg>"#));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Svg<S: AsRef<str> = String>(
    /// The source.
    pub S,
);

/// Markdown to show; formulas in `$…$` included.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Markdown("A *short* list\n- one\n- two"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Markdown<S: AsRef<str> = String>(
    /// The source.
    pub S,
);

/// A formula. Without delimiters it is set as a displayed one.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Latex(r"\sum_{i=1}^n \frac{1}{i^2}"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latex<S: AsRef<str> = String>(
    /// The source.
    pub S,
);

/// JSON text, shown as a tree that unfolds.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Json(r#"{"threads": 4}"#));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<S: AsRef<str> = String>(
    /// The source.
    pub S,
);

impl<S: AsRef<str>> Rich for Html<S> {
    fn bundle(&self) -> Bundle {
        Bundle::text(self.0.as_ref()).with("text/html", self.0.as_ref())
    }
}

impl<S: AsRef<str>> Rich for Svg<S> {
    fn bundle(&self) -> Bundle {
        let source = self.0.as_ref();
        Bundle::text(format!("<svg, {} bytes>", source.len())).with("image/svg+xml", source)
    }
}

impl<S: AsRef<str>> Rich for Markdown<S> {
    fn bundle(&self) -> Bundle {
        Bundle::text(self.0.as_ref()).with("text/markdown", self.0.as_ref())
    }
}

impl<S: AsRef<str>> Rich for Latex<S> {
    fn bundle(&self) -> Bundle {
        let source = self.0.as_ref();
        let delimited = ["$", r"\[", r"\(", r"\begin"].iter().any(|d| source.starts_with(d));
        let formula =
            if delimited { source.to_owned() } else { format!("$\\displaystyle {source}$") };
        Bundle::text(source).with("text/latex", formula)
    }
}

impl<S: AsRef<str>> Rich for Json<S> {
    fn bundle(&self) -> Bundle {
        Bundle::text(self.0.as_ref()).with("application/json", self.0.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_get_delimiters_once() {
        assert_eq!(Latex("x^2").bundle().get("text/latex"), Some("$\\displaystyle x^2$"));
        assert_eq!(Latex("$x$").bundle().get("text/latex"), Some("$x$"));
        assert_eq!(Latex("x^2").bundle().get("text/plain"), Some("x^2"));
    }

    #[test]
    fn each_markup_has_its_type_and_a_text() {
        let bundles = [
            (Html("<b>").bundle(), "text/html"),
            (Svg("<svg/>").bundle(), "image/svg+xml"),
            (Markdown("*x*").bundle(), "text/markdown"),
            (Json("{}").bundle(), "application/json"),
        ];
        for (bundle, mime) in bundles {
            assert!(bundle.get(mime).is_some() && bundle.get("text/plain").is_some(), "{mime}");
        }
    }
}
