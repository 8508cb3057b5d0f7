//! Report lines on the debug console.
