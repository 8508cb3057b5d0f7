//! The page: one file, no script, nothing fetched.

use crate::report::Report;

/// The page of a report.
#[must_use]
pub fn render(report: &Report) -> String {
    format!("<!doctype html><title>{}</title>", report.tier)
}
