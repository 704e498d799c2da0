//! The options that every command has.

use crate::notation::Notation;
use crate::output::Colour;
use crate::target::Target;

/// The options that every command has, before and after its name.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub notation: Notation,
    /// Output JSON: one document, or one on each line
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// When to use colour; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        help_heading = "Output",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Colour,
}
