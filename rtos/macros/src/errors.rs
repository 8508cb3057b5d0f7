//! Collects refusals, so that one compilation reports all of them.

use proc_macro2::Span;

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds a refusal at `span`.
    pub(crate) fn add(&mut self, span: Span, message: impl core::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Adds a refusal that was found elsewhere.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            empty => *empty = Some(error),
        }
    }

    /// Takes a result apart: its value, or `None` with the error kept.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Whether anything was refused.
    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// All refusals as one error, where it is known that there is one.
    pub(crate) fn into_error(self, span: Span) -> syn::Error {
        self.0
            .unwrap_or_else(|| syn::Error::new(span, "the application is incomplete"))
    }

    /// All refusals as one error, or `value` if there is none.
    pub(crate) fn finish<T>(self, value: T) -> syn::Result<T> {
        match self.0 {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }
}

/// ", did you mean `x`?" for the name nearest to what was written, if one is near; else nothing.
pub(crate) fn meant<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
