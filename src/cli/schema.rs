//! `tidegate schema`: the JSON Schema of resource files, for editors.

use super::Failure;

/// Prints the schema.
///
/// # Errors
/// Standard output is closed.
pub fn run() -> Result<(), Failure> {
    Ok(super::output::print_line(&crate::config::schema())?)
}
