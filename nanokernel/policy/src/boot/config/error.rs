//! What is wrong with a configuration, in one line that says what to do about it.

use core::fmt;

use super::Key;

/// What is wrong with a configuration. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError<'a> {
    /// The line.
    pub line: u32,
    /// What is wrong with it.
    pub problem: ConfigProblem<'a>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigProblem<'a> {
    /// It is not UTF-8.
    NotText,
    /// It has no `=`.
    NoAssignment,
    /// Its key is not one of Darma's.
    UnknownKey(&'a str),
    /// Its key was set before.
    Duplicate(&'a str),
    /// Its value is not one that the key takes.
    BadValue {
        /// The key.
        key: &'a str,
        /// The value as written.
        value: &'a str,
        /// What the key takes.
        allowed: &'static str,
    },
}

/// One line each: what comes from the file is escaped.
impl fmt::Display for ConfigError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "darma.conf, line {}: ", self.line)?;
        match self.problem {
            ConfigProblem::NotText => f.write_str("not UTF-8: save it as plain text"),
            ConfigProblem::NoAssignment => {
                f.write_str("not 'key = value': add the '=' or make it a comment with '#'")
            }
            ConfigProblem::UnknownKey(key) => {
                write!(f, "unknown key '{}': use one of ", key.escape_default())?;
                for (index, known) in Key::ALL.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { ", " }, known.name())?;
                }
                Ok(())
            }
            ConfigProblem::Duplicate(key) => write!(f, "'{key}' was set before: keep one line"),
            ConfigProblem::BadValue {
                key,
                value,
                allowed,
            } => {
                write!(f, "{key} = '{}': use {allowed}", value.escape_default())
            }
        }
    }
}

impl core::error::Error for ConfigError<'_> {}
