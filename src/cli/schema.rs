//! `weir schema`: the schema as text.

use super::{Failure, output};
use crate::schema::sdl;

/// Print the GraphQL schema (SDL).
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "Examples:
  weir schema > schema.graphql
  weir schema | diff schema.graphql -    what `make check` does")]
pub struct Args {}

/// Prints the schema.
///
/// # Errors
/// A stdout that cannot be written.
pub fn run(_args: Args) -> Result<(), Failure> {
    output::print(&sdl())
}
