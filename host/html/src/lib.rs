//! Pages that a browser shows without loading anything, and charts as SVG.
//!
//! What stands on a page was written by anybody: models, data files, configurations. Three things keep
//! it text: [`Template`] escapes every value, [`Template::page`] writes what a browser obeys or hides
//! as an escape, and the page's own policy (CSP) allows the one script and the one style sheet that
//! come with it, by their digests, and no request.
#![warn(missing_docs)]

pub mod chart;
mod figure;
mod page;
mod palette;
mod shorten;

pub use chart::Chart;
pub use figure::Figure;
/// A page that can't be made: a bug of a template.
pub use minijinja::Error;
pub use page::{Refresh, Template, is_ours};
pub use palette::class as colour_class;
pub use shorten::{Shown, shown};
