//! The `log` facade's end: lines on the nanokernel's console, as severe as `log.level` asks for.
//!
//! The line that ends a boot or reports a bug does not go through here: it must always appear.

use crate::task_log;
use darma_machine::println;
use darma_policy::boot::config::LogLevel;
use log::{LevelFilter, Log, Metadata, Record};

struct ConsoleLog;

static CONSOLE_LOG: ConsoleLog = ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(task) = darma_rtos::faults::running_task() {
            task_log::keep(task, *record.args());
            return;
        }
        match record.level() {
            log::Level::Info => println!("darma: {}", record.args()),
            level => println!("darma: {level}: {}", record.args()),
        }
    }

    fn flush(&self) {}
}

/// Starts logging with everything up to "info", until the configuration is known.
pub(crate) fn init() {
    // Fails only if called twice, which leaves the first call's logger: the same one.
    let _ = log::set_logger(&CONSOLE_LOG);
    log::set_max_level(LevelFilter::Info);
}

/// Sets how much is logged.
pub(crate) fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    });
}
