//! Rich displays: html, pictures, tables, progress bars, and how the value of a cell's last
//! expression is shown. In a plain program, where no notebook listens, displays are printed as
//! text, and pictures are written to the folder that `PARCELL_DISPLAYS` names, if it is set.

mod animation;
mod bounded;
mod chart;
mod colormap;
mod evcxr;
mod frame;
mod grid;
mod heatmap;
mod image;
mod list;
mod markup;
mod paper;
mod pixels;
mod progress;
#[doc(hidden)]
pub mod result;
pub(crate) mod saved;
mod table;
mod timeline;

use std::sync::atomic::{AtomicU64, Ordering};

use parcell_link::Publication;

pub use animation::{Animation, Frames, animate};
pub use chart::{Chart, plot};
pub use colormap::Colormap;
pub use grid::{Grid, GridError, Number};
pub use heatmap::{Heatmap, heatmap};
pub use image::{Image, Pixels};
pub use markup::{Html, Json, Latex, Markdown, Svg};
pub use parcell_link::Bundle;
pub use pixels::Pixel;
pub use progress::{Progress, ProgressBar, progress, progress_bar};
pub use table::{Table, table};
pub use timeline::{Span, Timeline, timeline};

use crate::link;

/// A type with representations of its own: html, a picture, …
///
/// ```
/// use parcell::display::{Bundle, Rich, show};
///
/// struct Celsius(f64);
///
/// impl Rich for Celsius {
///     fn bundle(&self) -> Bundle {
///         Bundle::text(format!("{} °C", self.0)).with("text/html", format!("<b>{}</b> °C", self.0))
///     }
/// }
///
/// show(&Celsius(21.5));
/// ```
pub trait Rich {
    /// The value in one or more MIME types; always with `text/plain`. An empty bundle shows
    /// nothing.
    fn bundle(&self) -> Bundle;

    /// The representations as the value of a cell's last expression.
    #[doc(hidden)]
    fn result(&self) -> Bundle {
        self.bundle()
    }
}

impl<T: Rich + ?Sized> Rich for &T {
    fn bundle(&self) -> Bundle {
        (**self).bundle()
    }

    fn result(&self) -> Bundle {
        (**self).result()
    }
}

impl<T: Rich + ?Sized> Rich for Box<T> {
    fn bundle(&self) -> Bundle {
        (**self).bundle()
    }

    fn result(&self) -> Bundle {
        (**self).result()
    }
}

impl Rich for str {
    fn bundle(&self) -> Bundle {
        Bundle::text(self)
    }

    fn result(&self) -> Bundle {
        Bundle::text(bounded::debug(&self))
    }
}

impl Rich for String {
    fn bundle(&self) -> Bundle {
        self.as_str().bundle()
    }

    fn result(&self) -> Bundle {
        self.as_str().result()
    }
}

impl Rich for Bundle {
    fn bundle(&self) -> Bundle {
        self.clone()
    }
}

impl Rich for () {
    fn bundle(&self) -> Bundle {
        Bundle::default()
    }
}

/// Something shown that can be changed later.
///
/// ```
/// use parcell::prelude::*;
///
/// let status = show("loading");
/// status.update("done");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayHandle {
    id: String,
}

impl DisplayHandle {
    /// Shows another value in the same place.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// let heading = show(&Html("<h3>before</h3>"));
    /// heading.update(&Html("<h3>after</h3>"));
    /// ```
    pub fn update<T: Rich + ?Sized>(&self, value: &T) {
        update(&self.id, value);
    }

    /// The display id, for [`update`] from elsewhere.
    ///
    /// ```
    /// use parcell::prelude::*;
    ///
    /// assert_eq!(show_with_id("status", "ready").id(), "status");
    /// ```
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Rich for DisplayHandle {
    /// Nothing: what it stands for has been shown already.
    fn bundle(&self) -> Bundle {
        Bundle::default()
    }
}

/// Shows a value as an output of its own, in order with what is printed. For values without
/// [`Rich`] there is the macro [`show!`](crate::show!). Blocks while the notebook is behind.
///
/// ```
/// use parcell::prelude::*;
///
/// show(&Html("<b>bold</b>"));
/// show("plain text");
/// ```
pub fn show<T: Rich + ?Sized>(value: &T) -> DisplayHandle {
    show_with_id(fresh_id(), value)
}

/// Shows a value under a display id of your choice.
///
/// ```
/// use parcell::prelude::*;
///
/// show_with_id("status", "working");
/// update("status", "done");
/// ```
pub fn show_with_id<T: Rich + ?Sized>(id: impl Into<String>, value: &T) -> DisplayHandle {
    let (bundle, id) = (value.bundle(), id.into());
    if !bundle.data.is_empty() {
        link::publish(Publication::Display { bundle, id: Some(id.clone()) });
    }
    DisplayHandle { id }
}

/// Changes every display that was shown under this id.
///
/// ```
/// use parcell::prelude::*;
///
/// show_with_id("count", "1");
/// update("count", "2");
/// ```
pub fn update<T: Rich + ?Sized>(id: &str, value: &T) {
    link::publish(Publication::Update { bundle: value.bundle(), id: id.to_owned() });
}

/// Removes the cell's outputs: at once, or with `wait` when the next output comes, which
/// animations want.
///
/// ```
/// use parcell::prelude::*;
///
/// for step in 0..3 {
///     clear_output(true);
///     println!("step {step}");
/// }
/// ```
pub fn clear_output(wait: bool) {
    link::publish(Publication::Clear { wait });
}

/// There is nobody to ask: the front end does not take input, or it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is nobody to ask: this front end does not take input")]
pub struct NobodyToAsk;

/// Asks the user for a line. Blocks until it comes.
///
/// # Panics
/// If there is nobody to ask; [`try_input`] returns an error then.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let name = input("Your name: ");
/// println!("Hello, {name}");
/// ```
#[must_use]
pub fn input(prompt: &str) -> String {
    try_input(prompt).unwrap_or_else(|e| panic!("{e}"))
}

/// Asks the user for a line. Blocks until it comes.
///
/// # Errors
/// [`NobodyToAsk`].
///
/// ```no_run
/// let name = parcell::display::try_input("Your name: ").unwrap_or("nobody".to_owned());
/// println!("Hello, {name}");
/// ```
pub fn try_input(prompt: &str) -> Result<String, NobodyToAsk> {
    link::ask(prompt, false).ok_or(NobodyToAsk)
}

/// Asks the user for a line that stays hidden. Blocks until it comes.
///
/// # Panics
/// If there is nobody to ask; [`try_password`] returns an error then.
///
/// ```no_run
/// use parcell::prelude::*;
///
/// let secret = password("Password: ");
/// assert!(secret.len() >= 8);
/// ```
#[must_use]
pub fn password(prompt: &str) -> String {
    try_password(prompt).unwrap_or_else(|e| panic!("{e}"))
}

/// Asks the user for a line that stays hidden. Blocks until it comes.
///
/// # Errors
/// [`NobodyToAsk`].
///
/// ```no_run
/// let secret = parcell::display::try_password("Password: ")?;
/// # Ok::<(), parcell::display::NobodyToAsk>(())
/// ```
pub fn try_password(prompt: &str) -> Result<String, NobodyToAsk> {
    link::ask(prompt, true).ok_or(NobodyToAsk)
}

/// An id that no other display has, in this process or an earlier one of the same notebook.
fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("parcell-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Text as html shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
