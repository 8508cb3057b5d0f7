//! Aligned tables for the terminal.
//!
//! Widths are counted before colours are put on, so escape sequences never shift a column.

use owo_colors::{OwoColorize, Stream};

use crate::terminal::Tone;

/// Puts the tone's colour on `text` for the standard output, if that shows colours.
#[must_use]
pub fn toned(text: &str, tone: Tone) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        Tone::Good => text
            .if_supports_color(Stream::Stdout, |text| text.green())
            .to_string(),
        Tone::Bad => text
            .if_supports_color(Stream::Stdout, |text| text.red())
            .to_string(),
        Tone::Quiet => text
            .if_supports_color(Stream::Stdout, |text| text.dimmed())
            .to_string(),
    }
}

/// A heading for the standard output.
#[must_use]
pub fn heading(text: &str) -> String {
    text.if_supports_color(Stream::Stdout, |text| text.bold())
        .to_string()
}

/// One field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone.
    #[must_use]
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Rows below a head. A column whose head begins with `>` is right-aligned.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells beyond the head's columns are not shown.
    pub fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// The table's lines, indented by two.
    #[must_use]
    pub fn text(&self) -> String {
        let names: Vec<&str> = self
            .head
            .iter()
            .map(|name| name.trim_start_matches('>'))
            .collect();
        let widths: Vec<usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells
                    .map(Cell::width)
                    .chain([name.chars().count()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let head: Vec<Cell> = names
            .iter()
            .map(|name| Cell::new(*name, Tone::Quiet))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), name) in row.iter().zip(&widths).zip(&self.head) {
                let space = " ".repeat(width.saturating_sub(cell.width()));
                let shown = toned(&cell.text, cell.tone);
                line.push_str("  ");
                line.push_str(&if name.starts_with('>') {
                    format!("{space}{shown}")
                } else {
                    format!("{shown}{space}")
                });
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["name", ">ns"]);
        table.row(["a".into(), "5".into()]);
        table.row(["longer".into(), "1000".into()]);
        assert_eq!(
            table.text(),
            "  name      ns\n  a          5\n  longer  1000\n"
        );
    }
}
