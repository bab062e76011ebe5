//! What commands print: lines and JSON on standard output, tables for people, complaints on standard error.

use super::Output;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, Write};

/// Prints a line of data.
///
/// # Errors
/// Standard output is closed.
pub fn print_line(line: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints data as it is.
///
/// # Errors
/// Standard output is closed.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a message on standard error. Nothing is left to do when that is closed.
pub fn complain(message: &str) {
    drop(writeln!(anstream::stderr().lock(), "{message}"));
}

/// Prints one JSON value.
///
/// # Errors
/// Standard output is closed.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print_line(&serde_json::to_string(value).map_err(io::Error::other)?)
}

/// Prints rows as the format asks: a table with these columns, one JSON array, or a JSON value a line.
///
/// # Errors
/// Standard output is closed.
pub fn print_rows<T: Serialize>(
    format: Output,
    rows: &[T],
    columns: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    match format {
        Output::Json => print_json(&rows),
        Output::Jsonl => rows.iter().try_for_each(print_json),
        Output::Table | Output::Wide => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header(columns.to_vec());
            if format == Output::Table {
                table.set_content_arrangement(ContentArrangement::Dynamic);
            }
            for row in rows {
                table.add_row(cells(row));
            }
            for (i, column) in table.column_iter_mut().enumerate() {
                column.set_padding((0, if i + 1 == columns.len() { 0 } else { 2 }));
            }
            for line in table.lines() {
                print_line(line.trim_end())?;
            }
            Ok(())
        }
    }
}

/// `1,204`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things, e.g. `1 rule`, `2 rules`.
pub(super) fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_things() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "rule")), ["0 rules", "1 rule", "2 rules"]);
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!([0, 999, 1_204, 1_000_000].map(grouped), ["0", "999", "1,204", "1,000,000"]);
    }
}
