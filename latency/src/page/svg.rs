//! Drawings as text: the few elements that the plots need.

use std::fmt::{Display, Write as _};

/// Text for HTML and SVG, in content and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Where a text hangs on its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing in its own coordinates, scaled to the width that it is given.
pub(super) struct Svg {
    out: String,
}

impl Svg {
    /// `label` says in words what is seen.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        Self {
            out: format!(
                "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                short(width),
                short(height),
                escape(label)
            ),
        }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (short(from.0), short(from.1), short(to.0), short(to.1));
        let _ = writeln!(
            self.out,
            "<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>"
        );
    }

    /// A line through all the points.
    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            let _ = write!(data, "{command}{} {}", short(*x), short(*y));
        }
        let _ = writeln!(self.out, "<path class=\"{class}\" d=\"{data}\"/>");
    }

    /// A rectangle with a text that a pointer shows.
    pub(super) fn bar(&mut self, class: &str, at: (f64, f64), size: (f64, f64), says: &str) {
        let _ = writeln!(
            self.out,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>",
            short(at.0),
            short(at.1),
            short(size.0),
            short(size.1),
            escape(says)
        );
    }

    pub(super) fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            short(at.0),
            short(at.1),
            escape(&text.to_string())
        );
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }
}

/// A coordinate with one decimal at most: a tenth of a pixel is not seen.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{escape, short};

    #[test]
    fn what_others_wrote_cannot_end_its_element() {
        assert_eq!(
            escape("<a b=\"c\" d='e'>&"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;"
        );
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!((short(10.04), short(-0.25)), ("10".into(), "-0.2".into()));
    }
}
